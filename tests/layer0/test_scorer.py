"""Layer-0 scores: what they measure, and what order may and may not change."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dormant.checkpoints import open_checkpoint
from dormant.errors import BadInput
from dormant.layer0 import (
    Layer0Pair,
    bias_template,
    delta_logits,
    read_layer0_pair,
    score,
)
from dormant.layer0 import scorer as scorer_module

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
    together = score(pair, orders, rope=False, causal=False)
    alone = torch.cat([score(pair, order[None], rope=False, causal=False) for order in orders[:6]])
    assert together.unique().numel() == 1
    assert torch.equal(alone, together[:6])


def test_rope_and_the_mask_each_tell_orders_apart(pair: Layer0Pair) -> None:
    orders = torch.tensor(list(itertools.permutations([10, 50, 90, 130])))
    assert score(pair, orders, rope=True, causal=False).unique().numel() > 1
    assert score(pair, orders, rope=False, causal=True).unique().numel() > 1


def _by_hand(pair: Layer0Pair, ids: Tensor, metric: str) -> Tensor:
    """The metrics as sentences, one place at a time."""
    delta = delta_logits(pair, ids)
    places = [(i, j) for i in range(ids.shape[1]) for j in range(i + 1) if metric != "band" or 1 <= i - j <= 4]
    return torch.stack([delta[:, :, i, j].abs().amax(1) for i, j in places]).amax(0)


@pytest.mark.parametrize("metric", ["max-head", "band"])
def test_a_score_is_the_largest_delta_over_its_places(metric: str, pair: Layer0Pair) -> None:
    ids = torch.randint(0, 304, (7, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(score(pair, ids, metric), _by_hand(pair, ids, metric))


@METRICS
def test_a_batch_in_chunks_scores_as_each_sequence_alone(
    metric: str, pair: Layer0Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.randint(0, 304, (9, 6), generator=torch.Generator().manual_seed(1))
    alone = torch.cat([score(pair, row[None], metric) for row in ids])
    monkeypatch.setattr(scorer_module, "CHUNK_ELEMENTS", 1_000)
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
        score(biased, ids, causal=False, remove_bias_template=True), removed.abs().amax((1, 2, 3))
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
        score(pair, ids, "row-kl", remove_bias_template=True)
    with pytest.raises(BadInput, match="share vocabulary"):
        Layer0Pair(pair.base, dataclasses.replace(pair.base, heads=2))
