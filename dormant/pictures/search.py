"""Pictures of searches: how high each got, with its restarts' band, beside chance and the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, SERIES, VERMILION, legend_below, new_picture

COLOURS = {"random search": GREY, "control pair": ORANGE}  # the same in every picture; a search itself is blue


def search_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    unit: str = "nats",
    planted: float | None = None,
    xlabel: str = "step (0: the first random batch)",
    x: Sequence[float] | None = None,
) -> Figure:
    """Best value so far of each search (median over restarts, band from lowest to highest restart).

    curves: label -> [restart][step]; a restart that stopped early stays where it ended. planted: the true trigger's value
    where it is known. x: where the steps stand (evaluations, say) when that is not 0, 1, 2...
    """
    finals = {label: float(np.median([run[-1] for run in runs])) for label, runs in curves.items() if len(runs)}
    title = "Search: " + ", ".join(f"{label} {value:.3g}" for label, value in finals.items()) + f" {unit} at the end"
    figure, axes = new_picture(title if finals else "No search was run", xlabel, f"best so far in {unit}")
    others = iter([BLUE, *(colour for colour in SERIES if colour not in (BLUE, ORANGE))] * len(curves))
    for label, runs in curves.items():
        if not len(runs):
            continue
        table = _table(runs)  # [restart, step]
        places = np.arange(table.shape[1]) if x is None else np.asarray(x[: table.shape[1]], dtype=np.float64)
        colour = COLOURS.get(label) or next(others)
        named = f"{label} ({'1 run' if len(runs) == 1 else f'{len(runs)} restarts'})"
        axes.plot(places, np.median(table, axis=0), color=colour, linewidth=2, label=named)
        axes.fill_between(places, table.min(axis=0), table.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    if planted is not None:
        axes.axhline(planted, color=VERMILION, linestyle="--", linewidth=1.4, label=f"planted trigger: {planted:.3g}")
    legend_below(figure, axes)
    return figure


def _table(runs: Sequence[Sequence[float]]) -> np.ndarray:
    longest = max(len(run) for run in runs)
    return np.asarray([[*run, *[run[-1]] * (longest - len(run))] for run in runs], dtype=np.float64)
