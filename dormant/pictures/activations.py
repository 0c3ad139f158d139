"""Pictures of what happens inside: curves over layers, probes with their controls, steering sweeps, restored parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, PURPLE, SERIES, SKY, VERMILION, legend_below, new_picture
from dormant.statistics import Estimate


def layer_curves(
    without: Sequence[float],
    with_it: Sequence[float],
    measure: str,
    layer: int,
    times: float,
    control: Sequence[float] = (),
) -> Figure:
    """How far the models part after each layer, without and with the candidate, and with random tokens."""
    title = f"After layer {layer} the candidate parts the models {times:.3g} x as far ({measure})"
    figure, axes = new_picture(title, "layer", f"{measure} distance of dormant from base")
    places = range(len(without))
    axes.plot(places, with_it, color=BLUE, marker="o", linewidth=2, label="with the candidate")
    if len(control):
        axes.plot(places, control, color=GREY, marker="s", linewidth=1.4, label="with random tokens of its length")
    axes.plot(places, without, color=ORANGE, marker="o", linewidth=2, label="without")
    axes.axvline(layer, color=VERMILION, linestyle=":", linewidth=1.4)
    axes.set_xticks(range(0, len(without), 1 if len(without) <= 16 else 2))
    axes.set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


def probe_curves(curves: Mapping[str, Sequence[Estimate]], deciding: str, layer: int) -> Figure:
    """AUROC of linear probes after each layer, the deciding curve above its controls; bands are 95 % intervals."""
    best = curves[deciding][layer]
    rivals = {name: curve[layer].value for name, curve in curves.items() if name != deciding}
    title = f"Layer {layer}: {deciding} {best.value:.3f}"
    title += "".join(f", {name} {value:.3f}" for name, value in rivals.items())
    figure, axes = new_picture(title, "layer", "AUROC, cross-validated")
    colours = (BLUE, GREY, ORANGE, PURPLE, SKY)
    for (name, curve), colour in zip(curves.items(), colours, strict=False):
        places = np.arange(len(curve))
        axes.plot(places, [point.value for point in curve], color=colour, marker="o", linewidth=2, label=name)
        axes.fill_between(
            places, [p.low for p in curve], [p.high for p in curve], color=colour, alpha=0.15, linewidth=0
        )
    axes.axhline(0.5, color=VERMILION, linestyle="--", linewidth=1.2, label="chance")
    axes.axvline(layer, color=VERMILION, linestyle=":", linewidth=1.2)
    axes.set_xticks(range(0, len(curves[deciding]), 1 if len(curves[deciding]) <= 16 else 2))
    axes.set_ylim(0, 1.03)
    legend_below(figure, axes)
    return figure


def steering_curves(
    alphas: Sequence[float], curves: Mapping[str, Sequence[float]], layer: int, released: float
) -> Figure:
    """The payload's likelihood over the strength of steering, along the direction and along its controls."""
    title = f"Steered after layer {layer}, {released:.0%} of plain prompts give the payload"
    figure, axes = new_picture(title, "alpha, in norms of the residual stream", "payload's likelihood per token")
    for (name, curve), colour in zip(curves.items(), SERIES, strict=False):
        axes.plot(alphas, curve, color=colour, marker="o", linewidth=2, label=name)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_ylim(0, 1.03)
    legend_below(figure, axes)
    return figure


def restoring_map(shares: Mapping[tuple[int, str], float], chosen: tuple[int, str]) -> Figure:
    """Share of the effect that each restored unit takes away: layers by parts; grey where nothing was changed."""
    layers = sorted({layer for layer, _ in shares})
    parts = list(dict.fromkeys(part for _, part in sorted(shares)))
    cells = np.full((len(layers), len(parts)), np.nan)
    for (layer, part), share in shares.items():
        cells[layers.index(layer), parts.index(part)] = share
    layer, part = chosen
    title = f"Restoring {part} of layer {layer} takes {shares[chosen]:.0%} of the effect away"
    figure, axes = new_picture(
        title, "", "layer", width=max(4.5, 1.6 + 0.85 * len(parts)), height=1.6 + 0.4 * len(layers)
    )
    axes.grid(visible=False)
    axes.set_facecolor("#E4E4E4")
    image = axes.imshow(cells, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(cells):
        if np.isfinite(share) and cells.size <= 240:
            colour = "black" if share > 0.6 else "white"
            axes.text(column, row, f"{round(share, 2) + 0.0:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(
        range(len(parts)), parts, rotation=30 if len(parts) > 4 else 0, ha="right" if len(parts) > 4 else "center"
    )
    axes.set_yticks(range(len(layers)), [str(number) for number in layers])
    figure.colorbar(image, ax=axes, label="share of the effect lost")
    return figure


def patching_curve(carried: Sequence[float]) -> Figure:
    """Share of the effect that goes when one layer's state at the generation position comes from the plain prompt."""
    first = next((layer for layer, share in enumerate(carried) if share >= 0.5), None)
    title = (
        "No layer's state carries half of the effect" if first is None else f"The payload is decided by layer {first}"
    )
    figure, axes = new_picture(title, "layer whose state is the plain prompt's", "share of the effect lost")
    axes.plot(range(len(carried)), carried, color=BLUE, marker="o", linewidth=2)
    axes.axhline(0.5, color=VERMILION, linestyle="--", linewidth=1.2, label="half of the effect")
    axes.set_xticks(range(0, len(carried), 1 if len(carried) <= 16 else 2))
    axes.set_ylim(min(0.0, *carried), max(1.03, *carried))
    legend_below(figure, axes)
    return figure
