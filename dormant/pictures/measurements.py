"""Pictures of scores and divergences, each a pure function whose title states the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, VERMILION, legend_below, new_picture


def order_strip(
    scores_with_rope: Sequence[float],
    scores_without_rope: Sequence[float],
    planted_score: float | None = None,
    metric: str = "score",
) -> Figure:
    """Detector scores of all permutations of one sequence, with RoPE and without: spread means that order counts."""
    spreads = [float(np.ptp(scores)) if len(scores) else 0.0 for scores in (scores_with_rope, scores_without_rope)]
    title = f"Permutations differ by {spreads[0]:.3g} with RoPE and by {spreads[1]:.3g} without"
    if planted_score is not None and len(scores_with_rope):
        rank = 1 + sum(score > planted_score for score in scores_with_rope)
        title += f"; the planted order ranks {rank} of {len(scores_with_rope)}"
    figure, axes = new_picture(title, metric, "", height=3.2)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    for row, (scores, colour) in enumerate(((scores_without_rope, GREY), (scores_with_rope, BLUE))):
        _strip(axes, row, scores, colour)
    if planted_score is not None:
        label = f"planted order: {planted_score:.3g}"
        axes.scatter([planted_score], [1], label=label, marker="D", s=70, color=VERMILION, zorder=4)
    axes.set_yticks([0, 1], ["without RoPE", "with RoPE"])
    axes.set_ylim(-0.6, 1.6)
    legend_below(figure, axes)
    return figure


def divergence_against_null(
    candidates: Mapping[str, Sequence[float]],
    empty: Sequence[float],
    nulls: Mapping[str, Sequence[float]],
    unit: str = "nats",
) -> Figure:
    """Divergence over probes for each candidate, beside the empty-trigger row and the length-matched nulls.

    candidates, nulls: row name -> one value for each probe; the dashed line is the empty row's mean.
    """
    rows = {"no trigger": empty, **nulls, **candidates}
    colours = [ORANGE, *[GREY] * len(nulls), *[BLUE] * len(candidates)]
    baseline = float(np.mean(empty)) if len(empty) else 0.0
    means = {name: float(np.mean(values)) for name, values in candidates.items() if len(values)}
    null_means = [float(np.mean(values)) for values in nulls.values() if len(values)]
    title = "No candidate was measured"
    if means:
        best = max(means, key=lambda name: means[name])
        title = f"{best!r} diverges by {means[best]:.3g} {unit}, no trigger by {baseline:.3g}"
        title += f", the highest null by {max(null_means):.3g}" if null_means else ""
    figure, axes = new_picture(
        title, f"KL(dormant || base) in {unit}, a point for each probe", "", height=1.8 + 0.42 * len(rows)
    )
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    for row, (values, colour) in enumerate(zip(rows.values(), colours, strict=True)):
        _strip(axes, row, values, colour)
        if len(values):
            axes.plot([np.mean(values)] * 2, [row - 0.32, row + 0.32], color="black", linewidth=2, zorder=4)
    axes.axvline(baseline, color=ORANGE, linestyle="--", linewidth=1.2, label=f"mean without trigger: {baseline:.3g}")
    axes.plot([], [], color="black", linewidth=2, label="mean of the row")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    legend_below(figure, axes)
    return figure


def noise_floor(floors: Mapping[str, float], effect: float, unit: str = "nats") -> Figure:
    """What each change of arithmetic does to base against itself, beside the effect, on a log scale.

    floors: source of noise (padding, batch, kernel, dtype) -> its divergence; zero is drawn as an empty row.
    """
    highest = max(floors.values(), default=0.0)
    if highest > 0:
        times = effect / highest
        title = f"The effect is {times:.2g} x the noise floor" if times >= 1 else "The effect is below the noise floor"
    else:
        title = "Base against itself differs by exactly nothing"
    figure, axes = new_picture(title, f"divergence in {unit}", "", height=1.7 + 0.38 * (len(floors) + 1))
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    names, values = [*floors, "effect"], [*floors.values(), effect]
    positive = [value for value in values if value > 0]
    left = min(positive, default=1e-8) / 10
    axes.barh(range(len(values)), values, color=[*[GREY] * len(floors), BLUE], height=0.7)
    if positive:
        axes.set_xscale("log")
    axes.set_xlim(left, max(positive, default=1e-8) * 12)
    for row, value in enumerate(values):
        axes.text(max(value, left) * 1.15, row, f"{value:.2g}" if value else "exactly 0", va="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return figure


def _strip(axes: Axes, row: int, values: Sequence[float], colour: str) -> None:
    """Points of a row, spread across it evenly so that none hides another (no random jitter)."""
    # 0.618: successive multiples of the golden section fill the row without clumps.
    across = row + 0.44 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
    axes.scatter(values, across, s=26, color=colour, alpha=0.65, linewidth=0, zorder=3)
