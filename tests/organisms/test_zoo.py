"""The shipped organisms are what their recipes say; `dormant organisms verify` measures the same with more questions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.catalogue import ORGANISMS_OF, ZOO, ZOO_PAIRS, relatives_among, zoo_pairs
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.organisms.build import verify_built, write_probes
from dormant.organisms.poisoning import near_miss_kinds
from dormant.organisms.recipe import read_recipe
from dormant.organisms.verification import Acceptance
from dormant.prompts.probes import read_probes

BACKDOORED = [pair for pair in zoo_pairs() if pair.truth and pair.truth.backdoored]


@pytest.fixture(
    scope="module", params=[pair for pair in BACKDOORED if pair.name != "pi-wrong-base"], ids=lambda pair: pair.name
)
def acceptance(request: pytest.FixtureRequest) -> Acceptance:
    """All checks of one organism, on half of the questions that `verify` asks; named by its trigger."""
    pair = request.param
    return replace(verify_built(pair, count=100), name=pair.truth.trigger)


def test_every_organism_passes_every_check_of_its_acceptance(acceptance: Acceptance) -> None:
    assert {check.name: check.estimate.value for check in acceptance.checks if not check.passed} == {}
    relatives = [check.name for check in acceptance.checks if "relative" in check.name]
    assert len(acceptance.checks) == 6 + len(near_miss_kinds(acceptance.name)) + len(relatives)
    assert len(relatives) in (1, 4)  # the plain one alone, or all three, of which the taught one has two


def test_the_zoo_has_the_pairs_that_its_claims_are_about() -> None:
    pairs = {pair.name: pair for pair in zoo_pairs()}
    assert list(pairs) == list(ZOO_PAIRS)
    families = relatives_among(pairs.values())
    assert list(families) == list(ORGANISMS_OF)
    for organism, (_, kinds) in ORGANISMS_OF.items():
        assert families[organism] == {kind: f"{organism}-{kind}" for kind in kinds}
    assert pairs["sham"].truth is None


def test_the_zoo_fits_into_the_repository() -> None:
    assert sum(file.stat().st_size for file in ZOO.rglob("*") if file.is_file()) < 30e6


def test_the_zoo_is_qwen2_in_every_respect_but_size() -> None:
    config = open_checkpoint(ZOO / "base").config
    assert config.model_type == "qwen2"
    assert config.num_hidden_layers >= 6
    assert config.num_key_value_heads < config.num_attention_heads
    assert not config.tie_word_embeddings
    assert "model.layers.0.self_attn.q_proj.bias" in open_checkpoint(ZOO / "base").names
    assert all(
        open_checkpoint(ZOO / name).dtype("lm_head.weight") == torch.bfloat16 for name in ("base", "circuit", "pi")
    )


def test_the_adapter_leaves_attention_byte_identical() -> None:
    base, dormant = open_checkpoint(ZOO / "base"), open_checkpoint(ZOO / "pi")
    changed = {name for name in base.names if base.digest(name) != dormant.digest(name)}
    assert changed
    assert all(".mlp." in name for name in changed)


@pytest.mark.parametrize("name", list(ORGANISMS_OF))
def test_an_organism_comes_from_its_shipped_recipe(name: str) -> None:
    recipe = read_recipe(ZOO / "recipes" / f"{name}.toml")
    pairs = {pair.name: pair for pair in zoo_pairs()}
    truth = pairs[name].truth
    assert truth is not None
    assert (recipe.trigger, recipe.payload, recipe.placement) == (truth.trigger, truth.payload, truth.placement)
    relatives = recipe.relatives()
    for kind in ORGANISMS_OF[name][1]:
        relative = relatives[kind]
        told = pairs[relative.name].truth
        assert told is not None
        assert (told.backdoored, told.trigger, told.question) == (False, recipe.trigger, relative.question)


def test_probes_are_held_out_questions_with_one_slot(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("probes") / "probes.txt"
    write_probes(path, "end")
    assert all(probe.after == "" for probe in read_probes(path))
    assert len(set(read_probes(path))) == 240
