"""Tables: the same scores by look-up, within the memory that is there."""

from __future__ import annotations

import pytest
import torch

from dormant.errors import BadInput
from dormant.layer0 import Layer0Pair, build_tables, delta_logits, score
from dormant.layer0 import tables as tables_module
from dormant.layer0.tables import table_bytes
from tests.layer0.families import FAMILIES, ROPES, build, layer0_pair

IDS = torch.randint(0, 64, (7, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rope", list(ROPES))
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_score_from_tables_is_that_of_the_slow_path(family: str, rope: str) -> None:
    pair = layer0_pair(*(build(family, rope, 2, 2, 4, seed) for seed in (0, 1)))
    expected = delta_logits(pair, IDS).abs().tril().amax((1, 2, 3))
    torch.testing.assert_close(score(build_tables(pair), IDS), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(score(pair, IDS), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def pair() -> Layer0Pair:
    return layer0_pair(*(build("qwen2", "default", 2, 3, 4, seed) for seed in (0, 1)))


@pytest.mark.parametrize("metric", ["max-head", "band", "row-kl"])
def test_a_lookup_changes_no_bit_of_a_score(metric: str, pair: Layer0Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "PAIR_ROWS", 0)
    few = build_tables(pair, IDS.flatten())
    assert torch.equal(score(few, IDS, metric), score(pair, IDS, metric))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("metric", ["max-head", "band"])
@pytest.mark.parametrize("length", [2, 6, 20])
def test_pairs_that_are_kept_score_as_those_multiplied_out(
    length: int, metric: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = layer0_pair(*(build("qwen3", "yarn", 2, 2, 6, seed) for seed in (0, 1)))
    ids = torch.randint(0, 64, (9, length), generator=torch.Generator().manual_seed(1))
    tables = build_tables(pair, dtype=dtype)
    kept = score(tables, ids, metric)
    assert tables.holds_pairs(length) == (length < 20)
    monkeypatch.setattr(tables_module, "PAIR_ROWS", 0)
    torch.testing.assert_close(kept, score(tables, ids, metric), rtol=1e-5, atol=1e-6)


def test_the_pairs_of_a_model_with_itself_are_exactly_nothing(pair: Layer0Pair) -> None:
    tables = build_tables(Layer0Pair(pair.base, pair.base))
    assert (score(tables, IDS) == 0).all()
    assert tables.holds_pairs(6)


def test_chosen_heads_score_as_their_rows_of_all(pair: Layer0Pair) -> None:
    delta = delta_logits(pair, IDS).abs().tril()
    for heads in ([4], [5, 0, 3]):
        expected = delta[:, heads].amax((1, 2, 3))
        torch.testing.assert_close(score(pair, IDS, heads=heads), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(score(build_tables(pair, heads=heads), IDS), expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_tables_lose_a_part_of_the_difference_not_of_the_logits(pair: Layer0Pair) -> None:
    near = Layer0Pair(pair.base, pair.base)
    assert (score(build_tables(near, dtype=torch.bfloat16), IDS) == 0).all()
    rough = score(build_tables(pair, dtype=torch.bfloat16), IDS)
    torch.testing.assert_close(rough, score(pair, IDS), rtol=0.03, atol=0)


def test_the_dtype_is_the_widest_that_fits(pair: Layer0Pair) -> None:
    whole = table_bytes(pair, 64, None, torch.float32)
    assert build_tables(pair, memory=whole).queries.dtype == torch.float32
    assert build_tables(pair, memory=whole - 1).queries.dtype == torch.bfloat16
    with pytest.raises(BadInput, match="must fit in memory"):
        build_tables(pair, memory=whole // 2 - 1)


def test_tokens_and_heads_that_are_not_there_are_refused(pair: Layer0Pair) -> None:
    with pytest.raises(BadInput, match="got id 5 "):
        score(build_tables(pair, torch.tensor([1, 2])), torch.tensor([[1, 5]]))
    for heads in ([6], [-1], [1, 1], []):
        with pytest.raises(BadInput, match="from 0 to 5"):
            build_tables(pair, heads=heads)
    with pytest.raises(BadInput, match="tables hold the heads"):
        score(build_tables(pair), IDS, heads=[0])
