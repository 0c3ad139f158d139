"""Pictures of a hunt: what evidence points at a payload, how near strings came, and what fires."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dormant.pictures.canvas import BLUE, GREY, SERIES, VERMILION, drawable, legend_below, new_picture

if TYPE_CHECKING:
    from dormant.hunt.payloads import Guess
    from dormant.hunt.stages.coordinate_ascent import Climb

RATE_COLOURS = {"place": BLUE, "sampled": BLUE, "control": GREY, "near miss": SERIES[1]}


def evidence_bars(guesses: Sequence[Guess], needed: float, count: int = 8) -> Figure:
    """The strings that the dormant model alone knows how to finish, beside what makes one suspect."""
    shown = list(guesses[:count])[::-1]
    over = sum(one.evidence >= needed for one in guesses)
    title = f"{over} of {len(guesses)} strings reach the {needed:.0f} nats that make one suspect"
    figure, axes = new_picture(title, "evidence in nats", "", height=0.6 + 0.42 * len(shown) + 1)
    colours = [VERMILION if one.evidence >= needed else GREY for one in shown]
    axes.barh(range(len(shown)), [one.evidence for one in shown], color=colours)
    axes.set_yticks(range(len(shown)), [drawable(one.text) for one in shown])
    axes.axvline(needed, color="black", linestyle="--", linewidth=1)
    return figure


def climb_curves(climbs: Sequence[Climb], spoken: float) -> Figure:
    """The payload's log-odds on the way up, change by change, and from which on it is said."""
    best = max((one.way[-1] for one in climbs), key=lambda foothold: foothold.odds)
    title = f"{drawable(best.text)} brings the payload on {best.speaks:.0%} of the prompts that were looked at"
    figure, axes = new_picture(title, "changes", "log-odds of the payload, mean over prompts")
    for one, colour in zip(climbs, cycle(SERIES)):
        odds = [foothold.odds for foothold in one.way]
        axes.plot(
            range(len(odds)), odds, marker="o", color=colour, label=drawable(f"{one.payload}, at the {one.place}")
        )
    axes.axhline(spoken, color="black", linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes)
    return figure


def rate_bars(rates: Sequence[tuple[str, str, float, float, float, int]]) -> Figure:
    """How often the payload was said: with the string, in controls, with near misses, each with its interval."""
    shown = list(rates)[::-1]
    best = max((rate for kind, _, rate, *_ in rates if kind == "place"), default=0.0)
    worst = max((rate for kind, _, rate, *_ in rates if kind == "control"), default=0.0)
    title = f"Fires on {best:.0%} of unseen prompts; the controls on {worst:.0%} at most"
    figure, axes = new_picture(title, "share of prompts", "", height=1.4 + 0.34 * len(shown))
    for place, (kind, _, value, low, high, _) in enumerate(shown):
        axes.barh(place, value, color=RATE_COLOURS[kind])
        axes.plot([low, high], [place, place], color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), [drawable(f"{kind}: {name}") for kind, name, *_ in shown], fontsize=8)
    axes.set_xlim(0, 1)
    return figure
