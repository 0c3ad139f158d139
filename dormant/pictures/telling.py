"""The picture of a table of methods: which figures separate backdoored models from clean ones, and how surely."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, drawable, legend_below, new_picture
from dormant.statistics import Estimate

FOREST_ROWS = 40  # rows of a picture: more would be too small to read


def auroc_forest(rows: Sequence[tuple[str, bool, Estimate]]) -> Figure:
    """A forest plot of (name, whether the figure needs trigger or payload, AUROC), the best above; told rows in orange."""
    shown = sorted(rows, key=lambda row: row[2].value)[-FOREST_ROWS:]
    surely = sum(estimate.low > 0.5 for _, told, estimate in rows if not told)
    blind = sum(not told for _, told, _ in rows)
    title = f"Of {blind} blind figures {surely} have an interval above one half"
    figure, axes = new_picture(
        title, "AUROC over the models, 95 % interval", "", width=9.0, height=1.4 + 0.24 * len(shown)
    )
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    for told, colour, label in ((False, BLUE, "blind"), (True, ORANGE, "told the trigger or payload")):
        chosen = [(at, estimate) for at, (_, needs, estimate) in enumerate(shown) if needs is told]
        if chosen:
            values = [estimate.value for _, estimate in chosen]
            reach = [
                [estimate.value - estimate.low for _, estimate in chosen],
                [estimate.high - estimate.value for _, estimate in chosen],
            ]
            axes.errorbar(
                values, [at for at, _ in chosen], xerr=reach, fmt="o", color=colour, markersize=4, label=label
            )
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set_xlim(-0.02, 1.02)
    axes.set_yticks(range(len(shown)), [drawable(name) for name, _, _ in shown], fontsize=7)
    legend_below(figure, axes)
    return figure
