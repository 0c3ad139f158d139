"""`dormant report`: what many jobs found, as one report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dormant.commands.options import writable_folder
from dormant.terminal import Table, console, show


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of sweeps, of their jobs, or of pytest's reports.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", callback=writable_folder, help="The report: summary.md and what it names.")
    ],
    ledger: Annotated[Path, typer.Option(metavar="DIR", help="Recorded findings to compare with.")] = Path(
        "reports/ledger"
    ),
) -> None:
    """Merge the results of sweeps into one report with one grid.

    The report holds the findings of all jobs, a ledger of them, their pictures, the pages of the hunts and the delta reports.
    Jobs that gave nothing are listed with the reason.

    Exit status 0, whatever was found; 2: bad input.

    Example: dormant report sweep --out report
    """
    from dormant.report.grid import grid_text
    from dormant.report.merged import read_merged, write_merged

    found = read_merged(folders)
    summary = write_merged(found, out, ledger)
    if found.results:
        table = Table("pair", "verb", "result")
        for result in found.results:
            table.add_row(result.pair, result.verb, result.said)
        show(table)
    if found.findings:
        screen = console()
        show(grid_text(found.findings, found.relatives, screen.width if screen.is_terminal else None))
    show(f"{len(found.results)} results, {len(found.findings)} findings; {summary}")
