"""The list of a sweep's pairs: a TOML file with known pairs, two checkpoints, globs of folders, and collections of the hub."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dormant.catalogue import PairDescription, describe, pairs_of_set
from dormant.checkpoints.adapters import stated_base
from dormant.checkpoints.checkpoint import Checkpoint, open_checkpoint
from dormant.checkpoints.hub_collection import models_of_collection
from dormant.errors import BadInput
from dormant.progress import Progress
from dormant.records import from_json

Measured = TypeVar("Measured")
Option = str | bool | int | float
PAIR_NAME = re.compile(r"[\w.+-]*\w[\w.+-]*")  # of a folder, and of a pair for pytest


@dataclass(frozen=True)
class PairEntry:
    """An entry of the list: `name` alone is a known pair; `folders` is a glob, each match a pair named by its folder.

    `collection` is the slug of a collection of the hub, each model of which is a pair, but for the base. `set` alone is one of
    the catalogue's sets, as of `--pair-set`.
    """

    name: str = ""
    base: str = ""
    dormant: str = ""
    folders: str = ""
    collection: str = ""
    set: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class PairList:
    """The whole file: pairs, the base of those that name none, options of every pair, and SLURM's settings."""

    pairs: tuple[PairEntry, ...]
    base: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    slurm: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedPair:
    """One pair to work on, with its own options over those of every pair."""

    pair: PairDescription
    options: Mapping[str, Option]

    @property
    def name(self) -> str:
        """The pair's name, which is its folder's."""
        return self.pair.name


def read_pair_list(path: Path) -> PairList:
    """The file as it stands; raises BadInput naming what cannot be read."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BadInput(f"a list of pairs must be a readable TOML file; got {error} at {path}; correct it") from error
    return from_json(PairList, table, path)


def listed_pairs(found: PairList, path: Path) -> list[ListedPair]:
    """The pairs that a list names, in its order; raises BadInput with every fault of it at once.

    A checkpoint is sought beside the file first, then from the working folder, then on the hub.
    """
    faults, listed = list[str](), list[ListedPair]()
    for number, entry in enumerate(found.pairs, 1):
        try:
            for pair in _pairs_of(entry, found.base, path.parent):
                listed.append(ListedPair(pair, {**found.options, **entry.options}))
        except BadInput as error:
            faults.append(f"entry {number}: {error}")
    for name, times in Counter(one.name for one in listed).items():
        if times > 1:
            faults.append(f"{name} stands {times} times in the list; give each a name of its own")
    by_models: dict[object, str] = {}
    for one in listed:
        models = (one.pair.base, one.pair.dormant, tuple(sorted(one.options.items())))
        first = by_models.setdefault(models, one.name)
        if first != one.name and one.pair.base is not None:
            faults.append(f"{one.name} is {first} once more, with the same options; leave one out")
    if not listed and not faults:
        faults.append("it names no pair")
    if faults:
        raise BadInput(f"a list must name different pairs that can be opened; got {'; '.join(faults)} at {path}")
    return listed


def open_each(
    listed: Sequence[ListedPair],
    measure: Callable[[ListedPair, tuple[Checkpoint, Checkpoint] | None], Measured],
    progress: Progress,
) -> list[Measured]:
    """What `measure` makes of each pair and its checkpoints, headers only; figures-only pairs have none.

    Raises BadInput with every pair that cannot be opened. One pair at a time is open, and a base as long as it comes again.
    """
    bases: dict[str, Checkpoint] = {}
    measured, faults = list[Measured](), list[str]()
    for number, one in enumerate(listed, 1):
        base, dormant = one.pair.base, one.pair.dormant
        try:
            opened = None
            if base is not None and dormant is not None:
                bases = {base: bases[base] if base in bases else open_checkpoint(base)}
                opened = bases[base], open_checkpoint(dormant, bases[base])
            measured.append(measure(one, opened))
        except BadInput as error:
            faults.append(f"{one.name}: {error}")
        progress(number, len(listed), one.name)
    if faults:
        raise BadInput(f"every pair must be one that can be opened; got {len(faults)} that cannot: {'; '.join(faults)}")
    return measured


def _pairs_of(entry: PairEntry, base: str, folder: Path) -> Iterator[PairDescription]:
    base = _located(entry.base or base, folder)
    if entry.set:
        if entry.name or entry.base or entry.dormant or entry.folders or entry.collection:
            raise BadInput(f"an entry with a set has nothing beside it but options; got more at {entry.set!r}")
        for pair in pairs_of_set(entry.set).values():
            pair.check_at_hand()
            yield pair
    elif entry.collection:
        if entry.name or entry.dormant or entry.folders:
            raise BadInput(
                f"an entry with a collection has nothing but its base beside it; got more at {entry.collection!r}"
            )
        for model in models_of_collection(entry.collection):
            if model != base:
                yield describe(_checked(model.rpartition("/")[2]), base or stated_base(model), model)
    elif entry.folders:
        if entry.name or entry.dormant:
            raise BadInput(f"an entry with folders names its pairs itself; got name or dormant at {entry.folders!r}")
        pattern = Path(entry.folders).expanduser()
        root = Path(pattern.anchor) if pattern.is_absolute() else folder
        matches = sorted(root.glob(str(pattern.relative_to(pattern.anchor))))
        folders = [match for match in matches if match.is_dir() and any(match.glob("*config.json"))]
        if not folders:
            raise BadInput(f"folders must match checkpoints; got none for {entry.folders!r} in {root}")
        for match in folders:
            yield describe(_checked(match.name), base or stated_base(match), str(match.absolute()))
    elif entry.dormant:
        dormant = _located(entry.dormant, folder)
        yield describe(_checked(entry.name or Path(dormant).name), base or stated_base(dormant), dormant)
    elif entry.name in (known := pairs_of_set("all")) and not entry.base:
        known[entry.name].check_at_hand()
        yield known[entry.name]
    else:
        raise BadInput(
            f"a pair must be a known one or have dormant, folders or collection; got {entry.name!r}; known are "
            f"{', '.join(known)}"
        )


def _checked(name: str) -> str:
    if not PAIR_NAME.fullmatch(name):
        raise BadInput(f"a pair's name must consist of letters, digits and _ . + -; got {name!r}; give it a name")
    return name


def _located(reference: str, folder: Path) -> str:
    """A checkpoint beside the list or in the working folder by its whole path; any other reference as it stands."""
    for place in (folder, Path()):
        if reference and (found := place / Path(reference).expanduser()).is_dir():
            return str(found.absolute())
    return reference
