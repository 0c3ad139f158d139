"""Bundles Observable Plot from npm into the package, with the licences of what is in it: python scripts/bundle_plot.py"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

VERSIONS = ("@observablehq/plot@0.6.17", "esbuild@0.28.2")  # exactly: the same file comes out again
USED = "plot, line, rect, ruleX, dot, link, barX, tickX"  # of Plot, by the page's code
TARGET = Path(__file__).parents[1] / "dormant" / "report" / "view" / "assets" / "plot.min.js"


def main() -> None:
    """Writes plot.min.js and plot.licences.txt; needs npm and its registry."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "package.json").write_text("{}")
        (folder / "entry.js").write_text(f'export {{{USED}}} from "@observablehq/plot";')
        subprocess.run(["npm", "install", "--silent", *VERSIONS], cwd=folder, check=True)
        options = [
            "--bundle",
            "--minify",
            "--format=iife",
            "--global-name=Plot",
            "--target=es2022",
            "--legal-comments=none",
        ]
        bundle = ["npx", "esbuild", "entry.js", *options, "--metafile=meta.json", f"--outfile={TARGET}"]
        subprocess.run(bundle, cwd=folder, check=True)
        TARGET.with_name("plot.licences.txt").write_text(licences(folder), encoding="utf-8")


def licences(folder: Path) -> str:
    """The licence of each package with a file in the bundle."""
    inputs = json.loads((folder / "meta.json").read_text())["inputs"]
    parts = (name.removeprefix("node_modules/").split("/") for name in inputs if name.startswith("node_modules/"))
    packages = sorted({"/".join(part[: 2 if part[0].startswith("@") else 1]) for part in parts})
    texts = []
    for package in packages:
        place = folder / "node_modules" / package
        version = json.loads((place / "package.json").read_text())["version"]
        (licence,) = [file for file in place.iterdir() if file.stem.upper() in ("LICENSE", "LICENCE")]
        texts.append(f"{package} {version}\n\n{licence.read_text(encoding='utf-8').strip()}\n")
    return ("\n" + "-" * 80 + "\n").join(texts)


if __name__ == "__main__":
    main()
