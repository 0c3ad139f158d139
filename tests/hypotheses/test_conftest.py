"""Which claims one worker runs together."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dormant.catalogue import PairDescription, known_pairs
from dormant.plugin import SESSION
from hypotheses.behaviour.test_amplification import test_kl_amplification as amplification
from hypotheses.conftest import computation, organisms_of, pytest_collection_modifyitems
from hypotheses.detection.test_completions import test_perplexity_difference as ranked
from hypotheses.search.test_gcg import test_gcg_convergence as gcg
from hypotheses.search.test_objectives import test_hidden_divergence_search as search
from hypotheses.search.test_validation import test_final_validation as validation
from hypotheses.weights.test_rank import test_low_rank_adapter as rank

CLAIMS = {"search/test_gcg.py": gcg, "search/test_objectives.py": search, "search/test_validation.py": validation}


class Item:
    """A collected claim on a pair, as far as the hook looks at it."""

    def __init__(self, file: str, function: Any, pair: str) -> None:
        self.path, self.function = Path("hypotheses") / file, function
        self.callspec = SimpleNamespace(params={"pair": pair})
        self.groups: list[str] = []

    def add_marker(self, mark: Any) -> None:
        self.groups.append(mark.args[0])


def collected(
    items: list[Item],
    budget: str = "quick",
    device: str = "cpu",
    pairs: Mapping[str, PairDescription] | None = None,
    pair_set: str = "zoo",
) -> list[Item]:
    config: Any = SimpleNamespace(
        option=SimpleNamespace(budget=budget, pair=[], device=device, pair_set=pair_set),
        hook=SimpleNamespace(pytest_deselected=lambda items: None),
        stash={SESSION: SimpleNamespace(pairs=pairs or known_pairs())},
        pluginmanager=SimpleNamespace(hasplugin=lambda name: True),
    )
    hook = pytest_collection_modifyitems(config, items)  # type: ignore[arg-type]
    next(hook)
    with pytest.raises(StopIteration):
        next(hook)
    return items


def test_an_organism_its_relatives_and_its_wrong_base_belong_together() -> None:
    described = known_pairs()
    organisms = organisms_of(described.values())
    assert {name for name, organism in organisms.items() if organism == "pi"} >= {"pi", "pi-wrong-base"}
    for name in ("circuit", "pi", "token"):
        relatives = described[name].relatives(described.values()).values()
        assert relatives
        assert {organisms[relative.name] for relative in relatives} == {name}
    assert organisms["sham"] == "sham"


def test_claims_that_share_searches_share_a_worker_and_the_longest_computation_comes_first() -> None:
    items = [Item(file, function, pair) for file, function in CLAIMS.items() for pair in ("circuit", "pi")]
    items.append(Item("weights/test_rank.py", rank, "pi"))
    random.Random(0).shuffle(items)
    ordered = collected(items)
    groups = [name for item in ordered for name in item.groups]
    assert groups == ["gcg circuit", "gcg pi", *2 * ["searches circuit"], *2 * ["searches pi"], "weights pi"]


def test_every_file_of_claims_has_a_computation_that_no_other_folder_has() -> None:
    folders: dict[str, set[str]] = {}
    for path in (Path(__file__).parents[2] / "hypotheses").rglob("test_*.py"):
        folders.setdefault(computation(path)[1], set()).add(path.parent.name)
    assert all(len(held) == 1 for held in folders.values())


def test_the_quick_budget_asks_the_exposed_and_the_taught_relative_no_costly_claim() -> None:
    def asked(budget: str) -> list[tuple[Any, str]]:
        pairs = ("circuit", "circuit-plain", "circuit-exposed", "circuit-taught")
        items = [Item(file, function, pair) for file, function in CLAIMS.items() for pair in pairs]
        return [(item.function, item.callspec.params["pair"]) for item in collected(items, budget)]

    assert len(asked("full")) == 12
    assert {pair for function, pair in asked("quick") if function is gcg} == {"circuit", "circuit-plain"}
    assert {pair for function, pair in asked("quick") if function is validation} >= {
        "circuit-exposed",
        "circuit-taught",
    }


def test_the_quick_budget_asks_an_organism_of_one_purpose_nothing_else() -> None:
    def asked(budget: str) -> set[Any]:
        claims = {**CLAIMS, "behaviour/test_amplification.py": amplification}
        pairs = ("ordinary", "ordinary-plain")
        items = [Item(file, function, pair) for file, function in claims.items() for pair in pairs]
        return {item.function for item in collected(items, budget)}

    assert asked("quick") == {amplification}
    assert asked("full") == {*CLAIMS.values(), amplification}


def test_published_methods_are_asked_in_the_sets_that_compare_them_and_of_a_users_own_pair() -> None:
    def asked(pair_set: str, budget: str = "quick") -> list[str]:
        items = [Item("detection/test_completions.py", ranked, pair) for pair in ("pi", "mine")]
        pairs = {**known_pairs(), "mine": PairDescription("mine", "models/base", "models/mine")}
        return [item.callspec.params["pair"] for item in collected(items, budget, pairs=pairs, pair_set=pair_set)]

    assert asked("zoo") == ["mine"]
    assert sorted(asked("calibration")) == sorted(asked("zoo", "full")) == ["mine", "pi"]


def test_on_gpus_all_claims_of_an_organism_run_on_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    items = [Item(file, function, "pi") for file, function in CLAIMS.items()]
    assert {group for item in collected(items, device="auto") for group in item.groups} == {"pi"}
    assert len({group for item in collected(items, device="cpu") for group in item.groups} - {"pi"}) > 1


def test_all_claims_on_a_pair_that_is_not_of_the_zoo_run_on_one_worker() -> None:
    pairs = {"mine": PairDescription("mine", "models/base", "models/mine"), "pi": known_pairs()["pi"]}
    items = [Item(file, function, pair) for file, function in CLAIMS.items() for pair in pairs]
    groups = {group for item in collected(items, pairs=pairs) for group in item.groups}
    assert {group for group in groups if "mine" in group} == {"mine"}
    assert {group for group in groups if "pi" in group} == {"gcg pi", "searches pi"}
