from __future__ import annotations

from dormant.pictures.telling import FOREST_ROWS, auroc_forest
from dormant.statistics import Estimate


def row(name: str, value: float, reach: float, told: bool = False) -> tuple[str, bool, Estimate]:
    return name, told, Estimate(value, max(0, value - reach), min(1, value + reach), 12, "AUROC")


def test_the_title_counts_the_blind_figures_whose_interval_excludes_luck() -> None:
    figure = auroc_forest([row("sure", 0.9, 0.1), row("luck", 0.6, 0.3), row("told", 1.0, 0.1, told=True)])
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Of 2 blind figures 1 have an interval above one half"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["luck", "sure", "told"]


def test_the_best_rows_are_drawn_where_there_are_too_many() -> None:
    figure = auroc_forest([row(f"row {at}", at / 100, 0.1) for at in range(FOREST_ROWS + 5)])
    assert next(label.get_text() for label in figure.axes[0].get_yticklabels()) == "row 5"
