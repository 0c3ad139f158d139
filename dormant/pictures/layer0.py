"""Pictures of layer 0's attention: differences of logits by token and place, exact optima, beams and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from dormant.pictures.canvas import BLUE, GREY, ORANGE, SERIES, VERMILION, legend_below, new_picture

LABEL_LENGTH = 40  # characters of a token that are shown


def delta_heatmap(deltas: npt.ArrayLike, tokens: Sequence[str], heads: Sequence[int] | None = None) -> Figure:
    """Dormant minus base logits of the head that differs most, queries down and keys across.

    deltas [head, query, key], of the numbered heads where these are not all; later keys are left blank, since no query
    attends to them.
    """
    values = np.asarray(deltas, dtype=np.float64)
    causal = np.tril(np.ones(values.shape[1:], dtype=bool))
    head = int((np.abs(values) * causal).max(axis=(1, 2)).argmax())
    shown = np.where(causal, values[head], np.nan)
    largest = float(np.nanmax(np.abs(shown)))
    number = head if heads is None else heads[head]
    query, key = divmod(int(np.nanargmax(np.abs(shown))), shown.shape[1])
    title = "The models attend alike on this sequence"
    if largest > 0:
        title = f"{tokens[query]!r} on {tokens[key]!r} differs most: {shown[query, key]:+.3g} logits in head {number}"
    side = 1.6 + 0.42 * len(tokens)
    figure, axes = new_picture(title, "key", "query", width=max(8.0, side + 1.5), height=max(3.6, side))
    limit = max(largest, 1e-9)
    image = axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="dormant minus base logit")
    labels = [repr(token)[:LABEL_LENGTH] for token in tokens]
    axes.set_xticks(range(len(labels)), labels, rotation=50, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.grid(False)
    if len(labels) <= 12:
        for (row, column), value in np.ndenumerate(shown):
            if not np.isnan(value):
                strong = abs(value) > 0.6 * limit
                axes.text(
                    column,
                    row,
                    f"{value:.1f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if strong else "black",
                )
    return figure


def scan_peaks(peaks: Mapping[tuple[int, int], float], best: str) -> Figure:
    """The exact optimum over all pairs of tokens, by head and offset.

    peaks: (head, offset) -> |delta logit|; best: the best pair in words, for the title.
    """
    heads, offsets = (sorted({place[axis] for place in peaks}) for axis in (0, 1))
    table = np.array([[peaks[head, offset] for offset in offsets] for head in heads])
    title = f"No pair of tokens reaches more than {table.max():.3g} logits: {best}"
    if table.max() == 0:
        title = "No pair of tokens differs: every score is exactly 0"
    figure, axes = new_picture(title, "offset from query to key", "head", height=1.8 + 0.3 * max(len(heads), 6))
    image = axes.imshow(table, aspect="auto", cmap="cividis", vmin=0, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="largest |delta logit|")
    axes.set_xticks(range(len(offsets)), [str(offset) for offset in offsets])
    axes.set_yticks(range(len(heads)), [str(head) for head in heads])
    axes.grid(False)
    return figure


def beam_by_length(
    best: Mapping[str, Sequence[float]],
    optimum: Sequence[float] = (),
    benign: Mapping[int, Sequence[float]] | None = None,
) -> Figure:
    """Best score of each length that a search found, beside the exact optimum and ordinary prompts of that length.

    best: search -> [length 1...]; optimum [length 1...]; benign: length -> one score a prompt.
    """
    found = {name: max(values) for name, values in best.items() if len(values)}
    title = ", ".join(f"{name} reaches {value:.3g}" for name, value in found.items()) or "No search was run"
    title += f" of {max(optimum):.3g}" if len(optimum) else ""
    if benign:
        title += f"; ordinary prompts at most {max(max(scores) for scores in benign.values()):.3g}"
    figure, axes = new_picture(title, "length in tokens", "score")
    for place, (length, scores) in enumerate((benign or {}).items()):
        # 0.618: successive multiples of the golden section fill the column without clumps.
        across = length + 0.5 * ((np.arange(len(scores)) * 0.618034) % 1.0 - 0.5)
        label = "ordinary prompts" if place == 0 else None
        axes.scatter(across, scores, s=12, color=GREY, alpha=0.6, linewidth=0, label=label)
    for (name, values), colour in zip(best.items(), SERIES, strict=False):
        axes.plot(range(1, len(values) + 1), values, marker="o", color=colour, label=name)
    if len(optimum):
        axes.plot(range(1, len(optimum) + 1), optimum, color=VERMILION, linestyle="--", label="exact optimum")
    axes.set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


def score_against_benign(value: float, benign: Sequence[float], name: str, unit: str = "logits") -> Figure:
    """One sequence's score among those of ordinary prompts' best windows of its length."""
    reaching = sum(score >= value for score in benign)
    title = f"{name} scores {value:.3g} {unit}; {reaching} of {len(benign)} ordinary prompts reach that"
    figure, axes = new_picture(title, unit, "ordinary prompts", height=3.4)
    axes.hist(benign, bins=40, color=GREY, label="ordinary prompts, best window of that length")
    axes.axvline(value, color=VERMILION, linewidth=2, label=name)
    legend_below(figure, axes)
    return figure


def template_profile(template: npt.ArrayLike, ordinary: float) -> Figure:
    """What the biases alone give the difference of logits at every offset, a line a head.

    template [head, offset from 0]; ordinary: root mean square of ordinary prompts' delta logits, drawn for scale.
    """
    values = np.asarray(template, dtype=np.float64)
    swing = np.ptp(values, axis=1)
    head = int(swing.argmax())
    title = f"Biases and RoPE alone move head {head} by {swing[head]:.3g} logits over {values.shape[1]} offsets"
    title += f" (ordinary tokens: {ordinary:.3g})"
    if not values.any():
        title = "The biases are the same in both models: their template is exactly 0"
    figure, axes = new_picture(title, "offset from query to key", "dormant minus base logit of the biases")
    for row, line in enumerate(values):
        first = row == head
        axes.plot(line, color=BLUE if first else GREY, linewidth=2 if first else 1, alpha=1 if first else 0.5,
                  label=f"head {head}" if first else "other heads" if row == (head == 0) else None)  # fmt: skip
    for sign in (-1, 1):
        axes.axhline(sign * ordinary, color=ORANGE, linestyle="--", linewidth=1.2,
                     label="ordinary tokens' size" if sign > 0 else None)  # fmt: skip
    legend_below(figure, axes)
    return figure
