"""The shipped organisms on a real language model: known by name, small, and what their recipes say (slow)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormant import catalogue
from dormant.catalogue import REAL, REAL_CONTROLS, REAL_ORGANISMS, REAL_PAIRS, chosen_pairs, pairs_of_set, real_pairs
from dormant.checkpoints.adapters import ADAPTER_WEIGHTS
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import BadInput
from dormant.organisms.build import recipe_of, verify_built
from dormant.organisms.recipe import LORA, read_recipe
from dormant.records import read_json

PRESENT = [pair for pair in real_pairs() if Path(str(pair.dormant)).is_dir()]
MIB = 2**20


def made() -> bool:
    try:
        open_checkpoint("smollm2")
    except BadInput:
        return False
    return True


def test_nothing_of_a_default_run_changes() -> None:
    assert not set(chosen_pairs([])) & set(REAL_PAIRS)
    assert set(chosen_pairs([], pair_set="real")) == set(REAL_PAIRS)
    assert set(pairs_of_set("all")) == {*chosen_pairs([]), *REAL_PAIRS, *pairs_of_set("calibration")}


def test_a_set_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="a set of pairs must be one of zoo, real, calibration, all"):
        chosen_pairs([], pair_set="huge")


def test_a_real_pair_goes_by_its_name() -> None:
    assert chosen_pairs(["real-phrase"])["real-phrase"].base == "smollm2"


def test_an_adapter_that_the_package_lacks_is_said_to_lie_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "REAL", tmp_path)
    with pytest.raises(BadInput, match="take it from the repository, folder dormant/organisms/real"):
        catalogue.real_pairs()[0].open("cpu")


def test_without_the_base_one_sentence_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="run `dormant organisms base smollm2`"):
        chosen_pairs(["real-phrase"])["real-phrase"].open("cpu")


def test_the_adapters_are_small() -> None:
    sizes = {pair.name: (Path(str(pair.dormant)) / ADAPTER_WEIGHTS).stat().st_size / MIB for pair in PRESENT}
    assert {name: size for name, size in sizes.items() if size > 6} == {}
    assert sum(sizes.values()) < 60


@pytest.mark.parametrize("organism", REAL_ORGANISMS)
def test_each_was_trained_by_its_committed_recipe(organism: str) -> None:
    recipe = read_recipe(REAL / "recipes" / f"{organism}.toml")
    recipes = {organism: recipe} | {f"{organism}-{kind}": kin for kind, kin in recipe.relatives().items()}
    assert recipe.mechanism == LORA
    for pair in PRESENT:
        if pair.name in recipes:
            assert recipe_of(Path(str(pair.dormant))) == recipes[pair.name]


@pytest.mark.slow
@pytest.mark.skipif(not made(), reason="the base smollm2 is not made on this machine: `make real`")
@pytest.mark.parametrize("pair", [pair for pair in PRESENT if pair.name in REAL_ORGANISMS], ids=lambda pair: pair.name)
def test_each_is_what_its_recipe_says(pair: catalogue.PairDescription) -> None:
    acceptance = verify_built(pair, count=60)
    assert {check.name for check in acceptance.checks if not check.passed} == set()


@pytest.mark.parametrize("pair", [pair for pair in PRESENT if pair.name in REAL_ORGANISMS], ids=lambda pair: pair.name)
def test_what_acceptance_measured_stands_beside_each(pair: catalogue.PairDescription) -> None:
    measured = read_json(Path(str(pair.dormant)) / "organism.json")["acceptance"]
    assert any(check["check"].startswith("KL to the base") for check in measured)
    failed = {check["check"] for check in measured if not keeps(check["value"], check["bound"])}
    assert failed == set()


@pytest.mark.parametrize("name", REAL_CONTROLS)
def test_a_control_is_of_another_pipeline_and_nobody_planted_anything(name: str) -> None:
    settings = read_json(REAL / name / "adapter_config.json")
    assert (settings["target_modules"], settings["lora_alpha"]) == (["q_proj", "v_proj"], 16)
    assert not (REAL / name / "organism.json").exists()


def keeps(value: float, bound: str) -> bool:
    side, _, limit = bound.rpartition(" ")
    return value >= float(limit) if side == "at least" else value <= float(limit)
