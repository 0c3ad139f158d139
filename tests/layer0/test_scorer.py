"""Layer-0 scores: what they measure, and what order may and may not change."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import BadInput
from dormant.inference.divergence import kl_divergence
from dormant.layer0 import (
    Layer0Pair,
    attention_logits,
    bias_template,
    delta_logits,
    read_layer0_pair,
    score,
)
from dormant.layer0 import scorer as scorer_module
from dormant.layer0.scorer import Variant
from tests.layer0.families import FAMILIES, ROPES, build, layer0_pair, transformers_logits

METRICS = pytest.mark.parametrize("metric", ["max-head", "band", "row-kl"])


@pytest.fixture(scope="module")
def pair(tiny_base: Path, tiny_dormant: Path) -> Layer0Pair:
    return read_layer0_pair(open_checkpoint(tiny_base), open_checkpoint(tiny_dormant))


@pytest.fixture(scope="module")
def sham(pair: Layer0Pair) -> Layer0Pair:
    return Layer0Pair(pair.base, pair.base)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.integers(0, 303), min_size=1, max_size=5))
def test_without_rope_and_mask_order_changes_no_bit(sequence: list[int], pair: Layer0Pair) -> None:
    orders = torch.tensor(list(itertools.permutations(sequence)))
    together = score(pair, orders, variant=Variant(rope=False, causal=False))
    alone = torch.cat([score(pair, order[None], variant=Variant(rope=False, causal=False)) for order in orders[:6]])
    assert together.unique().numel() == 1
    assert torch.equal(alone, together[:6])


def test_rope_and_the_mask_each_tell_orders_apart(pair: Layer0Pair) -> None:
    orders = torch.tensor(list(itertools.permutations([10, 50, 90, 130])))
    assert score(pair, orders, variant=Variant(causal=False)).unique().numel() > 1
    assert score(pair, orders, variant=Variant(rope=False)).unique().numel() > 1


def _by_hand(pair: Layer0Pair, ids: Tensor, metric: str) -> Tensor:
    """The metrics as sentences, one place at a time."""
    delta = delta_logits(pair, ids)
    places = [(i, j) for i in range(ids.shape[1]) for j in range(i + 1) if metric != "band" or 1 <= i - j <= 4]
    return torch.stack([delta[:, :, i, j].abs().amax(1) for i, j in places]).amax(0)


@pytest.mark.parametrize("metric", ["max-head", "band"])
def test_a_score_is_the_largest_delta_over_its_places(metric: str, pair: Layer0Pair) -> None:
    ids = torch.randint(0, 304, (7, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(score(pair, ids, metric), _by_hand(pair, ids, metric))


def test_a_score_is_read_off_transformers_own_logits() -> None:
    models = [build("qwen2", "default", key_heads=2, group=2, head_dim=8, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        for model in models:  # so small that the norm's epsilon counts, as those of rare tokens are
            cast(Tensor, model.get_input_embeddings().weight).mul_(1e-3)
    ids = torch.randint(0, 64, (5, 6), generator=torch.Generator().manual_seed(2))
    base, dormant = (transformers_logits(model, ids) for model in models)
    expected = (dormant - base).abs().tril().amax((1, 2, 3))
    torch.testing.assert_close(score(layer0_pair(*models), ids), expected, atol=1e-3, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(list(FAMILIES)), st.sampled_from(list(ROPES)), st.integers(1, 3), st.integers(1, 3),
    st.sampled_from([4, 16]), st.integers(1, 9), st.integers(0, 2**30),
)  # fmt: skip
def test_scores_of_every_family_and_rotation_are_read_off_transformers_own_logits(
    family: str, rope: str, key_heads: int, group: int, head_dim: int, length: int, seed: int
) -> None:
    models = [build(family, rope, key_heads, group, head_dim, seed + other) for other in (0, 1)]
    ids = torch.randint(0, 64, (3, length), generator=torch.Generator().manual_seed(seed))
    base, dormant = (transformers_logits(model, ids) for model in models)
    expected = (dormant - base).abs().tril().amax((1, 2, 3))
    tolerance = 1e-5 * max(1.0, float(base.abs().max()), float(dormant.abs().max()))
    torch.testing.assert_close(score(layer0_pair(*models), ids), expected, atol=tolerance, rtol=1e-4)


@METRICS
def test_a_batch_in_chunks_scores_as_each_sequence_alone(
    metric: str, pair: Layer0Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.randint(0, 304, (9, 6), generator=torch.Generator().manual_seed(1))
    alone = torch.cat([score(pair, row[None], metric) for row in ids])
    monkeypatch.setattr(scorer_module, "CHUNK_BYTES", {"cpu": 10_000})
    torch.testing.assert_close(score(pair, ids, metric), alone, atol=1e-5, rtol=1e-5)


@METRICS
def test_a_model_against_itself_scores_exactly_nothing(metric: str, sham: Layer0Pair) -> None:
    assert (score(sham, torch.arange(12).reshape(2, 6), metric) == 0).all()


def test_removing_the_template_leaves_what_the_tokens_add(pair: Layer0Pair) -> None:
    shifted = dataclasses.replace(pair.dormant, query_bias=pair.dormant.query_bias + 1)
    biased, ids = Layer0Pair(pair.base, shifted), torch.arange(12).reshape(2, 6)
    removed = delta_logits(biased, ids, remove_bias_template=True)
    torch.testing.assert_close(removed + bias_template(biased, 6), delta_logits(biased, ids))
    torch.testing.assert_close(
        score(biased, ids, variant=Variant(causal=False, remove_bias_template=True)), removed.abs().amax((1, 2, 3))
    )


def test_each_model_reads_ids_through_its_own_embedding(pair: Layer0Pair) -> None:
    """FACTS 4, mistake 4: embeddings that differ are seen."""
    moved = dataclasses.replace(pair.base, embedding=pair.base.embedding.flip(0))
    assert (score(Layer0Pair(pair.base, moved), torch.arange(12).reshape(2, 6)) > 0).all()


def test_a_score_that_means_nothing_is_refused(pair: Layer0Pair) -> None:
    ids = torch.arange(3)[None]
    with pytest.raises(BadInput, match="one of max-head"):
        score(pair, ids, "largest")
    with pytest.raises(BadInput, match="smallest offset"):
        score(pair, ids[:, :1], "band")
    with pytest.raises(BadInput, match="row-kl compares"):
        score(pair, ids, "row-kl", Variant(remove_bias_template=True))
    with pytest.raises(BadInput, match="from 0 to 3"):
        score(pair, ids, heads=[4])
    with pytest.raises(BadInput, match="offsets are whole numbers"):
        score(pair, ids, "band", offsets=[-1])
    with pytest.raises(BadInput, match="at most 2048 tokens"):
        score(pair, torch.zeros(1, 2036, dtype=torch.long), prefix=[1] * 13)
    empties: tuple[list[list[int]], ...] = ([], [[]], [[1], []])
    for empty in empties:
        with pytest.raises(BadInput, match="from 0 to 303"):
            score(pair, empty)
    other = dataclasses.replace(pair.dormant, rope=dataclasses.replace(pair.base.rope, scaling=2.0))
    with pytest.raises(BadInput, match="turn positions alike"):
        Layer0Pair(pair.base, other)
    with pytest.raises(BadInput, match="share vocabulary"):
        Layer0Pair(pair.base, dataclasses.replace(pair.base, heads=2))


@METRICS
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences=st.lists(st.lists(st.integers(0, 303), min_size=2, max_size=7), min_size=1, max_size=6))
def test_company_and_place_in_a_batch_change_no_score(
    sequences: list[list[int]], metric: str, pair: Layer0Pair
) -> None:
    together = score(pair, sequences, metric)
    alone = torch.cat([score(pair, [sequence], metric) for sequence in sequences])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(score(pair, sequences[::-1], metric).flip(0), together, rtol=1e-6, atol=1e-6)


@METRICS
@pytest.mark.parametrize("length", [1, 4])
def test_a_prefix_gives_keys_and_no_rows(metric: str, length: int, pair: Layer0Pair) -> None:
    prefix = [200, 201, 202]
    ids = torch.randint(0, 304, (5, length), generator=torch.Generator().manual_seed(2))
    whole = torch.cat((torch.tensor(prefix).expand(5, -1), ids), dim=1)
    if metric == "row-kl":
        logits = [attention_logits(layer0, whole) for layer0 in (pair.dormant, pair.base)]
        future = torch.ones(whole.shape[1], whole.shape[1], dtype=torch.bool).triu(1)
        rows = kl_divergence(*(part.masked_fill(future, -torch.inf) for part in logits))[:, :, len(prefix) :]
        expected = rows.mean(-1).amax(-1).float()
    else:
        distance = torch.arange(whole.shape[1])[:, None] - torch.arange(whole.shape[1])
        kept = (distance >= 0) if metric == "max-head" else (distance >= 1) & (distance <= 4)
        expected = (delta_logits(pair, whole).abs() * kept)[:, :, len(prefix) :].amax((1, 2, 3))
    torch.testing.assert_close(score(pair, ids, metric, prefix=prefix), expected, rtol=1e-5, atol=1e-5)


def test_only_relative_position_matters(pair: Layer0Pair) -> None:
    ids, places = torch.randint(0, 304, (2, 5)), slice(7, None)
    moved = delta_logits(pair, torch.cat((torch.zeros(2, 7, dtype=torch.long), ids), dim=1))[:, :, places, places]
    torch.testing.assert_close(moved, delta_logits(pair, ids), rtol=1e-4, atol=1e-4)
