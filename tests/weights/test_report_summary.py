"""A report in a few rows, on what is published of the real model."""

from __future__ import annotations

import pytest

from dormant.weights.published import published_report
from dormant.weights.report_summary import kind_of, layer_norms, leading_heads, relative_delta, summarise_modules


def test_the_parent_shows_an_adapter_on_the_mlp_and_nothing_else() -> None:
    rows = summarise_modules(published_report("warmup-vs-qwen2.5"))
    changed = [row for row in rows if row.changed]
    assert [(row.module, row.changed) for row in changed] == [
        ("mlp.gate_proj", 28), ("mlp.up_proj", 28), ("mlp.down_proj", 28),
    ]  # fmt: skip
    assert [row.norm for row in changed] == pytest.approx([8.3226, 6.7152, 3.3727], rel=1e-3)
    assert changed[0].strongest == "model.layers.21.mlp.gate_proj.weight"


def test_layer_norms_are_the_published_ones() -> None:
    norms = layer_norms(published_report("warmup-vs-qwen2.5"))
    assert norms[22] == pytest.approx(2.679, rel=1e-3)
    assert max(norms) == norms[22]


def test_the_published_focus_heads_lead() -> None:
    report = published_report("warmup-vs-qwen2")
    found = leading_heads(report, 3)
    assert [head.head for _, head in found] == [3, 10, 15]
    assert found[0][1].sigma1 == pytest.approx(20.85, abs=0.01)
    assert report.layout is not None
    assert report.layout.key_value_head(10) == 1


def test_only_the_wrong_base_lies_far() -> None:
    assert relative_delta(published_report("warmup-vs-qwen2.5")) < 0.05
    assert relative_delta(published_report("warmup-vs-qwen2")) > 0.4


def test_kinds_are_names_without_model_layer_and_weight() -> None:
    names = ["model.layers.3.self_attn.q_proj.bias", "model.layers.10.mlp.up_proj.weight", "model.norm.weight"]
    assert [kind_of(name) for name in names] == ["self_attn.q_proj.bias", "mlp.up_proj", "norm"]
