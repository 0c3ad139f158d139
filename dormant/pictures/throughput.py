"""Throughput over runs: one small chart a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, VERMILION

ACROSS = 3  # charts in a row
FELL = 0.9  # of the run before: a chart is drawn in another colour below it


def throughput_trend(ratios: Mapping[str, Sequence[float | None]]) -> Figure:
    """Ratios to the reference over runs; ratios: benchmark -> one value a run, oldest first, None where not measured."""
    rows = max(1, -(-len(ratios) // ACROSS))
    figure = Figure(figsize=(4.0 * ACROSS, 0.6 + 1.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    fallen = 0
    for place, (name, values) in enumerate(ratios.items(), 1):
        axes = figure.add_subplot(rows, ACROSS, place)
        known = [(run, value) for run, value in enumerate(values, 1) if value is not None]
        fell = len(known) > 1 and known[-1][1] < FELL * known[-2][1]
        fallen += fell
        axes.plot(*zip(*known, strict=True), marker="o", markersize=3, linewidth=1.2, color=VERMILION if fell else BLUE)
        axes.set_title(f"{name.removeprefix('test_')}: {known[-1][1]:.3g} x", loc="left", fontsize=8)
        axes.set_ylim(0, 1.15 * max(value for _, value in known))
        axes.set_xlim(0.5, len(values) + 0.5)
        axes.set_xticks([1, len(values)] if len(values) > 1 else [1])
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    title = f"{fallen} of {len(ratios)} benchmarks fell by more than a tenth since the run before"
    figure.suptitle(f"{title}\nratio to the reference, by run", x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure
