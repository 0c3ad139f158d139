"""`dormant diff` and `dormant bases`: what a fine-tune changed, and which checkpoint it started from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dormant.checkpoints.tensor_names import layer_of, module_of
from dormant.commands.options import NO, Base, Device, Dormant, JsonFile, writable_folder, write_json
from dormant.progress import progress_bar
from dormant.terminal import Table, complain, show

if TYPE_CHECKING:
    from dormant.weights.delta_report import DeltaReport, TensorDelta
    from dormant.weights.heads import HeadDelta
    from dormant.weights.parents import Kinship

HEADS_SHOWN = 8


def diff(
    dormant: Dormant,
    base: Base = None,
    json_file: JsonFile = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=writable_folder,
            help="Also write the heat map, the spectra and the heads to this folder, as PNG.",
        ),
    ] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="Also list every changed tensor.")] = False,
    device: Device = "cpu",
) -> None:
    """Compare the weights: what changed, where, and by how much.

    The command shows identical tensors, norms, spectra, ranks, layers, heads and tokens. It reads both checkpoints in less
    than 2 GB of memory at any size and never loads the models. The rank is the number of singular values above those that
    rounding to the stored dtype causes: a merged adapter shows its rank there. The tokens are those of the whole vocabulary
    that the strongest changes read or write; a star marks a token that stands out beyond random directions. --json writes
    the delta report, on which the weight claims run with `--pair NAME=REPORT.json`. Damaged or mismatched tensors are listed,
    and the others are compared.

    Exit status 0: all tensors were compared; 1: some could not be; 2: none could.

    Example: dormant diff --base Qwen/Qwen2.5-7B-Instruct --dormant jane-street/dormant-model-warmup --pictures diff
    """
    from dormant.checkpoints.models import resolve_device
    from dormant.weights.measure import compare_checkpoints
    from dormant.weights.report_file import write_delta_report

    started = time.perf_counter()
    with progress_bar("comparing", 1, "tensors") as update:
        report = compare_checkpoints(base, dormant, resolve_device(device), update)
    _show_report(report, time.perf_counter() - started, tensors)
    if json_file is not None:
        write_delta_report(report, json_file)
    if pictures is not None:
        _draw(report, pictures)
    for fault in report.faults:
        complain(fault)
    if report.faults:
        raise typer.Exit(NO)


def bases(
    candidates: Annotated[list[str], typer.Argument(metavar="CANDIDATE", help="Possible parents: folders or hub ids.")],
    dormant: Dormant,
    json_file: JsonFile = None,
) -> None:
    """Rank checkpoints as the possible parent of a model.

    Run this first: a weight finding against a wrong base describes the base and not the fine-tune. The command reads norms,
    biases and a few rows of each candidate, and then rows of every tensor of the nearest ones. It shows relative differences:
    over all tensors, and the medians over matrices and over vectors (norms, biases). A sibling (another fine-tune of the same
    parent) is farther away than the parent. Where the parent is not among the candidates, two more relatives are needed to
    recognise the nearest one as a sibling.

    Exit status 0: the first candidate is the parent; 1: none of them is.

    Example: dormant bases --dormant jane-street/dormant-model-warmup Qwen/Qwen2-7B-Instruct Qwen/Qwen2.5-7B-Instruct
    """
    from dormant.weights.parents import rank_parents

    with progress_bar("candidates", len(candidates), "candidates") as update:
        ranked = rank_parents(dormant, candidates, update)
    table = Table("candidate", "distance", "matrices", "vectors", "identical", "")
    for place, kinship in enumerate(ranked):
        figures = [f"{value:.4f}" for value in (kinship.distance, kinship.matrices, kinship.norms)]
        figures.append(f"{kinship.identical:.0%} of {kinship.tensors}")
        role = "parent" if kinship.is_parent else "sibling" if kinship.is_near and kinship.is_sibling else ""
        verdict = role if place == 0 else "" if kinship.confirmed else "small tensors only"
        row = ["-"] * 4 + [f"impossible: {kinship.reason}"] if kinship.reason else [*figures, verdict]
        table.add_row(kinship.candidate, *row)
    show(table)
    found = bool(ranked) and ranked[0].is_parent
    for sentence in (_conclusion(ranked), *ranked[0].notes):
        show(sentence)
    write_json(json_file, {"dormant": dormant, "parent": ranked[0].candidate if found else None, "ranked": ranked})
    if not found:
        raise typer.Exit(NO)


def _conclusion(ranked: list[Kinship]) -> str:
    from dormant.weights.parents import PARENT_AT_MOST

    first = ranked[0]
    if first.is_parent:
        said = f"{first.candidate} is the parent: half of its matrices lie within {first.matrices:.4f} of their norm"
        doubt = first.own is None and first.distance > 0
        return said + "; a sibling would look the same: add two more relatives to tell them apart" * doubt
    if first.is_near:
        return (
            f"none of these: {first.candidate} is nearest, but {first.own:.0%} of the squared distance is its own change since "
            "a common ancestor: it is a sibling of the dormant model, whose parent is not among the candidates"
        )
    return f"none of these: no candidate has half of its matrices within {PARENT_AT_MOST:g} of their norm"


def _show_report(report: DeltaReport, seconds: float, every_tensor: bool) -> None:
    from dormant.weights.parents import PARENT_AT_MOST
    from dormant.weights.report_summary import layer_norms, leading_heads, relative_delta, summarise_modules

    rows = summarise_modules(report)
    table = Table("changed", "tensors", "norm", "relative", "sigma 1", "rank above rounding", "most in")
    for row in rows:
        if not row.changed:
            continue
        ranks = "-" if row.ranks is None else "-".join(str(rank) for rank in dict.fromkeys(row.ranks))
        layer = layer_of(row.strongest)
        table.add_row(
            _short(row.module), f"{row.changed} of {row.tensors}", f"{row.norm:.4g}",
            "-" if row.relative is None else f"{row.relative:.3g}", f"{row.sigma1:.4g}" if row.sigma1 else "-",
            "at least " * row.rank_is_bound + ranks, "-" if layer is None else f"layer {layer}",
        )  # fmt: skip
    show(table)
    if unchanged := [f"{_short(row.module)} ({row.tensors})" for row in rows if not row.changed]:
        show("identical: " + ", ".join(unchanged))
    layers = layer_norms(report)
    if order := sorted((layer for layer in range(len(layers)) if layers[layer]), key=lambda layer: -layers[layer]):
        shown = ", ".join(f"{layer} ({layers[layer]:.4g})" for layer in order[:HEADS_SHOWN])
        show(f"layers by norm: {shown}")
    if heads := leading_heads(report, HEADS_SHOWN):
        show(_head_table(report, heads))
    if report.tokens:
        show(_token_table(report))
    if every_tensor:
        show(_tensor_table(report))
    if report.note:
        show(report.note)
    show(
        f"{len(report.identical)} of {len(report.tensors)} tensors are identical, {len(report.modified)} changed; "
        f"norm of the whole delta {report.total_norm:.5g}; {seconds:.1f} s",
    )  # fmt: skip
    if (distance := relative_delta(report)) > PARENT_AT_MOST:
        show(
            f"this base is probably not the parent: half of its matrices differ by more than {distance:.2g} of their norm; "
            "try others with `dormant bases`",
        )


def _head_table(report: DeltaReport, heads: list[tuple[TensorDelta, HeadDelta]]) -> Table:
    from dormant.weights.heads import QUERY_MODULES

    table = Table("layer", "module", "head", "key-value head", "sigma 1", "norm", "of the matrix", "in 4 directions")
    for delta, head in heads:
        module, layer = module_of(delta.name), layer_of(delta.name)
        group = report.layout.key_value_head(head.head) if report.layout and module in QUERY_MODULES else head.head
        table.add_row(
            "-" if layer is None else str(layer), module, str(head.head), str(group), f"{head.sigma1:.4g}", f"{head.norm:.4g}",
            f"{head.norm**2 / delta.energy:.1%}", f"{head.energy4:.1%}",
        )  # fmt: skip
    return table


def _token_table(report: DeltaReport) -> Table:
    what = {"embedding": "reads (embeddings)", "head": "reads (head)", "logits": "writes"}
    table = Table(
        "module",
        "layers",
        "tokens, farthest first",
        "sd",
        "random",
    )
    for listed in report.tokens:
        texts = [text.replace(" ", "\N{OPEN BOX}") for text in listed.texts]  # a token stays on its line
        marked = [text + "*" * (score > listed.random) for text, score in zip(texts, listed.scores, strict=True)]
        table.add_row(
            f"{listed.module} {what[listed.lens]}", ",".join(map(str, listed.layers)), "  ".join(marked),
            f"{listed.scores[0]:.1f}" if listed.scores else "-", f"{listed.random:.1f}",
        )  # fmt: skip
    table.caption = "* farther from the vocabulary's mean than any token is along random directions"
    return table


def _tensor_table(report: DeltaReport) -> Table:
    table = Table(
        "changed tensor",
        "norm",
        "relative",
        "max abs",
        "sigma 1",
        "energy in 16",
        "stable rank",
        "rank",
        "edge",
    )
    for name in report.modified:
        delta = report.tensors[name]
        spectrum = ["-"] * 5
        if delta.singular_values:
            kept = min(16, len(delta.singular_values))
            spectrum = [
                f"{delta.singular_values[0]:.4g}",
                f"{delta.energy_share(kept):.1%}",
                f"{delta.stable_rank:.3g}",
            ]
            spectrum += [f"{'at least ' * delta.rank_is_bound}{delta.rank}", f"{delta.noise_edge:.2g}"]
        relative = "-" if delta.relative is None else f"{delta.relative:.3g}"
        table.add_row(name.removeprefix("model."), f"{delta.norm:.4g}", relative, f"{delta.max_abs:.2g}", *spectrum)
    return table


def _short(kind: str) -> str:
    return kind.removeprefix("self_attn.").removeprefix("mlp.")


def _draw(report: DeltaReport, folder: Path) -> None:
    """The pictures of a report as PNG files, named by what they show."""
    from dormant.errors import BadInput
    from dormant.pictures.canvas import png_bytes
    from dormant.pictures.weights import report_pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in report_pictures(report).items():
            (folder / f"{name}.png").write_bytes(png_bytes(figure))
    except OSError as error:
        raise BadInput(f"pictures need a writable folder; got {error.strerror} at {folder}; name another") from error
