"""The pictures of a run in its page: each once, and many compressed together, which the page unpacks when one is shown."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dormant.records import json_text

PICTURE_BYTES = 9_000_000  # that the packed pictures of a page take at most: it stays below fifteen megabytes
TOGETHER = 32  # pictures that are unpacked at once: some milliseconds, and nearly as small as all together


@dataclass(frozen=True)
class HeldPictures:
    """The pictures of a page.

    places: name -> number of the picture. packs: base64 of gzip of a JSON list of `together` pictures, each an SVG's text or a
    PNG's data URL. left_out: the names of pictures that are not there or for which there is no room.
    """

    places: dict[str, int]
    packs: list[str]
    left_out: list[str]
    together: int = TOGETHER


def held_pictures(named: Iterable[tuple[Path, str]]) -> HeldPictures:
    """The pictures of findings, given by folder and name. Findings that share a measurement share its picture."""
    names, left_out = dict[str, list[str]](), list[str]()
    for folder, name in dict.fromkeys(named):
        content = _content(folder, name)
        if content is None:
            left_out.append(name)
        else:
            names.setdefault(content, []).append(name)
    places, packs, room = dict[str, int](), list[str](), PICTURE_BYTES
    alike = sorted(names)  # what begins alike stands together, which compresses well
    for first in range(0, len(alike), TOGETHER):
        contents = alike[first : first + TOGETHER]
        pack = base64.b64encode(gzip.compress(json_text(contents, indent=None).encode(), mtime=0)).decode()
        if len(pack) > room:
            left_out += [name for content in contents for name in names[content]]
            continue
        room -= len(pack)
        places |= {name: len(packs) * TOGETHER + at for at, one in enumerate(contents) for name in names[one]}
        packs.append(pack)
    return HeldPictures(places, packs, left_out)


def _content(folder: Path, name: str) -> str | None:
    """The SVG beside a picture, or the picture itself where an older run wrote none; None for a file outside the folder."""
    files = ((folder / name).with_suffix(".svg"), folder / name)
    file = next((one for one in files if one.is_file() and one.resolve().is_relative_to(folder.resolve())), None)
    if file is None:
        return None
    if file.suffix == ".svg":
        return file.read_text(encoding="utf-8")
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
