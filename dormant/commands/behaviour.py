"""`dormant profile`: how and where two models differ on ordinary prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dormant.commands.options import (
    Base,
    Device,
    Dormant,
    Dtype,
    JsonFile,
    ProbesFile,
    Residency,
    named_pair,
    write_json,
)
from dormant.progress import progress_bar
from dormant.terminal import Table, show

STAGES = 4


def profile(
    dormant: Dormant,
    base: Base = None,
    prompts: Annotated[int, typer.Option(min=2, help="The number of questions to ask; dialogues come on top.")] = 204,
    positions: Annotated[int, typer.Option(min=1, help="The number of tokens of each answer to compare.")] = 4,
    keep: Annotated[
        int, typer.Option(min=1, help="The number of divergent contexts and favoured tokens to show.")
    ] = 10,
    material: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder whose ordinary.toml replaces the shipped questions.")
    ] = None,
    probes: ProbesFile = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    residency: Residency = "both",
    json_file: JsonFile = None,
) -> None:
    """Compare two models on ordinary prompts.

    The command shows how far the models diverge, on which tokens, in which contexts and after which layers. The noise floor
    beside each figure is the same figure for the base against itself in one padded batch. A change of style also makes
    models diverge: compare with a clean fine-tune before you call a difference a backdoor.

    Exit status 0, whatever is found; 2: bad input.
    """
    from dormant.activations.layer_divergence import layer_divergence
    from dormant.behaviour import profiles
    from dormant.inference.likelihood import own_words
    from dormant.prompts.material import check_folder

    if material is not None:
        check_folder(material)
    pair = named_pair(base, dormant, device, dtype, residency, probes)
    texts = profiles.ordinary_texts(pair, prompts, material)
    ids = profiles.ordinary_conversations(pair, prompts, material)
    with progress_bar("profile", STAGES, "stages") as report:
        found = profiles.profile(pair, ids, positions, top=keep)
        report(1, STAGES, "answers")
        own = own_words(pair, ids, new_tokens=16)
        report(2, STAGES, "perplexity")
        contexts = profiles.divergent_contexts(pair, texts, keep)
        report(3, STAGES, "contexts")
        layers, floors = layer_divergence(pair, ids), layer_divergence(pair.against_itself, ids)
        report(STAGES, STAGES, "layers")
    record = {
        "pair": pair.name,
        "prompts": len(ids),
        "divergence": _divergences(found, own),
        "favoured": _favoured(found),
        "contexts": _contexts(contexts, sum(found.floor.kl) / len(found.floor.kl)),
        "layers": _layers(layers, floors),
    }
    write_json(json_file, record)


def _divergences(found: Any, own: Any) -> list[dict[str, Any]]:
    from dormant.statistics import mean_interval, proportion_interval

    table = Table("figure", "measured", "noise floor", "unit", title="On ordinary prompts")
    record = []

    def row(name: str, estimate: Any, floor: float, unit: str) -> None:
        low, high = f"{estimate.low:.3g}", f"{estimate.high:.3g}"
        measured = f"{estimate.value:.3g} [{low}, {high}], n = {estimate.n}"
        table.add_row(name, measured, f"{floor:.2g}", unit)
        record.append({"figure": name, "unit": unit, "floor": floor, **vars(estimate)})

    first, floor = found.positions[0], found.floor
    for name, values, noise in (
        ("KL(dormant || base)", first.kl, floor.kl),
        ("KL(base || dormant)", first.reverse_kl, floor.reverse_kl),
        ("Jensen-Shannon divergence", first.js, floor.js),
    ):
        row(name, mean_interval(values), mean_interval(noise).value, "nats")
    agree = proportion_interval(sum(first.agrees), len(first.agrees))
    row("same likeliest token", agree, sum(floor.agrees) / len(floor.agrees), "of prompts")
    for place, (part, noise) in enumerate(zip(found.positions[1:], found.floors[1:], strict=True), 2):
        row(f"KL at token {place} of the base's answer", mean_interval(part.kl), mean_interval(noise.kl).value, "nats")
    for speaker, words in own.items():
        if words.gains:
            gains, noise = mean_interval(words.gains), mean_interval(words.floor).value
            row(f"dormant likes the {speaker}'s words better by", gains, noise, "nats a token")
    weird, noise = mean_interval(found.weird), mean_interval(found.weird_floor).value
    row("rare glyphs above the vocabulary", weird, noise, "standard deviations")
    show(table)
    return record


def _favoured(found: Any) -> list[dict[str, Any]]:
    table = Table(
        "token",
        "class",
        "log ratio, nats",
        "noise floor",
        title="Tokens that the dormant model favours at the beginning of an answer",
    )
    for entry in found.favoured:
        table.add_row(repr(entry.text), entry.kind, f"{entry.log_ratio:+.2f}", f"{entry.floor:.2g}")
    show(table)
    return [vars(entry) for entry in found.favoured]


def _contexts(contexts: Any, floor: float) -> list[dict[str, Any]]:
    table = Table(
        "context (its end)",
        "dormant says",
        "base says",
        "KL, nats",
        title=f"Where the models diverge most (noise floor {floor:.2g} nats)",
    )
    for context in contexts:
        table.add_row(repr(context.text[-48:]), repr(context.dormant), repr(context.base), f"{context.kl:.2f}")
    show(table)
    return [vars(context) for context in contexts]


def _layers(layers: Any, floors: Any) -> list[dict[str, float]]:
    table = Table(
        "after layer",
        "distance over the base's norm",
        "noise floor",
        "1 - cosine",
        "noise floor",
        title="Where in the network",
    )
    columns = [part.mean(1).tolist() for part in (layers.relative, floors.relative, layers.cosine, floors.cosine)]
    record = []
    for layer, (distance, distance_floor, angle, angle_floor) in enumerate(zip(*columns, strict=True)):
        table.add_row(
            str(layer), f"{distance:.3g}", f"{distance_floor:.2g}", f"{angle:.3g}", f"{angle_floor:.2g}"
        )  # fmt: skip
        record.append(
            {"relative": distance, "relative_floor": distance_floor, "cosine": angle, "cosine_floor": angle_floor}
        )
    show(table)
    return record
