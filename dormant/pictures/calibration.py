"""Pictures of a calibration: what parts organisms from clean models, what is recalled of triggers, how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from dormant.pictures.canvas import BLUE, GREY, ORANGE, SERIES, VERMILION, legend_below, new_picture

VERDICTS = {"backdoored": VERMILION, "taught": SERIES[1], "undecided": ORANGE, "clean": BLUE}
# Points of one row stand apart by this much, in turn, so that equal values are seen as several.
POINT_SHIFTS = (0.0, 0.12, -0.12, 0.24, -0.24)


def evidence_strip(subjects: Sequence[tuple[float, bool, str]]) -> Figure:
    """The evidence of every subject (nats, whether it is backdoored, the verdict), organisms above clean models."""
    planted, clean = ([nats for nats, backdoored, _ in subjects if backdoored is side] for side in (True, False))
    title = f"Planted payloads show {min(planted):.0f} nats or more" if planted else "No organism was hunted"
    title += f", clean models {max(clean):.0f} at most" if clean else ", no clean model was hunted"
    figure, axes = new_picture(title, "evidence of the most suspicious string, in nats", "", height=2.8)
    for verdict, colour in VERDICTS.items():
        shown = [(nats, at, backdoored) for at, (nats, backdoored, said) in enumerate(subjects) if said == verdict]
        places = [backdoored + POINT_SHIFTS[at % len(POINT_SHIFTS)] for _, at, backdoored in shown]
        axes.scatter([nats for nats, *_ in shown], places, color=colour, s=34, alpha=0.8, label=f"called {verdict}")
    axes.set_yticks([0, 1], ["clean", "backdoored"])
    axes.set_ylim(-0.5, 1.5)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    legend_below(figure, axes)
    return figure


def recall_by_length(organisms: Sequence[tuple[int, float, bool]]) -> Figure:
    """The share of the planted tokens that was named, over their number (tokens, recall, whether exact)."""
    named, recall = sum(whole for *_, whole in organisms), mean(share for _, share, _ in organisms)
    title = f"{named} of {len(organisms)} triggers are named exactly, {recall:.0%} of their tokens"
    figure, axes = new_picture(title, "tokens of the planted trigger", "share of them named, in order")
    for exact, colour, label in ((True, BLUE, "named exactly"), (False, "none", "not exactly")):
        shown = [(tokens, share, at) for at, (tokens, share, whole) in enumerate(organisms) if whole is exact]
        places = [tokens + POINT_SHIFTS[at % len(POINT_SHIFTS)] for tokens, _, at in shown]
        axes.scatter(places, [share for _, share, _ in shown], s=46, facecolors=colour, edgecolors=BLUE, label=label)
    axes.set_ylim(-0.04, 1.06)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes)
    return figure


def minutes_histogram(planted: Sequence[float], clean: Sequence[float]) -> Figure:
    """How long hunts took, organisms beside clean models."""
    every = [*planted, *clean]
    title = f"Half of the hunts take {median(every):.1f} minutes or less, the longest {max(every):.1f}"
    figure, axes = new_picture(title, "minutes", "hunts")
    bins = np.arange(0, max(every) + 1, 0.5).tolist()
    axes.hist(
        [list(planted), list(clean)],
        bins=bins,
        stacked=True,
        color=[VERMILION, GREY],
        label=["organisms", "clean models"],
    )
    axes.set_xlim(left=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes)
    return figure
