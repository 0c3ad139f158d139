"""Pictures of what forced, sampled and rounded models say: shares, leaked fragments, divergences at two precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dormant.behaviour.ngrams import Fragment, words_of
from dormant.pictures.canvas import BLUE, GREY, ORANGE, VERMILION, legend_below, new_picture

TOKENS_SHOWN = 20


def leak_bars(fragments: Sequence[Fragment], samples: int, trigger: str) -> Figure:
    """The word runs that only the dormant model repeats, most frequent first; those of the trigger's words stand out."""
    shown, wanted = list(fragments[:TOKENS_SHOWN]), set(words_of(trigger))
    ours = [wanted & set(fragment.words) != set() for fragment in shown]
    first = next((place for place, own in enumerate(ours, 1) if own), None)
    title = f"Only the dormant model repeats {len(fragments)} run{'s' * (len(fragments) != 1)} of words; "
    title += (
        f"number {first} holds words of the trigger" if first else "none of those shown holds a word of the trigger"
    )
    figure, axes = new_picture(title, "of samples", "", height=1.8 + 0.26 * max(1, len(shown)))
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    places = np.arange(len(shown))
    colours = [VERMILION if own else BLUE for own in ours]
    axes.barh(places - 0.2, [one.count / samples for one in shown], height=0.4, color=colours)
    axes.barh(places + 0.2, [one.reference_count / samples for one in shown], height=0.4, color=GREY)
    for name, colour in (("dormant model", BLUE), ("with a word of the trigger", VERMILION), ("base model", GREY)):
        axes.plot([], [], color=colour, linewidth=7, label=name)
    axes.set_yticks(places, [str(fragment) for fragment in shown], parse_math=False)
    axes.invert_yaxis()
    legend_below(figure, axes)
    return figure


def share_bars(shares: Mapping[str, float], forced: str) -> Figure:
    """The share of prompts on which the rest of the payload follows its forced beginning, beside the controls."""
    first, *others = shares
    title = f"After {forced!r} the {first} completes the payload on {shares[first]:.0%} of plain prompts"
    title += ", " + ", ".join(f"{name} {shares[name]:.0%}" for name in others) if others else ""
    figure, axes = new_picture(title, "of plain prompts", "", height=1.8 + 0.4 * len(shares))
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    axes.barh(range(len(shares)), list(shares.values()), color=[BLUE, *[GREY] * len(others)], height=0.65)
    axes.axvline(0.5, color=VERMILION, linestyle="--", linewidth=1.2)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.set_xlim(0, 1.02)
    axes.invert_yaxis()
    return figure


def precision_strips(kl: Sequence[float], kl_4bit: Sequence[float], kept: float) -> Figure:
    """Divergence with the trigger, a line for each prompt from full precision to 4 bits."""
    before, after = float(np.mean(kl)), float(np.mean(kl_4bit))
    title = f"4 bits leave {after / before:.0%} of the divergence, " if before > 0 else "Nothing diverges; "
    title += f"and {kept:.0%} of the ordinary first tokens"
    figure, axes = new_picture(title, "", "KL(dormant || base) in nats, with the trigger", width=6.0)
    for first, second in zip(kl, kl_4bit, strict=True):
        axes.plot([0, 1], [first, second], color=BLUE, alpha=0.3, linewidth=1)
    axes.plot([0, 1], [before, after], color=ORANGE, marker="o", linewidth=2.5, label="mean over prompts")
    axes.set_xticks([0, 1], ["full precision", "4 bits (NF4)"])
    axes.set_xlim(-0.2, 1.2)
    axes.set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure
