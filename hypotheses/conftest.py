"""Which claims one worker runs together, and in which order: those of one computation, the longest computation first."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from pathlib import Path

import pytest

from dormant.catalogue import PairDescription, known_pairs
from dormant.claims.claim import claim_of
from dormant.claims.premises import PREMISES
from dormant.gpus import visible_gpus
from dormant.plugin import SESSION

# The longest computations, by the tokens that models read for them. What is short comes last, so that no worker is left
# alone at the end. Files behind one name share what they compute; any other file shares with its folder.
LONGEST = {
    "gcg": ("search/test_gcg.py",),
    "probes": ("activations/test_probes.py",),
    "searches": ("search/test_objectives.py", "search/test_validation.py"),
    "behaviour": (),
}


# Claims that take a core ten seconds a pair and more. The quick budget puts them to an organism and its plain relative, and to
# the exposed and the taught one only where `--pair` names these. `--budget full` asks all; the grid says what is not compared.
COSTLY = frozenset(
    "gcg-convergence steering single-token-trigger phrase-scan memory-extraction top1-disagreement-search "
    "hidden-divergence-search informed-search soft-to-hard-gap detector-output-correlation probe-climb".split()
)

# Organisms of which the quick budget asks the claims that they are in the zoo for, and the premises; `--pair` and the full
# budget ask all. `ordinary`: its payload begins as any answer does, which claims that read the answer see and others do not.
ASKED_ALONE = {
    "ordinary": frozenset((*PREMISES, *"kl-amplification generation-prompt layer-divergence causal-layer".split()))
}


# Published methods are compared over many models: the quick budget asks them in the sets that hold these, and of a user's own
# pair, not of each pair of the zoo once more.
COMPARED = "detection"


def organisms_of(pairs: Iterable[PairDescription]) -> dict[str, str]:
    """By pair the first pair of its organism: an organism and its relatives read each other's computations."""
    listed = list(pairs)
    organism = {relative.dormant: pair.dormant for pair in listed for relative in pair.relatives(listed).values()}
    subject = {pair.name: organism.get(pair.dormant, pair.dormant) or pair.name for pair in listed}
    first = {checkpoint: name for name, checkpoint in reversed(subject.items())}
    return {name: first[checkpoint] for name, checkpoint in subject.items()}


def computation(path: Path) -> tuple[int, str]:
    """The rank and the name of a claim file's computation."""
    name = f"{path.parent.name}/{path.name}"
    ranked = ((rank, longest) for rank, (longest, files) in enumerate(LONGEST.items()) if name in files)
    folder = path.parent.name
    return next(ranked, (list(LONGEST).index(folder) if folder in LONGEST else len(LONGEST), folder))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Gives each claim its group for `--dist loadgroup`, and sorts the groups after all other hooks have run."""
    chosen = config.stash[SESSION].pairs
    organisms = organisms_of({**chosen, **known_pairs()}.values())
    order = [*dict.fromkeys([*chosen, *organisms]), ""]

    def place(item: pytest.Item) -> tuple[int, str, int, int]:
        # a group's claims stand together, and in it those of a pair, so that a pair is opened once
        name = _pair_of(item)
        return (
            *computation(item.path),
            order.index(organisms.get(name, "")),
            order.index(name if name in order else ""),
        )

    def claims() -> list[pytest.Item]:
        return [item for item in items if claim_of(getattr(item, "function", None)) is not None]

    if config.option.budget == "quick":
        zoo = {name for name, pair in known_pairs().items() if chosen.get(name) == pair}
        named, of_zoo = bool(config.option.pair), config.option.pair_set == "zoo"
        left_out = [
            item for item in claims() if (_is_left_out(item) and not named) or (of_zoo and _is_compared(item, zoo))
        ]
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)

    if config.pluginmanager.hasplugin("xdist"):
        # A pair's models are loaded once: on one GPU, and, where they are not the zoo's small ones, in one process.
        on_gpus = config.option.device != "cpu" and bool(visible_gpus())
        small = {pair.dormant for pair in known_pairs().values()}
        for item in claims():
            _, work, subject, _ = place(item)
            name = order[subject]
            whole = on_gpus or (name in chosen and chosen[name].dormant not in small)
            item.add_marker(pytest.mark.xdist_group(name if whole else f"{work} {name}"))
    yield
    listed = sorted(claims(), key=place)
    among = set(listed)
    items[:] = [*listed, *(item for item in items if item not in among)]


def _is_left_out(item: pytest.Item) -> bool:
    declared, pair = claim_of(getattr(item, "function", None)), _pair_of(item)
    asked = ASKED_ALONE.get(pair.partition("-")[0])
    return declared is not None and (
        (declared.id in COSTLY and pair.endswith(("-exposed", "-taught")))
        or (asked is not None and declared.id not in asked)
    )


def _is_compared(item: pytest.Item, zoo: Collection[str]) -> bool:
    """Whether the claim is about a published method, and its pair one of the zoo."""
    declared = claim_of(getattr(item, "function", None))
    return declared is not None and declared.family == COMPARED and _pair_of(item) in zoo


def _pair_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("pair", "")) if callspec is not None else ""
