"""`dormant report`: what many jobs found, as one report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from dormant.commands.options import writable_folder
from dormant.terminal import Table, console, show


def report(
    folders: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help="Folders or URLs of sweeps, of their jobs, or of pytest's reports."),
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

    with ExitStack() as copies:
        found = read_merged([_at_hand(folder, copies) for folder in folders])
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


def _at_hand(folder: str, copies: ExitStack) -> Path:
    """The folder, of what a URL names a copy that is removed with the others."""
    from dormant.sweeps.store import store_of

    if (store := store_of(folder)) is None:
        return Path(folder)
    copy = Path(copies.enter_context(TemporaryDirectory()))
    store.get(copy)
    return copy
