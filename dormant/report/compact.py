"""What keeps Allure's page small: each attachment is held once, and what the report shows is compressed in the page."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

# Allure's page holds one call d(NAME, BASE64) a file of the report, and says when all have been made.
DATA = re.compile(
    r"<script defer>\s*Promise\.allSettled\(\[(?P<files>(?:d\([^)]*\),?)*)\]\)\s*"
    r"\.then\(function\(\)\{\s*window\.allureReportDataReady = true;\s*\}\)\s*</script>"
)
FILE = re.compile(r'd\((?P<name>"(?:[^"\\]|\\.)*"),"(?P<content>[A-Za-z0-9+/=]*)"\)')
# Texts become base64, as Allure reads them, when they are asked for.
UNPACKS = """<script type="application/gzip;base64" id="dormant-packed">PACKED</script>
<script>
(async function () {
  const packed = "data:application/gzip;base64," + document.getElementById("dormant-packed").textContent;
  const stream = (await fetch(packed)).body.pipeThrough(new DecompressionStream("gzip"));
  const {texts, others} = await new Response(stream).json();
  const encoded = (text) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
  for (const name in texts) {
    Object.defineProperty(window.allureReportData, name, {enumerable: true, get: () => encoded(texts[name])});
  }
  Object.assign(window.allureReportData, others);
  window.allureReportDataReady = true;
})();
</script>"""


def with_data_compressed(page: str) -> str:
    """Allure's page with all that it shows as one gzip, which the browser unpacks when it opens; a tenth of the bytes.

    Raises RuntimeError for a page of another form.
    """
    found = DATA.search(page)
    if found is None:
        raise RuntimeError("the report's data must stand in the page as d(NAME, BASE64); got none; adapt compact.DATA")
    texts, others = dict[str, str](), dict[str, str]()
    for file in FILE.finditer(found["files"]):
        name = json.loads(file["name"])
        try:
            texts[name] = base64.b64decode(file["content"]).decode()
        except UnicodeDecodeError:  # a picture
            others[name] = file["content"]
    # files that begin alike stand together: a gzip finds again what the last 32 kB hold
    alike = dict(sorted(texts.items(), key=lambda one: (Path(one[0]).suffix, one[1])))
    data = gzip.compress(json.dumps({"texts": alike, "others": others}).encode(), mtime=0)
    unpacks = UNPACKS.replace("PACKED", base64.b64encode(data).decode())
    return page[: found.start()] + unpacks + page[found.end() :]


def with_each_attachment_once(results: Path, folder: Path) -> Path:
    """Copies Allure results to a new folder, with one file for attachments of the same content: Allure then holds it once."""
    folder.mkdir()
    files = [file for file in results.iterdir() if file.is_file()]
    names = {
        file.name: f"{sha256(file.read_bytes()).hexdigest()}-attachment{file.suffix}" for file in _attachments(files)
    }

    def renamed(record: dict[str, Any]) -> dict[str, Any]:
        source = record.get("source")
        return record | {"source": names[source]} if isinstance(source, str) and source in names else record

    for file in files:
        if file.name in names:
            shutil.copyfile(file, folder / names[file.name])
        elif file.name.endswith(("-result.json", "-container.json")):
            text = file.read_text(encoding="utf-8")
            (folder / file.name).write_text(json.dumps(json.loads(text, object_hook=renamed)), encoding="utf-8")
        else:
            shutil.copyfile(file, folder / file.name)
    return folder


def _attachments(files: list[Path]) -> list[Path]:
    return [file for file in files if file.stem.endswith("-attachment")]
