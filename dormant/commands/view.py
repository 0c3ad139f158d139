"""`dormant view`: a hunt, a run of claims or a sweep as one page that opens from disk, or two compared."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dormant.commands.options import stopping, writable_file
from dormant.terminal import show

AGAIN_AFTER = 5.0  # seconds between two looks at work that goes on


def view(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A hunt's folder, a sweep's, a job's of one, or one with findings.json."),
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
    live: Annotated[
        bool, typer.Option("--live", help="Write the page again while the work goes on; the page loads itself again.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the page that people look at: one HTML file, without server or network, that opens from disk.

    Of a hunt it shows both models' answers side by side, how the string came about, and the evidence; of a run of claims the
    grid, whose cells open the findings; of a sweep its pairs, each with a page in its folder; of two folders what changed from
    the first to the second. Of a hunt or a run that has not ended it shows what is known so far.

    Exit status 0; 2: bad input.

    Example: dormant view hunt --open
    """
    from dormant.report.view.folder import write_view

    folders = [folder] if other is None else [folder, other]
    page = out or folder / "view.html"
    running = write_view(folders, page, ledger, AGAIN_AFTER if live else None)
    show(f"{page} ({page.stat().st_size / 1e6:.1f} MB), opens from disk")
    if open_browser:
        typer.launch(page.resolve().as_uri())
    with stopping(f"{page} shows what was known until now"):
        while live and running:
            time.sleep(AGAIN_AFTER)
            running = write_view(folders, page, ledger, AGAIN_AFTER)
