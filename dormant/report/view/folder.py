"""From one folder or two to the data of a page: a hunt, a run of claims, or either compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dormant.claims.finding import FINDINGS_FILE
from dormant.errors import BadInput
from dormant.records import write_atomically
from dormant.report.view.comparison import hunts_compared
from dormant.report.view.hunts import REPORT_FILE, hunt_data
from dormant.report.view.page import html_page

KINDS = {REPORT_FILE: "a hunt", FINDINGS_FILE: "a run of claims"}


def write_view(folders: Sequence[Path], out: Path, ledger: Path) -> Path:
    """Writes the page of one folder, or of two compared; raises BadInput for folders without one, and of two kinds."""
    data = view_data(folders, ledger)
    names = " and ".join(folder.resolve().name for folder in folders)
    write_atomically(out, html_page(data, f"dormant: {names}"))
    return out


def view_data(folders: Sequence[Path], ledger: Path) -> dict[str, Any]:
    """What the page shows."""
    placed = [_placed(folder) for folder in folders]
    kinds = {file for _, file in placed}
    if len(kinds) > 1:
        raise BadInput(
            f"two folders must hold the same to be compared; got {' and '.join(KINDS[file] for _, file in placed)} at "
            f"{' and '.join(map(str, folders))}; name two of one kind"
        )
    places, names = [place for place, _ in placed], _told_apart(folders)
    if kinds == {FINDINGS_FILE}:
        from dormant.report.view.runs import (
            read_run,
            run_data,
            runs_compared,
        )  # with torch, which a hunt's page does not need

        runs = [read_run(place) for place in places]
        return runs_compared(names, runs) if len(places) > 1 else run_data(places[0], ledger)
    hunts = [hunt_data(place) | {"name": name} for place, name in zip(places, names, strict=True)]
    return hunts_compared(hunts) if len(hunts) > 1 else hunts[0]


def _placed(folder: Path) -> tuple[Path, str]:
    """The folder, or that of a job's result, and the file that says what it holds."""
    for place in (folder, folder / "result"):
        for file in KINDS:
            if (place / file).is_file():
                return place, file
    raise BadInput(
        f"a view must be of a hunt's folder, a job's of a sweep, or one with {FINDINGS_FILE}; got none at {folder}; correct it "
        "(dormant report merges a whole sweep into one folder)"
    )


def _told_apart(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with their parents' where they are alike."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
