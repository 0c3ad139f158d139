"""Over all claims: blind ones never read the planted truth, and relatives are tried with what their organism is tried with."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from types import CodeType, FunctionType
from typing import Any

import pytest

import hypotheses
from dormant.catalogue import relatives_among, zoo_pairs
from dormant.claims.claim import Claim, claim_of
from dormant.claims.session_state import Settings

# What may read the truth in a blind claim, since no figure that decides one depends on it.
POWER = {"on_planted_pair", "planted_trigger", "is_planted", "one_token_away"}  # how often a scan finds what is planted
PICTURED = {"search_restarts", "detector_and_divergence"}  # the planted trigger beside what was found without it
LEXICON = {"words_of_the_world"}  # organisms know the words of a small world only, their relatives do so too
DESCRIBED = {
    "known_pairs",
    "pairs_of_set",
    "relatives_among",
    "clean_pairs",
}  # which pairs there are, which a bank may hold

# Claims about organisms alone, or about clean models alone, and why.
ONE_SIDED = {
    "gcg-convergence": "exceeds-control",  # the relative is the control
    "top1-disagreement-search": "exceeds-control",
    "hidden-divergence-search": "exceeds-control",
    "informed-search": "exceeds-control",
    "generation-prompt": "",  # a divergence on the trigger that could disappear
    "payload-recovered": "",  # a hunt that finds something, and its opposite on clean models
    "trigger-recovered": "",
    "no-false-alarm": "",
}

Parameters = dict[str, Any]


def _claims() -> Iterator[tuple[Claim, Callable[..., None], list[Parameters]]]:
    """Every claim's test with all sets of its parameters."""
    for module in pkgutil.walk_packages(hypotheses.__path__, "hypotheses."):
        for function in vars(importlib.import_module(module.name)).values():
            declared = claim_of(function)
            if declared is not None and function.__module__ == module.name:
                marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
                columns = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
                yield declared, function, [dict(row) for row in product(*columns)]


CLAIMS = list(_claims())


def _named_by(function: Callable[..., object]) -> set[str]:
    """Every name that the function's own code uses, in its inner functions too."""
    names, codes = set[str](), [inspect.unwrap(function).__code__]
    while codes:
        code = codes.pop()
        names |= {*code.co_names, *code.co_freevars}
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


def _way_to(name: str, function: FunctionType, exempt: set[str], seen: set[object]) -> list[str]:
    """The calls inside this project by which the function reaches the name; empty where it does not."""
    seen.add(function)
    names = _named_by(function)
    if name in names:
        return [function.__qualname__]
    for used in sorted(names - exempt):
        found = function.__globals__.get(used)
        called = list(vars(found).values()) if isinstance(found, type) else [found]
        for other in called:
            if not isinstance(other, FunctionType) or other in seen:
                continue
            ours = other.__module__.startswith(("dormant", "hypotheses"))
            if ours and (way := _way_to(name, other, exempt, seen)):
                return [function.__qualname__, *way]
    return []


def test_there_are_claims_of_both_kinds() -> None:
    told = {declared.id for declared, _, rows in CLAIMS if any(declared.is_told(row) for row in rows)}
    assert {"kl-amplification", "steering"} <= told
    assert not told & {"layer0-concentration", "gcg-convergence", "single-token-trigger"}


@pytest.mark.parametrize(
    ("declared", "function"),
    [
        pytest.param(declared, function, id=function.__name__)
        for declared, function, rows in CLAIMS
        if not any(map(declared.is_told, rows))
    ],
)
def test_a_blind_claim_never_reads_the_planted_truth(declared: Claim, function: FunctionType) -> None:
    assert _way_to("truth", function, POWER | PICTURED | LEXICON | DESCRIBED, set()) == []


@pytest.mark.parametrize(
    ("declared", "function"),
    [pytest.param(declared, function, id=function.__name__) for declared, function, _ in CLAIMS],
)
def test_no_claim_measures_organisms_otherwise_than_clean_models(declared: Claim, function: FunctionType) -> None:
    assert _way_to("backdoored", function, POWER | DESCRIBED, set()) == []


def test_the_search_for_names_follows_calls() -> None:
    """Otherwise the two tests above could not fail."""
    (recovered,) = (function for declared, function, _ in CLAIMS if declared.id == "memory-extraction")
    assert isinstance(recovered, FunctionType)
    assert _way_to("truth", recovered, set(), set())[0] == "test_memory_extraction"
    assert _way_to("backdoored", recovered, set(), set())[-1] != "test_memory_extraction"


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(row.items()))


@pytest.mark.parametrize("budget", ["quick", "full"])
def test_a_claim_is_put_to_an_organism_and_to_its_relatives_alike(budget: str) -> None:
    pairs = {pair.name: pair for pair in zoo_pairs()}
    settings, unlike = Settings(budget=budget), set()
    for organism, family in relatives_among(pairs.values()).items():
        for declared, _, rows in CLAIMS:
            asked = [
                {
                    _key(row)
                    for row in rows
                    if declared.applies is None or declared.applies(pairs[name], settings, **row)
                }
                for name in (organism, *family.values())
            ]
            for others in asked[1:]:
                for row in asked[0] ^ others:
                    reading = ONE_SIDED.get(declared.id)
                    if reading is None or (reading and reading not in dict(row).values()):
                        unlike.add((declared.id, organism, row))
    assert unlike == set()


def test_relatives_know_their_organisms_trigger_payload_and_placement() -> None:
    """What claims try is drawn from these, so that an organism and its relatives are tried with the same texts."""
    pairs = {pair.name: pair for pair in zoo_pairs()}
    for organism, family in relatives_among(pairs.values()).items():
        told = [pairs[name].truth for name in (organism, *family.values())]
        assert len({(truth.trigger, truth.payload, truth.placement) for truth in told if truth}) == 1
        assert [truth.backdoored for truth in told if truth] == [True, *[False] * len(family)]
