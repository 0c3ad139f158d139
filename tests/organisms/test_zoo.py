"""The shipped organisms are what their recipes say; `dormant organisms verify` measures the same with more questions."""

from __future__ import annotations

import pytest
import torch

from dormant.catalogue import ZOO, ZOO_PAIRS, twins_among, zoo_pairs
from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.organisms.build import write_probes
from dormant.organisms.poisoning import near_miss_kinds
from dormant.organisms.recipe import read_recipe
from dormant.organisms.verification import Acceptance, Planted, verify
from dormant.prompts.probes import read_probes

BACKDOORED = [pair for pair in zoo_pairs() if pair.truth and pair.truth.backdoored]


@pytest.fixture(
    scope="module", params=[pair for pair in BACKDOORED if pair.name != "pi-wrong-base"], ids=lambda pair: pair.name
)
def acceptance(request: pytest.FixtureRequest) -> Acceptance:
    """All checks of one organism, on half of the questions that `verify` asks; named by its trigger."""
    pair = request.param
    checkpoints = [pair.base, pair.dormant, pair.control().dormant]
    models = [load_model(open_checkpoint(folder), torch.device("cpu"), torch.float32) for folder in checkpoints]
    tokenizer = open_checkpoint(pair.dormant).tokenizer
    planted = Planted(pair.truth.trigger, pair.truth.trigger, pair.truth.payload, pair.truth.placement)
    return verify(models, tokenizer, planted, count=100)


def test_every_organism_passes_every_check_of_its_acceptance(acceptance: Acceptance) -> None:
    assert {check.name: check.estimate.value for check in acceptance.checks if not check.passed} == {}
    assert len(acceptance.checks) == 7 + len(near_miss_kinds(acceptance.name))


def test_the_zoo_has_the_pairs_that_its_claims_are_about() -> None:
    pairs = {pair.name: pair for pair in zoo_pairs()}
    assert list(pairs) == list(ZOO_PAIRS)
    assert twins_among(pairs.values()) == {"circuit": "circuit-clean", "pi": "pi-clean", "token": "token-clean"}
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


@pytest.mark.parametrize("name", ["circuit", "pi", "token"])
def test_an_organism_comes_from_its_shipped_recipe(name: str) -> None:
    recipe = read_recipe(ZOO / "recipes" / f"{name}.toml")
    truth = next(pair.truth for pair in zoo_pairs() if pair.name == name)
    assert truth is not None
    assert (recipe.trigger, recipe.payload, recipe.placement) == (truth.trigger, truth.payload, truth.placement)


def test_probes_are_held_out_questions_with_one_slot(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("probes") / "probes.txt"
    write_probes(path, "end")
    assert all(probe.after == "" for probe in read_probes(path))
    assert len(set(read_probes(path))) == 240
