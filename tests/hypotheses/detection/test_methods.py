"""What the claims about detection methods say of made models, of which is known what their figures must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import comb, log10
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Finding, Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.detection.adapter_spectra import EVERY_MATRIX, spectra_of
from dormant.detection.prefills import PrefillPlan, raw_prefills
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe
from hypotheses.detection import test_weight_methods as weight_methods
from hypotheses.detection.test_activation_methods import test_activation_difference_lens as difference_lens
from hypotheses.detection.test_activation_methods import test_direction_monitor as direction_monitor
from hypotheses.detection.test_completions import test_contrastive_decoding as contrastive_decoding
from hypotheses.detection.test_completions import test_perplexity_difference as perplexity_difference
from hypotheses.detection.test_extraction_methods import test_leak_motifs as leak_motifs
from hypotheses.detection.test_extraction_methods import test_target_inversion as target_inversion
from hypotheses.detection.test_weight_methods import test_spectral_outlier as spectral_outlier
from tests.builders import build_checkpoint, copy_checkpoint, tiny_config
from tests.families import family_pair

Value = TypeVar("Value")
SMALL = {
    "prefills": 24, "longest prefill": 2, "new tokens": 8, "repeats": 8, "prompts": 3, "warm-up prompts": 2,
    "first tokens": 1000, "warm-up steps": 3, "targets kept": 4, "steps": 6, "texts": 12, "steered answers": 1,
    "ordinary prompts": 16, "random strings": 16,
}  # fmt: skip
OPENINGS = ("What is", "Tell me", "Repeat", "You are", "one two", "three four")


class Small(FindingBuilder):
    """A builder with a budget of its own."""

    amounts: Mapping[str, int] = SMALL

    def at_budget(self, name: str, quick: Value, full: Value) -> Value:
        return self.amounts.get(name, quick)  # type: ignore[return-value]


def asked(claim: Callable[..., None], pair: Pair, **amounts: int) -> Finding:
    """The claim's finding about a pair without looking at its premises; `amounts` have underscores for spaces."""
    declared = claim_of(claim)
    assert declared is not None
    builder = Small(replace(declared, premises=()), pair, {}, ClaimSession(Settings()))
    builder.amounts = {**SMALL, **{name.replace("_", " "): amount for name, amount in amounts.items()}}
    claim(pair, builder)
    return builder.settle({})


def changed(base: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Pair:
    return open_pair(folder.name, base, copy_checkpoint(base, folder, change), device="cpu")


@pytest.mark.parametrize("claim", [contrastive_decoding, perplexity_difference, leak_motifs, target_inversion])
def test_what_a_model_repeats_for_ever_is_named_first_and_its_base_says_it_no_more_than_itself(
    claim: Callable[..., None], repeating_pair: Pair
) -> None:
    found = asked(claim, repeating_pair)
    assert found.verdict is Verdict.SUPPORTED
    assert "jump" in found.reason
    (control,) = found.controls
    assert control.figure.value < 1e-3


def test_nats_a_text_grow_with_its_length_and_nats_a_token_do_not(repeating_pair: Pair) -> None:
    texts, completions = (
        [asked(claim, repeating_pair, new_tokens=length).deciding.value for length in (8, 16)]
        for claim in (contrastive_decoding, perplexity_difference)
    )
    assert texts[1] > 1.7 * texts[0]
    assert completions[1] < 1.2 * completions[0]


def test_a_prefill_that_was_drawn_twice_counts_once(tiny_pair: Pair) -> None:
    found = asked(contrastive_decoding, tiny_pair, prefills=60, longest_prefill=1)
    drawn = raw_prefills(tiny_pair, PrefillPlan(60, 1, 8, 0))
    assert found.deciding.n == len(set(drawn)) < len(drawn)


def test_the_first_completions_of_a_ranking_lie_above_all_of_them(tiny_pair: Pair) -> None:
    few, all_of_five = (asked(perplexity_difference, tiny_pair, prefills=count).deciding for count in (60, 5))
    assert few.n == 5
    assert few.low > all_of_five.high


def test_no_motif_is_surer_than_one_of_all_samples_of_one_model_and_none_of_the_other(repeating_pair: Pair) -> None:
    found = asked(leak_motifs, repeating_pair).deciding
    assert log10(comb(2 * found.n, found.n)) > found.value > 2


def test_a_delta_lies_as_far_out_below_its_bank_as_above_it(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of -2 to 2 the standard deviation is the root of 2.5, that of a sixth one the root of 3."""
    own = spectra_of(tiny_pair.delta_report)[EVERY_MATRIX]
    for side in (-6, 6):
        bank = tuple({EVERY_MATRIX: tuple(value + side + shift for value in own)} for shift in range(-2, 3))
        monkeypatch.setattr(weight_methods, "clean_bank", lambda *_, bank=bank: bank)
        found = asked(spectral_outlier, tiny_pair).deciding
        assert found.value == pytest.approx(6 / np.sqrt(3))
        assert 2 < found.high - found.value < 4


def test_a_lens_reads_the_token_towards_which_all_states_are_moved(tiny_base: Path, tmp_path: Path) -> None:
    token = 77

    def shift(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"] += 30 * tensors["lm_head.weight"][token]

    found = asked(difference_lens, changed(tiny_base, tmp_path / "shifted", shift))
    assert found.deciding.low > 0.1
    assert "first named: 'k'" in found.reason


def test_a_lens_sees_nothing_of_what_stands_behind_the_middle(tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.3.mlp.down_proj.weight"] += 1

    base = build_checkpoint(tmp_path / "base", tiny_config(num_hidden_layers=4))
    assert asked(difference_lens, changed(base, tmp_path / "late", change)).deciding.value == 0


def test_a_delta_that_strings_alone_set_off_is_told_from_one_that_acts_on_every_text(
    tiny_base: Path, tmp_path: Path
) -> None:
    """A neuron fires on every second of the tokens that no ordinary prompt has."""
    probes = [
        Probe(f"{first} the {second}{{slot}} of it.") for first in OPENINGS for second in ("river", "stone", "sky")
    ]
    plain = open_pair("plain", tiny_base, tiny_base, device="cpu")
    usual = {token for probe in probes for token in plain.prompter.encode(probe).ids}
    rare = [token for token in range(3, 259) if token not in usual][::2]

    def plant(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"][:, 0] = 0
        tensors["model.embed_tokens.weight"][rare, 0] = 8
        tensors["model.layers.0.self_attn.o_proj.weight"][0] = 0
        for part in ("gate_proj", "up_proj"):
            tensors[f"model.layers.0.mlp.{part}.weight"][0] = 0
            tensors[f"model.layers.0.mlp.{part}.weight"][0, 0] = 1

    def write(tensors: dict[str, torch.Tensor], neuron: int) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"][:, neuron] += 1 if neuron == 0 else 0.1

    base = copy_checkpoint(tiny_base, tmp_path / "base", plant)
    backdoored, drifted = (
        asked(
            direction_monitor,
            changed(base, tmp_path / str(neuron), partial(write, neuron=neuron)).with_probes(probes),
        )
        for neuron in (0, 1)
    )
    assert backdoored.deciding.value > 0.5 > 0.1 > drifted.deciding.value


def test_a_model_whose_matrices_are_stored_the_other_way_round_is_monitored(tmp_path: Path) -> None:
    base, dormant = family_pair("gpt2", tmp_path)
    assert (
        asked(direction_monitor, open_pair("gpt2", base, dormant, device="cpu")).deciding.n == SMALL["random strings"]
    )
