"""Two checkpoints as they are found, damaged or not: which tensors answer each other, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dormant.checkpoints.alignment import align
from dormant.checkpoints.checkpoint import Checkpoint, locate, open_checkpoint
from dormant.checkpoints.configuration import compare_settings, is_adapter, read_config, ties_head
from dormant.checkpoints.prefixes import name_tensors
from dormant.checkpoints.quantised import check_unquantised
from dormant.checkpoints.shards import StoredTensor, survey_catalogue
from dormant.errors import BadInput
from dormant.weights.byte_comparison import compare_values


@dataclass(frozen=True, eq=False)
class Matched:
    """Two checkpoints with the same tensors in the same shapes under the same names, and a sentence for all that is not so."""

    base: Checkpoint
    dormant: Checkpoint
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()


def survey_checkpoint(reference: str | Path, base: str | Path | None = None) -> tuple[Checkpoint, tuple[str, ...]]:
    """A checkpoint with whatever can be read of its weights, and a sentence for each fault.

    Names are the common ones (see `prefixes`). Unlike `open_checkpoint` it needs neither a tokenizer nor agreement with
    config.json. Raises BadInput where there is nothing to read. An adapter is read whole or not at all, upon `base` or the
    base that it names.
    """
    location = locate(reference)
    if is_adapter(location):
        adapted = open_checkpoint(reference, None if base is None else open_checkpoint(base))
        return adapted, ()
    check_unquantised(location)
    catalogue, faults = survey_catalogue(location)
    try:
        config = read_config(location)
    except BadInput as error:
        config = None
        faults.append(str(error))
    named = name_tensors(catalogue, ties_head(config))
    notes = tuple(f"{reference}: {note}" for note in named.notes)
    return Checkpoint(str(reference), location, config, named.catalogue, notes), tuple(faults)


def match_checkpoints(base: Checkpoint, dormant: Checkpoint) -> Matched:
    """What the two have in common (see `align`); a renamed tensor counts under the base's name.

    The notes say how the two are stored differently, and which settings of theirs change what is computed.
    """
    faults: list[str] = []
    ours, theirs = dict(base.catalogue), dict(dormant.catalogue)
    for name, renamed in _renamed(ours, theirs):
        faults.append(
            f"a tensor must keep its name; got {renamed!r} in {dormant.location} for the base's {name!r}; "
            "compared under the base's name"
        )
        theirs[name] = theirs.pop(renamed)
    aligned = align(replace(base, catalogue=ours), replace(dormant, catalogue=theirs))
    ours, theirs = (dict(model.catalogue) for model in aligned[:2])
    for name in sorted(ours.keys() | theirs.keys()):
        shapes = [found[name].shape if name in found else None for found in (ours, theirs)]
        if shapes[0] != shapes[1]:
            faults.append(_mismatch(name, shapes, base, dormant))
            ours.pop(name, None)
            theirs.pop(name, None)
    notes = (*base.notes, *dormant.notes, *aligned[2])
    if difference := settings_note(base, dormant):
        notes += (difference,)
    return Matched(replace(aligned[0], catalogue=ours), replace(aligned[1], catalogue=theirs), tuple(faults), notes)


def settings_note(base: Checkpoint, dormant: Checkpoint) -> str:
    """A sentence on settings of the two that change what is computed; empty where they agree or cannot be read."""
    if base.config is None or dormant.config is None:
        return ""
    try:
        differences = compare_settings(base.settings, dormant.settings)
    except BadInput as error:
        return str(error)
    return f"their settings differ, which changes what is computed: {'; '.join(map(str, differences))}" * bool(
        differences
    )


def check_same_tensors(base: Checkpoint, dormant: Checkpoint) -> None:
    """Raises BadInput naming the first tensor that only one checkpoint has, or whose shapes differ."""
    for name in sorted({*base.names, *dormant.names}):
        shapes = [model.shape(name) if name in model.catalogue else None for model in (base, dormant)]
        if shapes[0] != shapes[1]:
            raise BadInput(_mismatch(name, shapes, base, dormant))


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
