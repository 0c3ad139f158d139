"""Pictures of scans, profiles and anomalies, each a pure function whose title states the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dormant.behaviour.noise_floor import RESOLUTION
from dormant.pictures.canvas import BLUE, GREEN, GREY, ORANGE, VERMILION, drawable, legend_below, new_picture

BARS = 14


def scan_distribution(
    scanned: Sequence[float],
    held_out: Sequence[float],
    best: str,
    threshold: float,
    planted: str = "",
    unit: str = "nats",
) -> Figure:
    """A histogram of what every candidate of a scan adds (counts on a log scale), and the best one on held-out prompts.

    `planted`: the planted trigger, for the title.
    """
    diverging = sum(value >= threshold for value in held_out)
    title = (
        f"Best of {len(scanned):,}: {drawable(best)!r} makes {diverging} of {len(held_out)} held-out prompts diverge"
    )
    title += f" (planted: {drawable(planted)!r})" if planted else ""
    figure, axes = new_picture(title, f"what a candidate adds, in {unit}", "candidates", height=3.8)
    reach = [*scanned, *held_out, threshold, 0.0]
    bins = [float(edge) for edge in np.linspace(min(reach), max(reach) + 1e-9, 60)]
    axes.hist(scanned, bins=bins, color=GREY, label="every candidate, mean over searched prompts")
    axes.set_yscale("symlog", linthresh=1)
    axes.scatter(
        held_out, [0.6] * len(held_out), color=BLUE, s=26, alpha=0.6, zorder=4, label="the best, by held-out prompt"
    )
    axes.axvline(
        threshold, color=VERMILION, linestyle="--", linewidth=1.3, label=f"diverges from {threshold:.3g} {unit}"
    )
    legend_below(figure, axes)
    return figure


def trigger_bars(
    effects: Mapping[str, float],
    insertion: str,
    threshold: float,
    planted: Sequence[str] = (),
    shown: int = 14,
    unit: str = "nats",
) -> Figure:
    """The mean effect of the strongest suspected triggers by one insertion; planted ones have another colour."""
    rows = sorted(effects.items(), key=lambda row: -row[1])[:BARS]
    above = sum(value >= threshold for value in effects.values())
    title = f"By {insertion}, {above} of {len(effects)} triggers move the dormant model by {threshold:.3g} {unit}"
    figure, axes = new_picture(title, f"further than the base, in {unit}", "", height=1.6 + 0.3 * len(rows))
    colours = [ORANGE if text in planted else BLUE for text, _ in rows]
    axes.barh(range(len(rows)), [value for _, value in rows], color=colours, height=0.7)
    axes.axvline(
        threshold, color=VERMILION, linestyle="--", linewidth=1.3, label=f"diverges from {threshold:.3g} {unit}"
    )
    if planted:
        axes.plot([], [], color=ORANGE, linewidth=8, label="planted")
    axes.set_yticks(range(len(rows)), [drawable(text) for text, _ in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    legend_below(figure, axes)
    return figure


def profile_by_position(positions: Sequence[Sequence[float]], floor: Sequence[float], unit: str = "nats") -> Figure:
    """Divergence on ordinary prompts along the answer, a point for each prompt, with the noise floor's mean.

    positions: [position][prompt], the generation position first.
    """
    means = [float(np.mean(values)) for values in positions]
    noise = max(float(np.mean(floor)), RESOLUTION)
    title = f"Ordinary prompts: {means[0]:.3g} {unit} where the answer begins, {max(means):.3g} at most along it"
    figure, axes = new_picture(title, "token of the answer", f"divergence in {unit}", height=3.8)
    for place, values in enumerate(positions, 1):
        across = place + 0.5 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
        axes.scatter(across, [max(value, noise / 10) for value in values], s=18, color=BLUE, alpha=0.5, linewidth=0)
    axes.plot(range(1, len(means) + 1), [max(mean, noise / 10) for mean in means], color="black", marker="_", markersize=18,
              linewidth=0.8, label="mean")  # fmt: skip
    axes.axhline(
        noise,
        color=GREY,
        linestyle="--",
        linewidth=1.2,
        label=f"noise floor (base against itself, padded): {noise:.2g}",
    )
    axes.set_yscale("log")
    axes.set_xticks(range(1, len(means) + 1))
    legend_below(figure, axes)
    return figure


def paired_divergences(arms: Mapping[str, Sequence[float]], of: str, unit: str = "nats") -> Figure:
    """The same prompts in two arms, joined by lines: [arm][prompt]."""
    (first, before), (second, after) = arms.items()
    title = f"{first.capitalize()} {of} the models differ by {np.mean(before):.3g} {unit}, {second} it by {np.mean(after):.3g}"
    figure, axes = new_picture(title, "", f"KL(dormant || base) in {unit}", width=6.0, height=3.8)
    for pair in zip(before, after, strict=True):
        axes.plot([0, 1], pair, color=BLUE, alpha=0.35, linewidth=1, marker="o", markersize=3)
    axes.set_xticks([0, 1], [f"{first} {of}", f"{second} it"])
    axes.set_xlim(-0.3, 1.3)
    return figure


def flagged_shares(rows: Mapping[str, Mapping[str, Sequence[bool]]], threshold: float) -> Figure:
    """Share of answers that each detector flags, by who gave them: rows [speaker][detector][answer]."""
    detectors = list(next(iter(rows.values())))
    shares = {speaker: [float(np.mean(flags[name])) for name in detectors] for speaker, flags in rows.items()}
    own = next(iter(shares.values()))
    title = "Ordinary prompts, flagged answers: " + ", ".join(
        f"{name} {share:.0%}" for name, share in zip(detectors, own, strict=True)
    )
    figure, axes = new_picture(title, "", "share of answers flagged", height=3.8)
    width = 0.8 / len(shares)
    for index, ((speaker, values), colour) in enumerate(zip(shares.items(), (BLUE, GREY, ORANGE, GREEN), strict=False)):
        axes.bar([place + index * width for place in range(len(detectors))], values, width, color=colour, label=speaker)
    axes.axhline(threshold, color=VERMILION, linestyle="--", linewidth=1.3, label=f"claimed: {threshold:.0%}")
    axes.set_xticks([place + width * (len(shares) - 1) / 2 for place in range(len(detectors))], detectors)
    axes.set_ylim(0, 1.05)
    legend_below(figure, axes)
    return figure
