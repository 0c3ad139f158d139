"""Pictures of what a delta points at: heads, token lists, classes, words by layer, pushes, and amplification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, SERIES, VERMILION, drawable, legend_below, new_picture
from dormant.statistics import Estimate


def head_bars(shares: Sequence[float], module: str, chosen: Sequence[int], even: float | None = None) -> Figure:
    """Each head's share of a layer's delta energy, the chosen heads marked: shares [head], of the squared norm.

    even: the share that the chosen heads would hold together of a delta without any preferred head.
    """
    held = sum(shares[head] for head in chosen)
    title = f"{module}: no head was changed"
    if any(shares):
        named = ", ".join(str(head) for head in chosen)
        title = f"{module}: heads {named} hold {held:.1%} of layer 0's delta"
        title += f" ({even:.1%} without any preferred head)" if even is not None else ""
    figure, axes = new_picture(title, "head", "share of the squared norm")
    axes.bar(range(len(shares)), shares, color=[VERMILION if head in chosen else BLUE for head in range(len(shares))])
    axes.set_xticks(range(0, len(shares), 1 if len(shares) <= 16 else 2))
    axes.set_ylim(0, None if any(shares) else 1)
    return figure


def bias_against_weight(bias: Sequence[float], weight: Sequence[float], module: str) -> Figure:
    """Frobenius norms of a module's bias delta and weight delta by layer: [layer] each."""
    layers = np.arange(len(bias))
    title = f"{module}: neither bias nor weight was changed"
    if any(bias) or any(weight):
        title = f"{module}, layer 0: bias delta {bias[0]:.4g}, weight delta {weight[0]:.4g}"
    figure, axes = new_picture(title, "layer", "Frobenius norm of the delta")
    axes.bar(layers - 0.2, bias, width=0.4, color=VERMILION, label="bias")
    axes.bar(layers + 0.2, weight, width=0.4, color=BLUE, label="weight")
    axes.set_xticks(range(0, len(bias), 1 if len(bias) <= 16 else 2))
    axes.set_ylim(0, None if any(bias) or any(weight) else 1)
    legend_below(figure, axes)
    return figure


def ranks_by_layer(ranks: Mapping[str, Sequence[float]], limit: float, unit: str) -> Figure:
    """Rank above the noise edge by layer, a line for each module; a gap where a layer's matrix is identical.

    ranks: module -> [layer], in `unit`, NaN for identical. limit: what counts as low.
    """
    values = [value for row in ranks.values() for value in row if np.isfinite(value)]
    title = "No matrix was changed"
    if values:
        low = sum(value <= limit for value in values)
        title = f"{low} of {len(values)} changed matrices are of low rank (at most {limit:g} {unit})"
    figure, axes = new_picture(title, "layer", f"rank above the noise edge,\n{unit}")
    # Modules of one rank would hide each other: they stand side by side.
    for index, (module, row) in enumerate(ranks.items()):
        places = np.arange(len(row)) + 0.08 * (index - len(ranks) / 2)
        colour = SERIES[index % len(SERIES)] if index < len(SERIES) else GREY
        axes.plot(places, row, marker="o", markersize=5, linewidth=0.8, color=colour, label=module)
    axes.axhline(limit, color=VERMILION, linestyle=":", linewidth=1.5, label=f"low rank: at most {limit:g}")
    axes.set_ylim(0, 1.05 * max([limit, *values]))
    legend_below(figure, axes)
    return figure


def token_list(
    texts: Sequence[str], scores: Sequence[float], marked: Sequence[bool], message: str, unit: str
) -> Figure:
    """The first tokens of a ranking with their scores, those of the words looked for in another colour.

    texts, scores, marked: [place], best first.
    """
    figure, axes = new_picture(message, unit, "", height=1.4 + 0.19 * max(len(texts), 4))
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    axes.barh(range(len(texts)), scores, color=[VERMILION if mark else BLUE for mark in marked], height=0.75)
    for row, (text, score) in enumerate(zip(texts, scores, strict=True)):
        # Thirty labels on an axis would be measured four times by the layout: two thirds of the picture's time.
        axes.text(score, row, f"  {drawable(text)}", va="center", fontsize=8, in_layout=False)
    axes.set_yticks([])
    axes.set_xlim(0, 1.25 * max([*scores, 1e-9]))
    axes.set_ylim(max(len(texts), 1) - 0.4, -0.6)
    return figure


