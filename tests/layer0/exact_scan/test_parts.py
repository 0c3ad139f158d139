"""Parts of a scan, which together are the whole one to the last bit."""

from __future__ import annotations

import pytest
import torch

from dormant.layer0 import Layer0Pair
from dormant.layer0.exact_scan import blocks, heads
from dormant.layer0.exact_scan import scan as scan_package
from dormant.layer0.exact_scan.parts import divided, joined
from dormant.layer0.exact_scan.scan import ScanPlan, scan
from tests.layer0.families import build, layer0_pair

PLAN = ScanPlan([3, 0, 1, 7, 2], heads=[3, 0, 2], top=200)


@pytest.fixture(scope="module")
def pair() -> Layer0Pair:
    return layer0_pair(*(build("qwen2", "yarn", 2, 2, 4, seed) for seed in (0, 1)))


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("parts", [1, 2, 4, 99])
def test_parts_find_what_the_whole_scan_finds(
    parts: int, together: int, pair: Layer0Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(heads.VECTORS, "cpu", together * 64 * 4 * pair.base.head_dim)
    for module in (blocks, scan_package):
        monkeypatch.setattr(module, "WORTH_ASKING", 0)
    plans = divided(pair, PLAN, 64, parts)
    whole, found = scan(pair, PLAN), joined([scan(pair, plan) for plan in plans], PLAN, pair.base.heads, 0.0)
    assert len(plans) >= min(parts, 5 * -(-3 // together))
    assert (found.top, found.peaks, found.pairs) == (whole.top, whole.peaks, whole.pairs)


def test_values_that_are_equal_have_one_order_in_any_parts() -> None:
    twice = torch.arange(64) // 2
    alike = layer0_pair(*(build("qwen2", "default", 2, 2, 4, seed) for seed in (0, 1)))
    for layer in (alike.base, alike.dormant):
        layer.embedding.copy_(layer.embedding[twice])  # every pair of tokens is there four times
    plan = ScanPlan(range(1, 5), top=9)
    found = [
        joined([scan(alike, each) for each in divided(alike, plan, 64, parts)], plan, 4, 0.0) for parts in (1, 2, 4)
    ]
    assert found[0].top[0].value == found[0].top[3].value > found[0].top[4].value
    assert found[0] == found[1] == found[2]
