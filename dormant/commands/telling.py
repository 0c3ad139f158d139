"""`dormant telling`: which claims and methods separate backdoored models from clean ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dormant.commands.options import writable_folder
from dormant.terminal import Table, show

TERMINAL_ROWS = 20  # rows on the terminal; the page has all


def telling(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders of sweeps of claims, of their jobs, or of pytest's reports."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", callback=writable_folder, help="README.md, telling.json, known_auroc.json, auroc.png."
        ),
    ],
    without: Annotated[
        list[str] | None, typer.Option(metavar="PAIR", help="A model that is left out; repeatable.")
    ] = None,
) -> None:
    """Compare claims and methods over models of known truth: AUROC with interval, cost, and what each needs.

    A claim's deciding figure is ranked over all models; no threshold plays a part. Every claim that ran gets its row.

    Exit status 0; 2: bad input.

    Example: dormant sweep telling.toml --verb claims --out sweep && dormant telling sweep --out reports/telling
    """
    from dormant.report.grid import interval_text
    from dormant.report.merged import read_merged
    from dormant.report.telling_page import write_telling
    from dormant.report.telling_table import subjects_of, telling_table

    found = read_merged(folders)
    chosen = {name: pair for name, pair in found.pairs.items() if name not in (without or [])}
    table = telling_table(found.findings, subjects_of(chosen))
    page = write_telling(table, out)
    shown = Table("claim", "AUROC", "needs", "told")
    for row in table.rows[:TERMINAL_ROWS]:
        shown.add_row(row.key, interval_text(row.auroc), row.needs, "yes" * row.told)
    show(shown)
    show(f"{len(table.rows)} rows over {len(table.subjects)} models; {page}")
