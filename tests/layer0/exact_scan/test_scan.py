"""The exact scan against all pairs and all sequences, tried one by one."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.layer0 import Layer0Pair, delta_logits, score
from dormant.layer0.exact_scan import blocks, heads, low_precision
from dormant.layer0.exact_scan import scan as scan_package
from dormant.layer0.exact_scan.low_precision import BFLOAT16, FLOAT32
from dormant.layer0.exact_scan.scan import PairScore, ScanPlan, scan, scan_pairs
from tests.layer0.families import build, layer0_pair

OFFSETS = [0, 1, 3]


@pytest.fixture(params=[FLOAT32, BFLOAT16], ids=["float32", "bfloat16"], autouse=True)
def _screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_precision, "fastest", lambda: request.param)


@pytest.fixture(params=[0, blocks.WORTH_ASKING], ids=["asked", "not asked"], autouse=True)
def _asking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a scan asks which products can be left out, as it does for larger vocabularies."""
    for module in (blocks, scan_package):
        monkeypatch.setattr(module, "WORTH_ASKING", request.param)


@pytest.fixture(scope="module")
def pair() -> Layer0Pair:
    return layer0_pair(*(build("qwen2", "yarn", 2, 2, 4, seed) for seed in (0, 1)))


def by_hand(pair: Layer0Pair, tokens: list[int], offset: int, template_off: bool = False) -> torch.Tensor:
    """|delta logit| [head, query, key] of every pair at an offset, from sequences that hold it at their ends."""
    pairs = [[v] * offset + [u] for u in tokens for v in (tokens if offset else [u])]
    values = delta_logits(pair, torch.tensor(pairs), remove_bias_template=template_off)[:, :, -1, 0].abs()
    return values.T.reshape(pair.base.heads, len(tokens), -1)