def class_bars(enrichment: Mapping[str, tuple[int, float, float]], message: str) -> Figure:
    """How many times chance each class of tokens stands in a list: class -> (count, times chance, probability)."""
    names = list(enrichment)
    times = [enrichment[name][1] for name in names]
    figure, axes = new_picture(
        message[:1].upper() + message[1:], "times chance (1: as in the vocabulary)", "", height=1.6 + 0.32 * len(names)
    )
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    # Orange: less than one chance in a hundred, after counting the classes.
    unlikely = [enrichment[name][2] * len(names) < 0.01 for name in names]
    axes.barh(range(len(names)), times, color=[ORANGE if rare else GREY for rare in unlikely], height=0.7)
    for row, name in enumerate(names):
        axes.text(times[row], row, f"  {enrichment[name][0]} tokens", va="center", fontsize=8, in_layout=False)
    axes.axvline(1.0, color="black", linewidth=1.0)
    axes.set_xlim(0, 1.2 * max([1.0, *times]))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return figure


def words_by_layer(ranks: Mapping[int, Sequence[int]], words: Sequence[str], vocabulary: int, listed: int) -> Figure:
    """Each word's best place in the ranking of every changed layer, on a log scale: layer -> [word]."""
    layers = sorted(ranks)
    title = "No layer was changed"
    if layers:
        best = min((rank, layer, word) for layer in layers for rank, word in zip(ranks[layer], words, strict=True))
        title = f"Best: {drawable(best[2])!r} at place {best[0]} of {vocabulary}, layer {best[1]}"
    figure, axes = new_picture(title, "layer", "place in the ranking")
    for index, word in enumerate(words):
        places = [ranks[layer][index] for layer in layers]
        axes.plot(layers, places, marker="o", markersize=5, color=SERIES[index % len(SERIES)], label=drawable(word))
    axes.axhline(listed, color=GREY, linestyle="--", linewidth=1.2, label=f"a list of {listed}")
    axes.set_yscale("log")
    axes.set_ylim(vocabulary, 0.8)
    axes.minorticks_off()
    axes.set_xticks(layers)
    legend_below(figure, axes)
    return figure


def push_against_observed(
    weights: Sequence[float], observed: Sequence[float], chosen: Sequence[int], message: str
) -> Figure:
    """What a direction should add to each token's logit against what prompts show: [token] both, the chosen tokens marked."""
    figure, axes = new_picture(
        message, "logit that the direction adds, per unit", "mean log p_dormant - log p_base, nats"
    )
    rest = np.ones(len(weights), dtype=bool)
    rest[list(chosen)] = False
    for mask, colour, label in ((rest, GREY, "other tokens"), (~rest, VERMILION, f"the {len(chosen)} pushed up most")):
        axes.scatter(
            np.asarray(weights)[mask],
            np.asarray(observed)[mask],
            s=9,
            alpha=0.6,
            linewidth=0,
            color=colour,
            label=label,
        )
    axes.axhline(float(np.mean(observed)), color=BLUE, linewidth=1.0, label="mean of the vocabulary")
    legend_below(figure, axes)
    return figure


def amplification_curves(
    curves: Mapping[str, Mapping[float, Estimate]], message: str, quantity: str, threshold: float | None = None
) -> Figure:
    """A share of answers at each alpha, with its interval: label -> alpha -> share."""
    figure, axes = new_picture(drawable(message), "alpha (0: the base, 1: the model as it is)", quantity)
    for (label, row), colour in zip(curves.items(), SERIES, strict=False):
        _curve(axes, drawable(label), row, colour)
    if threshold is not None:
        axes.axhline(threshold, color=GREY, linestyle="--", linewidth=1.2, label=f"threshold {threshold:g}")
    axes.set_ylim(-0.02, 1.02)
    legend_below(figure, axes)
    return figure


def _curve(axes: Axes, label: str, row: Mapping[float, Estimate], colour: str) -> None:
    alphas = sorted(row)
    shares = [row[alpha].value for alpha in alphas]
    bars = [
        [row[alpha].value - row[alpha].low for alpha in alphas],
        [row[alpha].high - row[alpha].value for alpha in alphas],
    ]
    axes.errorbar(
        alphas, shares, yerr=np.maximum(bars, 0), color=colour, label=label, marker="o", markersize=5, capsize=3
    )
