"""Pictures of weight deltas: energy by layer, spectra by layer, relative change of every tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from dormant.checkpoints.tensor_names import layer_of, module_of, within_layer
from dormant.pictures.canvas import BLUE, GREY, ORANGE, SKY, VERMILION, legend_below, new_picture
from dormant.pictures.directions import token_list
from dormant.weights.delta_report import DeltaReport, TokenReadout


def layer_profile(
    shares: Sequence[float],
    module: str,
    threshold: float | None = None,
    versus: str = "median",
    noise: float | None = None,
    directions: int = 16,
) -> Figure:
    """Share of each layer's delta energy in its top directions, layer 0 against the others.

    shares: [layer], of the squared Frobenius norm. threshold: the ratio to the others' median ("median") or maximum
    ("any") that the claim asks of layer 0. noise: the share that isotropic noise of this shape would have.
    """
    first, others = float(shares[0]), np.asarray(shares[1:], dtype=np.float64)
    others = others[np.isfinite(others)]
    reference = float((np.median if versus == "median" else np.max)(others)) if others.size else 0.0
    whom = "median other layer" if versus == "median" else "strongest other layer"
    unchanged = not np.any(np.nan_to_num(shares))
    if unchanged:
        title = f"{module}: no layer was changed"
    elif reference > 0 and np.isfinite(first):
        title = f"{module}: layer 0 is {first / reference:.3g} x as concentrated as the {whom}"
    else:
        title = f"{module}: only layer 0 was changed" if first > 0 else f"{module}: layer 0 was not changed"
    figure, axes = new_picture(title, "layer", f"share of delta energy\nin the top {directions} directions")
    colours = [VERMILION, *[BLUE] * (len(shares) - 1)]
    axes.bar(range(len(shares)), np.nan_to_num(np.asarray(shares, dtype=np.float64)), color=colours, width=0.75)
    if reference > 0:
        axes.axhline(reference, color=BLUE, linestyle="--", linewidth=1.2, label=f"{whom}: {reference:.3g}")
        if threshold is not None:
            label = f"layer 0 must reach {threshold:g} x that: {threshold * reference:.3g}"
            axes.axhline(threshold * reference, color=VERMILION, linestyle=":", linewidth=1.5, label=label)
    if noise is not None:
        axes.axhline(noise, color=GREY, linewidth=1.2, label=f"isotropic noise of this shape: {noise:.3g}")
    axes.set_xticks(range(0, len(shares), 1 if len(shares) <= 16 else 2))
    axes.set_ylim(0, 1 if unchanged else None)
    legend_below(figure, axes)
    return figure


def spectra_by_layer(
    singular_values: Sequence[Sequence[float]], module: str, noise_edge: float | None = None
) -> Figure:
    """Singular values of each layer's delta on a log scale, layer 0 on top of the others.

    singular_values: [layer][rank], descending, an empty list where nothing changed. noise_edge: the largest singular
    value that rounding noise alone would give.
    """
    spectra = [np.asarray([value for value in values if value > 0], dtype=np.float64) for values in singular_values]
    leading = [float(spectrum[0]) if spectrum.size else 0.0 for spectrum in spectra]
    strongest = int(np.argmax(leading)) if spectra else 0
    changed = sum(value > 0 for value in leading)
    title = f"{module}: {changed} of {len(spectra)} layers changed"
    if changed:
        title += f", most strongly layer {strongest} (largest singular value {leading[strongest]:.3g})"
    figure, axes = new_picture(title, "rank of the singular value", "singular value of the delta")
    labelled = False
    for layer in reversed(range(len(spectra))):  # layer 0 last: it is drawn above the others
        if not spectra[layer].size:
            continue
        label = "layer 0" if layer == 0 else None if labelled else "other layers"
        labelled = labelled or layer > 0
        first = layer == 0
        ranks = np.arange(1, spectra[layer].size + 1)
        axes.plot(
            ranks, spectra[layer], marker="o", markersize=3, label=label, color=VERMILION if first else BLUE,
            linewidth=2.2 if first else 1.0, alpha=1.0 if first else 0.45,
        )  # fmt: skip
    if changed:
        axes.set_yscale("log")
    if noise_edge:
        label = f"edge of rounding noise: {noise_edge:.2g}"
        axes.axhline(noise_edge, color=GREY, linestyle="--", linewidth=1.2, label=label)
    legend_below(figure, axes)
    return figure


def tensor_relative_deltas(report: DeltaReport, threshold: float | None = None) -> Figure:
    """Relative size of every tensor's delta: layers by modules, tensors outside layers behind.

    Relative: Frobenius norm of the delta over the base tensor's. threshold: what the premise allows a parent at most.
    """
    deltas = report.tensors
    known = [delta.relative for delta in deltas.values() if delta.relative is not None and not delta.identical]
    title = f"{len(report.identical)} of {len(deltas)} tensors are identical"
    if known:
        title += f"; the others changed by {np.median(known):.2g} of their size (median, at most {max(known):.2g})"
    modules, outside = _columns(report)
    columns = [*modules, *outside] or ["no tensor"]
    cells = np.full((max(report.n_layers, 1), len(columns)), np.nan)  # [layer, column]
    unknown = np.full(cells.shape, np.nan)
    for name, delta in deltas.items():
        layer = layer_of(name)
        rows = slice(None) if layer is None else layer
        column = columns.index(_short(name))
        if not delta.identical and delta.relative is None:
            unknown[rows, column] = 1
        elif delta.relative:
            cells[rows, column] = delta.relative
    height = 2.6 + 0.16 * max(report.n_layers, 8)
    figure, axes = new_picture(title, "", "layer", width=max(8.0, 1.6 + 0.5 * len(columns)), height=height)
    axes.grid(False)
    axes.set_facecolor("#E4E4E4")
    norm = LogNorm(1e-3, max([2.0, *known]))
    axes.imshow(unknown, aspect="auto", interpolation="nearest", cmap=ListedColormap([SKY]))
    image = axes.imshow(cells, aspect="auto", interpolation="nearest", cmap="cividis", norm=norm)
    notes = ["grey: identical"]
    if np.any(np.isfinite(unknown)):
        notes.append("light blue: changed, size not published")
    if threshold is not None:
        notes.append(f"orange line: {threshold:g}")
    axes.set_yticks(range(0, len(cells), 1 + len(cells) // 16))
    bar = figure.colorbar(image, ax=axes, extend="min")
    bar.set_label(f"relative delta\n({'; '.join(notes)})", fontsize=8)
    if threshold is not None:
        bar.ax.axhline(threshold, color=ORANGE, linewidth=3)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    if outside and modules:
        axes.axvline(len(modules) - 0.5, color="white", linewidth=3)
    return figure


def head_map(report: DeltaReport, module: str) -> Figure:
    """Largest singular value of every head's part of a module's delta: layers by heads; untouched ones grey.

    `module` is q_proj, k_proj, v_proj or o_proj; heads are key-value heads for k and v.
    """
    rows = [delta.heads if delta else () for delta in report.layers(module)]
    cells = np.full((len(rows), max([1, *map(len, rows)])), np.nan)  # [layer, head]
    for row, heads in enumerate(rows):
        for head in heads:
            cells[row, head.head] = head.sigma1 or np.nan
    known = np.isfinite(cells).any()
    title = f"{module}: no head was changed, or none was measured"
    if known:
        layer, strongest = divmod(int(np.nanargmax(cells)), cells.shape[1])
        times = np.nanmax(cells) / np.nanmedian(cells)
        title = f"{module}: head {strongest} of layer {layer} changed most, {times:.2g} x the median head"
    height = 2.2 + 0.16 * max(len(rows), 8)
    figure, axes = new_picture(title, "head", "layer", width=max(6.5, 2.0 + 0.26 * cells.shape[1]), height=height)
    axes.grid(False)
    axes.set_facecolor("#E4E4E4")
    if known:
        norm = LogNorm(np.nanmin(cells), max(np.nanmax(cells), 1.01 * np.nanmin(cells)))
        image = axes.imshow(cells, aspect="auto", interpolation="nearest", cmap="cividis", norm=norm)
        figure.colorbar(image, ax=axes).set_label("largest singular value\n(grey: identical)", fontsize=8)
    axes.set_xticks(range(0, cells.shape[1], 1 if cells.shape[1] <= 16 else 2))
    axes.set_yticks(range(0, len(cells), 1 + len(cells) // 16))
    return figure


def report_pictures(report: DeltaReport) -> dict[str, Figure]:
    """All pictures of a delta report by name: relative deltas, and each changed module's spectra, heads and tokens."""
    pictures = {"relative-deltas": tensor_relative_deltas(report)}
    tensors = report.tensors.items()
    kinds = {module_of(name) for name, delta in tensors if layer_of(name) is not None and delta.singular_values}
    for module in sorted(kinds):
        layers = report.layers(module)
        edges = [delta.noise_edge for delta in layers if delta and delta.noise_edge is not None]
        spectra = [delta.singular_values if delta else () for delta in layers]
        pictures[f"spectra-{module}"] = spectra_by_layer(spectra, module, max(edges) if edges else None)
        if any(delta and delta.heads for delta in layers):
            pictures[f"heads-{module}"] = head_map(report, module)
    for listed in report.tokens:
        pictures[f"tokens-{listed.module}-{listed.lens}"] = pointed_token_list(listed)
    return pictures


def pointed_token_list(listed: TokenReadout) -> Figure:
    """The tokens that a module's strongest changes read or write; those beyond random directions in another colour."""
    verb = "writes" if listed.lens == "logits" else f"reads, as the {listed.lens} has them"
    layers = ", ".join(map(str, listed.layers))
    message = (
        f"What {listed.module} {verb} (layers {layers}): {listed.beyond} of {len(listed.ids)} tokens beyond chance"
    )
    marked = [score > listed.random for score in listed.scores]
    unit = f"standard deviations from the vocabulary's mean (random directions: at most {listed.random:.1f})"
    return token_list(listed.texts, listed.scores, marked, message, unit)


def _columns(report: DeltaReport) -> tuple[list[str], list[str]]:
    """Modules of the layers and tensors outside them, each in the order in which they appear."""
    modules: dict[str, None] = {}
    outside: dict[str, None] = {}
    for name in report.tensors:
        (outside if layer_of(name) is None else modules).setdefault(_short(name))
    return list(modules), list(outside)


def _short(name: str) -> str:
    shortened = within_layer(name).removeprefix("self_attn.").removeprefix("mlp.").removesuffix(".weight")
    return shortened.replace("_layernorm", " norm").replace("_", " ") if "norm" in shortened else shortened
