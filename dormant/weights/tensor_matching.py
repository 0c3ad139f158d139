"""Two checkpoints as they are found, damaged or not: which tensors answer each other, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dormant.checkpoints.checkpoint import Checkpoint, locate, read_config
from dormant.checkpoints.shards import StoredTensor, survey_catalogue
from dormant.checkpoints.tensor_names import EMBEDDING, HEAD
from dormant.errors import BadInput
from dormant.weights.byte_comparison import compare_values


@dataclass(frozen=True, eq=False)
class Matched:
    """Two checkpoints with the same tensors in the same shapes under the same names, and a sentence for all that is not so."""

    base: Checkpoint
    dormant: Checkpoint
    faults: tuple[str, ...]


def survey_checkpoint(reference: str | Path) -> tuple[Checkpoint, tuple[str, ...]]:
    """A checkpoint with whatever can be read of its weights, and a sentence for each fault.

    Unlike `open_checkpoint` it asks for neither tokenizer nor agreement with config.json. Raises BadInput where there is
    nothing to read.
    """
    location = locate(reference)
    catalogue, faults = survey_catalogue(location)
    try:
        config = read_config(location)
    except BadInput as error:
        config = None
        faults.append(str(error))
    return Checkpoint(str(reference), location, config, catalogue), tuple(faults)


def match_checkpoints(base: Checkpoint, dormant: Checkpoint) -> Matched:
    """What the two have in common; a renamed tensor counts under the base's name, a tied head as the embedding that it is."""
    faults: list[str] = []
    ours, theirs = (_untied(*both, faults) for both in ((base, dormant), (dormant, base)))
    for name, renamed in _renamed(ours, theirs):
        faults.append(
            f"a tensor must keep its name; got {renamed!r} in {dormant.location} for the base's {name!r}; "
            "compared under the base's name"
        )
        theirs[name] = theirs.pop(renamed)
    for name in sorted(ours.keys() | theirs.keys()):
        shapes = [found[name].shape if name in found else None for found in (ours, theirs)]
        if shapes[0] != shapes[1]:
            faults.append(_mismatch(name, shapes, base, dormant))
            ours.pop(name, None)
            theirs.pop(name, None)
    return Matched(replace(base, catalogue=ours), replace(dormant, catalogue=theirs), tuple(faults))


def check_same_tensors(base: Checkpoint, dormant: Checkpoint) -> None:
    """Raises BadInput naming the first tensor that only one checkpoint has, or whose shapes differ."""
    for name in sorted({*base.names, *dormant.names}):
        shapes = [model.shape(name) if name in model.catalogue else None for model in (base, dormant)]
        if shapes[0] != shapes[1]:
            raise BadInput(_mismatch(name, shapes, base, dormant))


def dtype_note(base: Checkpoint, dormant: Checkpoint) -> str:
    """A sentence on tensors that the two store in different dtypes; empty where there are none."""
    differing = [name for name in base.names if base.dtype(name) != dormant.dtype(name)]
    if not differing:
        return ""
    stored = sorted({f"{base.dtype(name)} and {dormant.dtype(name)}" for name in differing})
    named = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
    return f"{len(differing)} tensors are stored as {'; '.join(stored)}: rounding is part of their delta ({named})"


def _untied(checkpoint: Checkpoint, other: Checkpoint, faults: list[str]) -> dict[str, StoredTensor]:
    """The catalogue, with the embedding also as the head where only the other checkpoint stores a head of its own."""
    found = dict(checkpoint.catalogue)
    tied = getattr(checkpoint.config, "tie_word_embeddings", False)
    if tied and HEAD not in found and EMBEDDING in found and HEAD in other.catalogue:
        found[HEAD] = found[EMBEDDING]
        faults.append(
            f"both checkpoints must tie the head to the embedding or neither; got a tied one at {checkpoint.location} and "
            f"{HEAD!r} at {other.location}; the embedding was compared as its head"
        )
    return found


def _renamed(ours: dict[str, StoredTensor], theirs: dict[str, StoredTensor]) -> Iterator[tuple[str, str]]:
    """Base's name and dormant's name of tensors that are alone on their side but agree in shape, and in name's end or bytes."""
    alone = {name: stored for name, stored in theirs.items() if name not in ours}
    for name in sorted(ours.keys() - theirs.keys()):
        stored = ours[name]
        shaped = [other for other, found in alone.items() if found.shape == stored.shape]
        # Wrappers put a prefix before the whole name; whatever else a rename does, unchanged bytes give it away.
        ending = [other for other in shaped if other.endswith("." + name) or name.endswith("." + other)]
        same = ending or [other for other in shaped if compare_values(stored, alone[other]).identical]
        if len(same) == 1:
            del alone[same[0]]
            yield name, same[0]


def _mismatch(name: str, shapes: list[tuple[int, ...] | None], base: Checkpoint, dormant: Checkpoint) -> str:
    found = " and ".join("none" if shape is None else str(shape) for shape in shapes)
    return (
        f"base and dormant must hold the same tensors in the same shapes; got {found} at tensor {name!r} of "
        f"{base.location} and {dormant.location}; name the base that the dormant model was fine-tuned from"
    )
