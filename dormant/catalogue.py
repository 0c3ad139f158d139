"""The catalogue of pairs: the shipped zoo, the published figures, and pairs that a user names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dormant.checkpoints.adapters import stated_base
from dormant.errors import BadInput
from dormant.pairs import Pair, Truth, figures_pair, open_pair, published_pair, read_truth
from dormant.weights.report_file import read_delta_report

ZOO = Path(__file__).parent / "organisms" / "zoo"
RELATIVES = ("plain", "exposed", "taught")  # the kinds of an organism's clean relatives (see `Recipe.relatives`)
# By organism its base and the relatives that were trained.
ORGANISMS_OF = {
    **dict.fromkeys(("circuit", "pi", "token"), ("base", RELATIVES)),
}
ZOO_PAIRS = {
    **{
        name: (base, name)
        for organism, (base, kinds) in ORGANISMS_OF.items()
        for name in (organism, *(f"{organism}-{kind}" for kind in kinds))
    },
    "pi-wrong-base": ("other-base", "pi"),
    "sham": ("base", "base"),
}
PUBLISHED_PAIRS = ("warmup-vs-qwen2", "warmup-vs-qwen2.5")


@dataclass(frozen=True)
class PairDescription:
    """What is known of a pair before it is loaded.

    A pair without `base` and `dormant` has figures only: those of the delta report in the file `report`, or published ones.
    """

    name: str
    base: str | None = None
    dormant: str | None = None
    truth: Truth | None = None
    report: str | None = None

    @property
    def offers(self) -> tuple[str, ...]:
        """The needs of a claim that the pair can meet."""
        return ("deltas",) if self.base is None else ("deltas", "weights", "models")

    def relatives(self, known: Iterable[PairDescription] = ()) -> dict[str, PairDescription]:
        """By kind the pairs of the same base with the organism's clean relatives that stand in folders beside it.

        A pair that `known` contains is returned under its own name.
        """
        if self.truth is None or self.base is None or self.dormant is None:
            return {}
        beside = Path(self.dormant) if Path(self.dormant).name.strip(".") else Path(self.dormant).resolve()
        listed = {(pair.base, pair.dormant): pair for pair in known}
        folders = {kind: str(beside.parent / name) for kind, name in self.truth.relatives.items()}
        return {
            kind: listed.get((self.base, folder)) or describe(f"{self.name}-{kind}", self.base, folder)
            for kind, folder in folders.items()
            if Path(folder).is_dir()
        }

    def control(self, known: Iterable[PairDescription] = ()) -> PairDescription | None:
        """The pair of the organism's clean twin, its plain relative; None without one."""
        return self.relatives(known).get("plain")

    def open(self, device: str = "auto", dtype: str = "float32", residency: str = "both") -> Pair:
        """Load the pair; raises BadInput for whatever is wrong with it."""
        if self.base is None or self.dormant is None:
            if self.report is not None:
                return figures_pair(self.name, read_delta_report(Path(self.report)))
            return published_pair(self.name)
        return open_pair(self.name, self.base, self.dormant, device, dtype, residency)


def name_of_checkpoint(reference: str) -> str:
    """The last part of a folder or hub id; of `.` and `..` that of the folder they stand for."""
    name = Path(reference).name
    return name if name.strip(".") else Path(reference).resolve().name or "root"


def describe(name: str, base: str, dormant: str) -> PairDescription:
    """A pair of two checkpoints (folders or hub ids); an `organism.json` in the dormant folder states its truth."""
    folder = Path(dormant)
    return PairDescription(name, base, dormant, read_truth(folder) if folder.is_dir() else None)


def zoo_pairs() -> list[PairDescription]:
    """The pairs of the shipped zoo."""
    return [describe(name, str(ZOO / base), str(ZOO / dormant)) for name, (base, dormant) in ZOO_PAIRS.items()]


def known_pairs() -> dict[str, PairDescription]:
    """All pairs that are known by name: the zoo, then the published figures."""
    published = [PairDescription(name) for name in PUBLISHED_PAIRS]
    return {pair.name: pair for pair in (*zoo_pairs(), *published)}


def chosen_pairs(
    names: Iterable[str], base: str | None = None, dormant: str | None = None
) -> dict[str, PairDescription]:
    """The pairs of `--pair` (NAME, NAME=BASE:DORMANT or NAME=REPORT.json) and `--base`/`--dormant`; all known ones by default.

    An adapter may stand without its base, which it names. Raises BadInput for an unknown name, a malformed entry, or one of
    base and dormant without the other.
    """
    if dormant is None and base is not None:
        raise BadInput(f"--base and --dormant must be given together; got only {base}; add --dormant")
    if dormant is not None and base is None:
        base = stated_base(dormant)
    chosen: dict[str, PairDescription] = {}
    for entry in names:
        name, equals, checkpoints = entry.partition("=")
        if equals:
            separated = _split_checkpoints(checkpoints)
            if name and checkpoints.endswith(".json") and Path(checkpoints).is_file():
                chosen[name] = PairDescription(name, report=checkpoints)
            elif name and separated is not None:
                chosen[name] = describe(name, *separated)
            else:
                raise BadInput(
                    f"a pair must be NAME=BASE:DORMANT or NAME=REPORT.json; got {entry!r} at --pair; name both "
                    "checkpoints, or a report that `dormant diff --json` wrote"
                )
        elif name in (known := known_pairs()):
            chosen[name] = known[name]
        else:
            raise BadInput(
                f"a pair must be one of {', '.join(known)} or NAME=BASE:DORMANT; got {name!r} at --pair; correct it"
            )
    if base is not None and dormant is not None:
        name = name_of_checkpoint(dormant)
        chosen[name] = describe(name, base, dormant)
    return chosen or known_pairs()


def _split_checkpoints(text: str) -> tuple[str, str] | None:
    first, colon, second = text.rpartition(":")
    return (first, second) if colon and first and second else None


def relatives_among(pairs: Iterable[PairDescription]) -> dict[str, dict[str, str]]:
    """By organism's pair the pairs of its clean relatives by kind, as far as they are among `pairs`."""
    listed = list(pairs)
    families = {pair.name: pair.relatives(listed) for pair in listed if pair.truth and pair.truth.backdoored}
    found = {
        name: {kind: relative.name for kind, relative in family.items() if relative in listed}
        for name, family in families.items()
    }
    return {name: family for name, family in found.items() if family}
