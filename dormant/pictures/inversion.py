"""Pictures of searches under other objectives: soft against hard, detector against divergence, what each objective finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, SERIES, VERMILION, legend_below, new_picture


def soft_against_hard(
    soft: Sequence[Sequence[float]], steps: Sequence[int], hard: Sequence[Sequence[float]], empty: float, unit: str
) -> Figure:
    """What embeddings reached between projections, and what the projected tokens gave, for every restart.

    soft: [restart][step]; hard: [restart][projection] at `steps`; empty: the row without any trigger.
    """
    tops = [max(row) for row in soft]
    kept = [max(row) for row in hard]
    title = (
        f"Soft reaches {np.median(tops):.3g} {unit}, its tokens {np.median(kept):.3g} (medians of {len(soft)} restarts)"
    )
    figure, axes = new_picture(title, "step", unit)
    for index, (row, points) in enumerate(zip(soft, hard, strict=True)):
        label = "soft: no text has these embeddings" if index == 0 else None
        axes.plot(range(1, len(row) + 1), row, color=GREY, linewidth=1, alpha=0.8, label=label)
        label = "hard: real ids, evaluated again" if index == 0 else None
        axes.scatter(steps, points, s=30, color=BLUE, alpha=0.8, linewidth=0, zorder=3, label=label)
    axes.axhline(empty, color=ORANGE, linestyle="--", linewidth=1.2, label=f"without a trigger: {empty:.3g}")
    legend_below(figure, axes)
    return figure


def detector_against_divergence(
    detector: Sequence[float],
    divergence: Sequence[float],
    correlation: float,
    planted: tuple[float, float] | None = None,
    metric: str = "max-head",
) -> Figure:
    """One point a random candidate: its layer-0 score against the divergence of the answers; the planted trigger marked."""
    title = f"Rank correlation of detector and divergence: {correlation:.2f} over {len(detector)} random candidates"
    figure, axes = new_picture(title, f"layer-0 detector ({metric})", "KL(dormant || base) in nats")
    axes.scatter(detector, divergence, s=18, color=BLUE, alpha=0.5, linewidth=0, label="random candidates")
    if planted is not None:
        axes.scatter([planted[0]], [planted[1]], s=90, marker="D", color=VERMILION, label="planted trigger")
    if max(divergence, default=0.0) > 0:
        axes.set_yscale("symlog", linthresh=1e-3)  # from noise to a trigger's 15 nats, zero included
    legend_below(figure, axes)
    return figure


def transfer_scatter(
    found: Mapping[str, Sequence[tuple[float, float]]], planted: tuple[float, float] | None, unit: str
) -> Figure:
    """Gain on the probes searched against gain on others, a point a restart; the dashed line keeps everything.

    found: label (pair, control pair) -> (searched, held-out) of each restart.
    """
    medians = {label: np.median(np.asarray(points), axis=0) for label, points in found.items() if len(points)}
    parts = [f"{label} {pair[0]:.3g} searched, {pair[1]:.3g} held out" for label, pair in medians.items()]
    title = "Median gain: " + "; ".join(parts) if parts else "No search was run"
    figure, axes = new_picture(title, f"gain on the probes searched, {unit}", f"gain on held-out probes, {unit}")
    shown = [point for points in found.values() for point in points] + ([planted] if planted else [])
    highest = max((max(point) for point in shown), default=1.0)
    axes.plot([0, highest], [0, highest], color=GREY, linestyle="--", linewidth=1)
    for (label, points), colour in zip(found.items(), SERIES, strict=False):
        across, up = zip(*points, strict=True)
        axes.scatter(across, up, s=36, color=colour, alpha=0.75, linewidth=0, label=label, zorder=3)
    if planted is not None:
        axes.scatter([planted[0]], [planted[1]], s=90, marker="D", color=VERMILION, label="planted trigger", zorder=4)
    legend_below(figure, axes)
    return figure


def candidates_against_chance(
    gains: Mapping[str, Sequence[float]], null_gains: Sequence[float], unit: str, corrected: Mapping[str, float]
) -> Figure:
    """Each candidate's gain over the empty row by probe, with the range of random candidates of its length.

    corrected: candidate -> its p-value, corrected for the number tried.
    """
    passing = [name for name in gains if corrected[name] <= 0.05]
    title = f"{len(passing)} of {len(gains)} candidates lie beyond chance" + (
        f": {', '.join(passing)}" if passing else ""
    )
    figure, axes = new_picture(title, f"gain over the empty row, {unit}", "", height=1.8 + 0.42 * len(gains))
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    axes.axvspan(min(null_gains), max(null_gains), color=GREY, alpha=0.25, label=f"{len(null_gains)} random candidates")
    for row, values in enumerate(gains.values()):
        axes.scatter(values, [row] * len(values), s=26, color=BLUE, alpha=0.7, linewidth=0, zorder=3)
        axes.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color="black", linewidth=2, zorder=4)
    axes.axvline(0, color=ORANGE, linestyle="--", linewidth=1.2, label="the empty row")
    axes.set_yticks(range(len(gains)), [f"{name} (p = {corrected[name]:.2g})" for name in gains])
    axes.invert_yaxis()
    legend_below(figure, axes)
    return figure


def objectives_by_pairs(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Objectives down, pairs across: share of restarts whose string gives the payload elsewhere; below it, what transfers.

    table: objective -> pair -> {"payload given", "held-out gain", perhaps "times the twin's"}.
    """
    objectives, pairs = list(table), list(dict.fromkeys(pair for row in table.values() for pair in row))
    shares = np.full((len(objectives), len(pairs)), np.nan)
    for i, objective in enumerate(objectives):
        for j, pair in enumerate(pairs):
            shares[i, j] = table[objective].get(pair, {}).get("payload given", np.nan)
    highest = max(cell["payload given"] for row in table.values() for cell in row.values())
    reached = {pair for row in table.values() for pair, cell in row.items() if cell["payload given"] > 0}
    title = (
        f"Restarts that give the payload: at most {highest:.0%}, and any on {', '.join(p for p in pairs if p in reached)}"
        if highest > 0
        else "No objective's search gives a payload"
    )
    width = 3.2 + 1.25 * len(pairs)
    figure, axes = new_picture(title, "", "", width=width, height=1.6 + 0.62 * len(objectives))
    axes.grid(visible=False)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for i, objective in enumerate(objectives):
        for j, pair in enumerate(pairs):
            if (cell := table[objective].get(pair)) is None:
                continue
            lines = [f"payload {cell['payload given']:.0%}", f"held out {cell['held-out gain']:.0%}"]
            lines += [f"{cell[key]:.2g} x twin" for key in ["times the twin's"] if key in cell]
            colour = "white" if shares[i, j] > 0.6 else "black"
            axes.text(j, i, "\n".join(lines), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(pairs)), pairs, rotation=20, ha="right")
    axes.set_yticks(range(len(objectives)), objectives)
    return figure
