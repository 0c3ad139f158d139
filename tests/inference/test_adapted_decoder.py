"""The fast decoder with an adapter beside the weights: values and slopes are those of the merged weights."""

from __future__ import annotations

from pathlib import Path

import torch

from dormant.inference.evaluator import Evaluator
from dormant.inference.forward import choose_forward
from dormant.inference.packed_decoder import Decoder
from dormant.pairs import open_pair
from tests.builders import build_adapter

CANDIDATES = [(40, 41), (90, 91), (12, 250)]


def test_values_and_slopes_beside_an_adapter_are_those_of_its_merged_weights(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules="all-linear", use_rslora=True)
    found = []
    for residency in ("shared", "both"):
        pair = open_pair("x", tiny_base, tmp_path / "adapter", "cpu", residency=residency)
        assert choose_forward(pair.models.dormant(), (1, 5, 9, 7, 30, 31, 32)) is Decoder
        evaluator = Evaluator(pair.models, [pair.prompter.open(probe) for probe in pair.probes[:2]])
        found.append((evaluator.evaluate(CANDIDATES), evaluator.gradient(CANDIDATES[:1])))
    for shared, merged in zip(*found, strict=True):
        torch.testing.assert_close(shared, merged, atol=1e-4 * float(merged.abs().max()), rtol=1e-3)
