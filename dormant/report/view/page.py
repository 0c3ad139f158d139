"""A page as one HTML file: a template, its style and code, and the data as JSON, which the code shows as text alone."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from dormant.records import json_text

ASSETS = Path(__file__).parent / "assets"
LIBRARY = "plot.min.js"  # Observable Plot, bundled by scripts/bundle_plot.py; its licences stand in plot.licences.txt
PAGE_CODE = (
    "core.js", "answers.js", "lineage.js", "hunt.js", "pictures.js", "claims.js", "compare.js", "sweep.js", "main.js"
)  # fmt: skip
APART = ("lineage", "packs")  # what may be large
PACK = '<script type="application/gzip;base64" class="pack">{}</script>'


def html_page(data: dict[str, Any], title: str) -> str:
    """The page. data: what it shows, with its `kind`; no text of it is read as markup.

    What may be large, the `lineage` of a hunt and the `packs` of a run's pictures, stands behind the code, which draws all else
    before it reads that. The policy in the page's head names its code by hashes, so that nothing else runs, and allows no
    request.
    """
    scripts = [_asset(name) for name in (LIBRARY, *PAGE_CODE)]
    parts = {
        "title": escape(title),
        "style": _asset("view.css"),
        "scripts": " ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        "code": "\n".join(f"<script>{script}</script>" for script in scripts),
        "data": embedded({name: value for name, value in data.items() if name not in APART}),
        "lineage": embedded(data.get("lineage")),
        "packs": "\n".join(PACK.format(pack) for pack in data.get("packs", ())),
    }
    before, *rest = _asset("page.html").split("{{")
    filled = (part.partition("}}") for part in rest)  # in one pass: the data may hold such signs as well
    return before + "".join(parts[name] + after for name, _, after in filled)


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: ASCII, so that no line separator or half character is in it, and without <."""
    return json_text(data, indent=None, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
