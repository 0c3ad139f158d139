"""`dormant view`: a hunt or a run of claims as one page that opens from disk, or two compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dormant.commands.options import writable_file
from dormant.terminal import show


def view(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A hunt's folder, a job's of a sweep, or one with findings.json.")
    ],
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER]", help="Another of the same kind, to compare.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=writable_file, help="The page; DIR/view.html by default.")
    ] = None,
    ledger: Annotated[Path, typer.Option(metavar="DIR", help="Recorded findings to show beside a run's.")] = Path(
        "reports/ledger"
    ),
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the page that people look at: one HTML file, without server or network, that opens from disk.

    Of a hunt it shows both models' answers side by side, how the string came about, and the evidence; of a run of claims the
    grid, whose cells open the findings; of two folders what changed from the first to the second.

    Exit status 0; 2: bad input.

    Example: dormant view hunt --open
    """
    from dormant.report.view.folder import write_view

    folders = [folder] if other is None else [folder, other]
    page = write_view(folders, out or folder / "view.html", ledger)
    show(f"{page} ({page.stat().st_size / 1e6:.1f} MB), opens from disk")
    if open_browser:
        typer.launch(page.resolve().as_uri())
