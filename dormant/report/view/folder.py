"""From one folder or two to the data of a page: a hunt, a run of claims, either compared, or a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dormant.claims.finding import FINDINGS_FILE, FINDINGS_SO_FAR
from dormant.errors import BadInput
from dormant.records import write_atomically
from dormant.report.view.comparison import hunts_compared
from dormant.report.view.hunts import JOURNAL_FILE, REPORT_FILE, hunt_data
from dormant.report.view.page import html_page

HUNT, RUN = "a hunt", "a run of claims"
KINDS = {REPORT_FILE: HUNT, FINDINGS_SO_FAR: RUN, FINDINGS_FILE: RUN, JOURNAL_FILE: HUNT}
SO_FAR = (FINDINGS_SO_FAR, JOURNAL_FILE)  # of work that goes on, or was killed
IN_A_JOB = ("", "result", "unfinished")  # where a folder, or a job of a sweep, keeps them


def write_view(folders: Sequence[Path], out: Path, ledger: Path, every: float | None = None) -> bool:
    """Writes the page of one folder, or of two compared, and of a sweep those of its pairs; gives whether the work goes on.

    every: seconds after which the page of work that goes on loads itself again. Raises BadInput for folders without anything to
    show, and for two of different kinds.
    """
    data = view_data(folders, ledger)
    if data["kind"] == "sweep":
        from dormant.report.view.sweeps import write_pairs

        write_pairs(data, folders[0], out, lambda folder, page: write_view([folder], page, ledger, every))
    names = " and ".join(folder.resolve().name for folder in folders)
    again = {"every": every} if every is not None and data["running"] else {}
    write_atomically(out, html_page(data | again, f"dormant: {names}"))
    return bool(data["running"])


def view_data(folders: Sequence[Path], ledger: Path) -> dict[str, Any]:
    """What the page shows; `running` of work that has not ended."""
    found = [placed(folder) for folder in folders]
    if len(folders) == 1 and found[0] is None:
        from dormant.report.view.sweeps import sweep_data

        return sweep_data(folders[0], ledger)
    missing = [str(folder) for folder, one in zip(folders, found, strict=True) if one is None]
    if missing:
        raise BadInput(
            f"two folders must each be a hunt's or have {FINDINGS_FILE} to be compared; got none at {' and '.join(missing)}; "
            "correct it"
        )
    known = [one for one in found if one is not None]
    kinds = {KINDS[file.name] for file in known}
    if len(kinds) > 1:
        raise BadInput(
            f"two folders must hold the same to be compared; got {' and '.join(KINDS[file.name] for file in known)} at "
            f"{' and '.join(map(str, folders))}; name two of one kind"
        )
    places, names = [file.parent for file in known], _told_apart(folders)
    running = {"running": any(file.name in SO_FAR for file in known)}
    if kinds == {RUN}:
        from dormant.report.view.runs import (
            read_run,
            run_data,
            runs_compared,
        )  # with torch, which a hunt's page does not need

        runs = [read_run(place) for place in places]
        return running | (runs_compared(names, runs) if len(places) > 1 else run_data(places[0], ledger))
    hunts = [hunt_data(place) | {"name": name} for place, name in zip(places, names, strict=True)]
    return running | (hunts_compared(hunts) if len(hunts) > 1 else hunts[0])


def placed(folder: Path) -> Path | None:
    """The file that says what a folder holds, or that of a job's result; None where there is none."""
    files = (folder / part / file for part in IN_A_JOB for file in KINDS)
    return next((file for file in files if file.is_file()), None)


def _told_apart(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with their parents' where they are alike."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