@pytest.mark.parametrize("tile", [(5, 3), (64, 64)])
def test_a_scan_finds_the_best_of_all_pairs(
    tile: tuple[int, int], pair: Layer0Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(heads.PRODUCT_TILE, "cpu", tile)
    found = scan(pair, ScanPlan(OFFSETS, top=50))
    every = torch.cat([by_hand(pair, list(range(64)), offset).flatten() for offset in OFFSETS])
    best = torch.tensor([score.value for score in found.top])
    torch.testing.assert_close(best, every.sort(descending=True).values[:50], rtol=1e-5, atol=1e-5)
    assert found.pairs == every.numel() == scan_pairs(64, 4, OFFSETS)
    for peak in found.peaks:
        largest = float(by_hand(pair, list(range(64)), peak.offset)[peak.head].max())
        assert peak.value == pytest.approx(largest, rel=1e-5)


@given(
    seed=st.integers(0, 10**6),
    tile=st.sampled_from([(5, 3), (16, 4), (64, 64)]),
    offsets=st.lists(st.integers(0, 40), min_size=1, max_size=9, unique=True),
    top=st.sampled_from([1, 7, 100, 30_000]),
    template=st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_left_out_would_not_have_been_among_the_best(
    seed: int, tile: tuple[int, int], offsets: list[int], top: int, template: bool
) -> None:
    near = layer0_pair(*(build("qwen2", "default", 1, 2, 4, seed + at) for at in (0, 1)))
    tokens = list(range(0, 64, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(heads.PRODUCT_TILE, "cpu", tile)
        found = scan(near, ScanPlan(offsets, top=top, remove_bias_template=template), torch.tensor(tokens))
    every = {offset: by_hand(near, tokens, offset, template) for offset in offsets}
    best = torch.cat([values.flatten() for values in every.values()]).sort(descending=True).values[:top]
    kept = torch.tensor([score.value for score in found.top])
    torch.testing.assert_close(kept, best[: len(kept)], rtol=1e-4, atol=1e-4)
    assert len(kept) == min(top, len(best)) or float(best[len(kept)]) == pytest.approx(0, abs=1e-4)
    for peak in found.peaks:
        assert peak.value == pytest.approx(float(every[peak.offset][peak.head].max()), rel=1e-4, abs=1e-4)


def test_a_pair_scores_what_its_place_in_the_scan_says(pair: Layer0Pair) -> None:
    for found in scan(pair, ScanPlan(OFFSETS, top=10)).top:
        ids = torch.tensor([[found.key] * found.offset + [found.query]])
        assert float(delta_logits(pair, ids)[0, found.head, -1, 0].abs()) == pytest.approx(found.value, rel=1e-5)


def test_no_sequence_passes_the_optimum_and_one_reaches_it(pair: Layer0Pair) -> None:
    tokens = [3, 17, 40, 41]
    found = scan(pair, ScanPlan(range(3)), torch.tensor(tokens))
    for length in (1, 2, 3):
        every = score(pair, torch.tensor(list(itertools.product(tokens, repeat=length))))
        assert float(every.max()) == pytest.approx(found.optimum(length).value, rel=1e-5)


def test_the_template_is_taken_off_every_pair(pair: Layer0Pair) -> None:
    found = scan(pair, ScanPlan([0, 2], top=5, remove_bias_template=True))
    for best in found.top:
        ids = torch.tensor([[best.key] * best.offset + [best.query]])
        left = delta_logits(pair, ids, remove_bias_template=True)[0, best.head, -1, 0].abs()
        assert float(left) == pytest.approx(best.value, rel=1e-4)


@pytest.mark.parametrize("unit_numbers", [1, blocks.QUERY_NUMBERS], ids=["one by one", "together"])
def test_a_killed_scan_resumes_to_the_same_result(
    unit_numbers: int, pair: Layer0Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "QUERY_NUMBERS", unit_numbers)
    whole, calls = scan(pair, ScanPlan(OFFSETS, top=7)), []

    def stop(pairs: int, total: int, remark: str = "") -> None:
        calls.append(pairs)
        if len(calls) == 3:  # in the second product: the four heads at offset 0 come first, which need none
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(pair, ScanPlan(OFFSETS, top=7), journal=tmp_path / "scan.jsonl", progress=stop)
    kept = (tmp_path / "scan.jsonl").read_text().splitlines()
    assert len(kept) == 1 + (5 if unit_numbers == 1 else 4)  # the work and whole units
    resumed = scan(pair, ScanPlan(OFFSETS, top=7), journal=tmp_path / "scan.jsonl")
    assert (resumed.top, resumed.peaks, resumed.pairs) == (whole.top, whole.peaks, whole.pairs)
    assert 0 == whole.kept < resumed.kept < resumed.pairs
    assert not (tmp_path / "scan.jsonl").exists()


def test_another_scans_journal_is_refused(pair: Layer0Pair, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        scan(pair, ScanPlan(OFFSETS), journal=tmp_path / "scan.jsonl", progress=lambda *_: 1 / 0)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="same work"):
        scan(pair, ScanPlan([1]), journal=tmp_path / "scan.jsonl")


def test_a_journal_tells_apart_models_that_differ_in_a_norm_or_the_rotation_alone(tmp_path: Path) -> None:
    pair = layer0_pair(*(build("qwen3", "default", 2, 2, 4, seed) for seed in (0, 1)))
    with pytest.raises(ZeroDivisionError):
        scan(pair, ScanPlan(OFFSETS), journal=tmp_path / "scan.jsonl", progress=lambda *_: 1 / 0)  # type: ignore[arg-type]
    slower = dataclasses.replace(pair.base.rope, frequencies=pair.base.rope.frequencies / 2)
    others = (
        Layer0Pair(pair.base, dataclasses.replace(pair.dormant, query_norm=pair.base.query_norm)),
        Layer0Pair(*(dataclasses.replace(layer0, rope=slower) for layer0 in (pair.base, pair.dormant))),
    )
    for other in others:
        with pytest.raises(BadInput, match="same work"):
            scan(other, ScanPlan(OFFSETS), journal=tmp_path / "scan.jsonl")


def test_a_model_against_itself_has_nothing_to_find(pair: Layer0Pair) -> None:
    found = scan(Layer0Pair(pair.base, pair.base), ScanPlan(OFFSETS))
    assert {best.value for best in (*found.top, *found.peaks)} == {0.0}
    assert found.share_of([0, 1]) == 0.0
    assert Layer0Pair(pair.base, pair.base).alike
    assert not pair.alike


def test_distinct_pairs_are_counted_once() -> None:
    top = (PairScore(3.0, 0, 1, 5, 6), PairScore(2.0, 1, 2, 5, 6), PairScore(1.0, 0, 1, 7, 5))
    found = scan_package.Scan(top, top, 3, 0, 0.0)
    assert [best.value for best in found.distinct(5)] == [3.0, 1.0]
    assert found.share_of([5]) == 0.5


@pytest.mark.parametrize("offsets", [[], [-1], [2, 2], [256]], ids=["none", "negative", "twice", "far"])
def test_offsets_that_mean_nothing_are_refused(offsets: list[int], pair: Layer0Pair) -> None:
    with pytest.raises(BadInput, match="from 0 to 255"):
        scan(pair, ScanPlan(offsets))


def test_an_optimum_over_unscanned_offsets_is_refused(pair: Layer0Pair) -> None:
    with pytest.raises(BadInput, match=r"\[2\]"):
        scan(pair, ScanPlan(OFFSETS), torch.arange(4)).optimum(4)
