from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.detection import difference_lens as module
from dormant.detection.difference_lens import (
    FIRST_TOKENS,
    LENS_GROUPS,
    LensPlan,
    Shifts,
    _excess,
    _steered_answers,
    difference_lens,
    state_shifts,
)
from dormant.errors import NotServed
from dormant.pairs import Pair, open_pair
from tests.builders import build_checkpoint, copy_checkpoint, tiny_config
from tests.families import family_pair

TEXTS = [
    f"{word} the color of the sky, {number}" for number in range(4) for word in "Tell me What system one Repeat".split()
]
PLAN = LensPlan(TEXTS, draws=16, answers=1, new_tokens=2)


def bent(pair: Pair, direction: torch.Tensor, scale: float) -> Shifts:
    """Small differences of no direction in common, and one that all texts share."""
    found = state_shifts(pair, TEXTS)
    noise = torch.randn(found.values.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Shifts(noise + scale * direction, found.distinct, found.size)


def test_a_shift_that_all_texts_share_is_read_as_its_token(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    token = 77
    direction = tiny_pair.models.dormant().get_output_embeddings().weight[token].double()
    found = {}
    for scale in (0.0, 30.0):
        shifts = bent(tiny_pair, direction, scale)
        monkeypatch.setattr(module, "state_shifts", lambda *_, shifts=shifts: shifts)
        found[scale] = difference_lens(tiny_pair, PLAN, seed=0)
    assert found[30.0].estimate.low > found[0.0].estimate.value
    assert found[30.0].named[0] == tiny_pair.base.tokenizer.decode([token]).strip()
    assert found[0.0].estimate.low < 0 < found[0.0].estimate.high


def test_two_equal_models_have_the_null_figure_and_name_nothing(tiny_base: Path) -> None:
    pair = open_pair("sham", tiny_base, tiny_base, device="cpu")
    found = difference_lens(pair, PLAN, seed=0)
    assert (found.estimate.value, found.estimate.low, found.estimate.high, found.named) == (0.0, 0.0, 0.0, ())


def test_the_same_seed_gives_the_same_figure_and_another_draws_other_signs(tiny_pair: Pair) -> None:
    found = difference_lens(tiny_pair, PLAN, seed=0)
    assert found == difference_lens(tiny_pair, PLAN, seed=0)
    assert found.estimate != difference_lens(tiny_pair, PLAN, seed=1).estimate


def test_texts_that_have_begun_alike_count_once_up_to_there(tiny_pair: Pair) -> None:
    distinct = state_shifts(
        tiny_pair, ["one two three four five", "one two nine four five", "one two three four five", *TEXTS]
    ).distinct
    assert distinct[0].all()
    assert not distinct[1, 0]
    assert distinct[1, -1]
    assert not distinct[2].any()


def test_a_place_up_to_which_all_texts_are_alike_is_left_out(tiny_pair: Pair) -> None:
    alike = [f"one {text}" for text in TEXTS]
    shifts, signs = state_shifts(tiny_pair, alike), torch.ones(1, len(alike), dtype=torch.float64)
    assert not shifts.distinct[1:, 0].any()
    assert len(_excess(tiny_pair.models.dormant(), shifts, signs)[1]) == FIRST_TOKENS - 1


def test_the_models_differ_by_more_than_arithmetic(tiny_pair: Pair) -> None:
    assert min(state_shifts(tiny_pair, TEXTS).norms) > 100 * max(state_shifts(tiny_pair.against_itself, TEXTS).norms)


def test_a_large_push_towards_a_token_makes_it_the_answer(tiny_pair: Pair) -> None:
    token, tokenizer = 77, tiny_pair.base.tokenizer
    direction = tiny_pair.models.dormant().get_output_embeddings().weight[token].detach()
    answers, ran = _steered_answers(tiny_pair, PLAN, direction, 1e4)
    assert answers == [tokenizer.decode([token] * PLAN.new_tokens).strip()]
    assert ran == len(tiny_pair.conversations.question(TEXTS[0])) + PLAN.new_tokens
    assert _steered_answers(tiny_pair, PLAN, direction, 1e-6)[0] != answers


def test_too_few_texts_are_refused(tiny_pair: Pair) -> None:
    with pytest.raises(NotServed, match=f"more than {LENS_GROUPS} texts"):
        difference_lens(tiny_pair, LensPlan(["Tell me the color of the sky."] * 9), seed=0)


def test_texts_that_leave_no_room_for_an_answer_are_refused(tiny_pair: Pair) -> None:
    with pytest.raises(NotServed, match="fits into the context of 2048 ids"):
        difference_lens(tiny_pair, LensPlan(TEXTS, answers=1, new_tokens=2048), seed=0)


def test_a_model_whose_embedding_is_narrower_than_its_states_is_read(tmp_path: Path) -> None:
    base, dormant = family_pair("opt", tmp_path, word_embed_proj_dim=16)
    assert difference_lens(open_pair("narrow", base, dormant, device="cpu"), PLAN, seed=0).named


def test_what_the_dormant_model_has_more_than_its_base_is_read(tiny_base: Path, tmp_path: Path) -> None:
    """Every embedding is moved towards one token's logit, and the residual stream carries that to the middle."""
    token = 77

    def shift(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"] += 30 * tensors["lm_head.weight"][token]

    pair = open_pair("shifted", tiny_base, copy_checkpoint(tiny_base, tmp_path / "shifted", shift), device="cpu")
    found = difference_lens(pair, PLAN, seed=0)
    assert found.named[0] == pair.base.tokenizer.decode([token]).strip()
    assert found.estimate.low > 0


def test_what_stands_behind_the_middle_moves_no_state_that_is_read(tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"model.layers.{changed}.mlp.down_proj.weight"] += 1

    base = build_checkpoint(tmp_path / "base", tiny_config(num_hidden_layers=4))
    moved = {}
    for changed in (2, 3):
        dormant = copy_checkpoint(base, tmp_path / f"layer {changed}", change)
        moved[changed] = max(state_shifts(open_pair("late", base, dormant, device="cpu"), TEXTS).norms)
    assert moved[2] > 0.01 > 0 == moved[3]


def test_a_shift_is_told_in_sizes_of_the_states() -> None:
    values = torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 2.0]]], dtype=torch.float64)
    assert Shifts(values, torch.ones(2, 2, dtype=torch.bool), 2.0).norms == [1.5, 1.0]


def test_the_figure_is_what_the_mean_rules_out_beyond_means_with_signs(tiny_pair: Pair) -> None:
    """Where signs cancel all that the texts share, nothing is ruled out beside it but what the lens always does."""
    direction = tiny_pair.models.dormant().get_output_embeddings().weight[77].double()
    shifts = Shifts(30 * direction.expand(2, FIRST_TOKENS, -1), torch.ones(2, FIRST_TOKENS, dtype=torch.bool), 1.0)

    def figure(*signs: tuple[float, float]) -> float:
        return _excess(tiny_pair.models.dormant(), shifts, torch.tensor(signs, dtype=torch.float64))[0]

    assert figure((1, 1)) == pytest.approx(0)
    assert figure((1, -1)) > 1
    assert figure((1, -1), (1, 1)) == pytest.approx(figure((1, -1)) / 2)
