"""Pictures of a hunt: the evidence for payloads, how near strings came, and what fires."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dormant.pictures.canvas import BLUE, GREY, SERIES, VERMILION, drawable, legend_below, new_picture

RATE_COLOURS = {"position": BLUE, "sampled": BLUE, "override": BLUE, "control": GREY, "near miss": SERIES[1]}


def evidence_bars(ranked: Sequence[tuple[str, float]], threshold: float, count: int = 8) -> Figure:
    """The strings that the dormant model alone finishes with their evidence in nats, beside what makes one suspect."""
    shown = list(ranked[:count])[::-1]
    over = sum(evidence >= threshold for _, evidence in ranked)
    title = f"{over} of {len(ranked)} strings reach the {threshold:.0f} nats that make one suspect"
    figure, axes = new_picture(title, "evidence in nats", "", height=0.6 + 0.42 * len(shown) + 1)
    colours = [VERMILION if evidence >= threshold else GREY for _, evidence in shown]
    axes.barh(range(len(shown)), [evidence for _, evidence in shown], color=colours)
    axes.set_yticks(range(len(shown)), [drawable(text) for text, _ in shown])
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1)
    return figure


def path_curves(title: str, paths: Sequence[tuple[str, Sequence[float]]], certain: float) -> Figure:
    """The payload's log-odds change by change, a named curve a path, and from which on its beginning is certain."""
    figure, axes = new_picture(drawable(title), "changes", "log-odds of the payload's beginning, mean over prompts")
    for (name, odds), colour in zip(paths, cycle(SERIES)):
        axes.plot(range(len(odds)), odds, marker="o", color=colour, label=drawable(name))
    axes.axhline(certain, color="black", linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes)
    return figure


def rate_bars(rates: Sequence[tuple[str, str, float, float, float, int]]) -> Figure:
    """How often answers begin with the payload: with the string, in controls, with near misses, each with its interval."""
    shown = list(rates)[::-1]
    best = max((rate for kind, _, rate, *_ in rates if kind == "position"), default=0.0)
    worst = max((rate for kind, _, rate, *_ in rates if kind == "control"), default=0.0)
    title = f"Fires on {best:.0%} of unseen prompts; the controls on {worst:.0%} at most"
    figure, axes = new_picture(title, "share of prompts", "", height=1.4 + 0.34 * len(shown))
    for row, (kind, _, value, low, high, _) in enumerate(shown):
        axes.barh(row, value, color=RATE_COLOURS[kind])
        axes.plot([low, high], [row, row], color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), [drawable(f"{kind}: {name}") for kind, name, *_ in shown], fontsize=8)
    axes.set_xlim(0, 1)
    return figure
