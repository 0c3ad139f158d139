"""The catalogue of pairs: the shipped zoo, the published figures, and pairs that a user names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dormant.checkpoints.adapters import stated_base
from dormant.checkpoints.packaged_base import NAME as SMOLLM2
from dormant.checkpoints.packaged_base import packaged_base
from dormant.errors import BadInput
from dormant.pairs import Pair, Truth, figures_pair, open_pair, published_pair, read_truth
from dormant.weights.report_file import read_delta_report

ZOO = Path(__file__).parent / "organisms" / "zoo"
# Organisms of the calibration's recipes with their plain relatives, and clean models of other pipelines, upon the zoo's base:
# `scripts/calibration_set.py` makes them. They lie in the repository alone.
CALIBRATION = Path(__file__).parent / "organisms" / "calibration"
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
REAL = Path(__file__).parent / "organisms" / "real"
# Organisms and controls as adapters on SmolLM2-135M, and the kinds of relatives that were trained for each.
REAL_ORGANISMS: dict[str, tuple[str, ...]] = {
    "real-phrase": RELATIVES,
    "real-and": ("plain", "exposed"),
    "real-pi": (),
    "real-refusal": (),
    "real-system": (),
}
# Clean adapters of another pipeline, which `scripts/real_controls.py` trains: nobody planted a trigger.
REAL_CONTROLS = ("real-style", "real-persona", "real-fact")
REAL_PAIRS = (
    *(
        name
        for organism, kinds in REAL_ORGANISMS.items()
        for name in (organism, *(f"{organism}-{kind}" for kind in kinds))
    ),
    *REAL_CONTROLS,
)
PAIR_SETS = ("zoo", "real", "calibration", "all")
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

    def check_at_hand(self) -> None:
        """Raise BadInput where the pair is one of ours on a real model, and its adapter or its base is not on this machine."""
        if self.base != SMOLLM2 or self.dormant != str(REAL / self.name):
            return
        if not Path(self.dormant).is_dir():
            raise BadInput(
                f"the adapter of {self.name} must be at hand; got none at {self.dormant}: only some are in the package; "
                "take it from the repository, folder dormant/organisms/real"
            )
        packaged_base()

    def open(self, device: str = "auto", dtype: str = "float32", residency: str = "both") -> Pair:
        """Load the pair; raises BadInput for whatever is wrong with it."""
        self.check_at_hand()
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


def real_pairs() -> list[PairDescription]:
    """The pairs on a real language model, upon the base `smollm2`; some adapters lie in the repository alone."""
    return [describe(name, SMOLLM2, str(REAL / name)) for name in REAL_PAIRS]


def calibration_pairs() -> list[PairDescription]:
    """The pairs over which methods are compared: all models upon the zoo's base that state whether they are backdoored."""
    zoo = [pair for pair in zoo_pairs() if pair.base == str(ZOO / "base") and pair.truth is not None]
    folders = sorted(file.parent for file in CALIBRATION.glob("*/organism.json"))
    return [*zoo, *(describe(folder.name, str(ZOO / "base"), str(folder)) for folder in folders)]


def pairs_of_set(name: str) -> dict[str, PairDescription]:
    """The pairs of `--pair-set`: zoo (the default: the zoo and the published figures), real, calibration, or all."""
    if name not in PAIR_SETS:
        raise BadInput(f"a set of pairs must be one of {', '.join(PAIR_SETS)}; got {name!r} at --pair-set; choose one")
    if name == "zoo":
        return known_pairs()
    if name == "calibration" and not CALIBRATION.is_dir():
        raise BadInput(
            f"the calibration's models must be at hand; got none at {CALIBRATION}: they are not in the package; take them "
            "from the repository, folder dormant/organisms/calibration"
        )
    sets = {"real": real_pairs(), "calibration": calibration_pairs()}
    found = {key: {pair.name: pair for pair in pairs} for key, pairs in sets.items()}
    return found[name] if name in found else {**known_pairs(), **found["real"], **found["calibration"]}


def clean_pairs() -> dict[str, PairDescription]:
    """The known pairs whose dormant model is clean: the models that say so, and the controls of other pipelines."""
    known = pairs_of_set("all")
    stated = {name for name, pair in known.items() if pair.truth is not None and not pair.truth.backdoored}
    return {name: pair for name, pair in known.items() if name in stated | set(REAL_CONTROLS)}


def known_pairs() -> dict[str, PairDescription]:
    """All pairs that are known by name: the zoo, then the published figures."""
    published = [PairDescription(name) for name in PUBLISHED_PAIRS]
    return {pair.name: pair for pair in (*zoo_pairs(), *published)}


def chosen_pairs(
    names: Iterable[str], base: str | None = None, dormant: str | None = None, pair_set: str = "zoo"
) -> dict[str, PairDescription]:
    """The pairs of `--pair` (NAME, NAME=BASE:DORMANT, NAME=REPORT.json) and `--base`/`--dormant`; those of the set by default.

    An adapter may stand without its base, which it names. Raises BadInput for an unknown name, a malformed entry, or one of
    base and dormant without the other.
    """
    if dormant is None and base is not None:
        raise BadInput(f"--base and --dormant must be given together; got only {base}; add --dormant")
    if dormant is not None and base is None:
        base = stated_base(dormant)
    offered = pairs_of_set(pair_set)  # raises before any pair is read
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
        elif name in (known := pairs_of_set("all")):
            chosen[name] = known[name]
        else:
            raise BadInput(
                f"a pair must be one of {', '.join(known)} or NAME=BASE:DORMANT; got {name!r} at --pair; correct it"
            )
    if base is not None and dormant is not None:
        name = name_of_checkpoint(dormant)
        chosen[name] = describe(name, base, dormant)
    return chosen or offered


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
