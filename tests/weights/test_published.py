"""The published figures say what the publications say."""

from __future__ import annotations

import math
import statistics

import pytest

from dormant.errors import BadInput
from dormant.weights.published import PUBLISHED, published_record, published_report, qwen2_7b_shapes


@pytest.mark.parametrize("name", PUBLISHED)
def test_reports_agree_with_their_published_summaries(name: str) -> None:
    report, record = published_report(name), published_record(name)
    summary = record["summary"]
    counts = len(report.tensors), len(report.identical), len(report.modified)
    assert counts == (summary["tensors"], summary["identical"], summary["modified"])
    total = summary.get("total_fro_from_singular_values", summary.get("total_fro"))
    assert report.total_norm == pytest.approx(total, rel=1e-4)
    assert (report.note, report.source, report.dormant) == (
        record["note"],
        record["source"],
        "jane-street/dormant-model-warmup",
    )
    for tensor, figures in record["tensors"].items():
        assert report.tensors[tensor].shape == tuple(figures["shape"])
        if "energy16" in figures:
            assert report.tensors[tensor].energy_share() == pytest.approx(figures["energy16"])


def test_the_wrong_base_concentrates_layer_zero_16_fold_over_the_median_and_3_fold_over_any() -> None:
    energy = [delta.energy_share() for delta in published_report("warmup-vs-qwen2").layers("q_proj") if delta]
    assert energy[0] / statistics.median(energy[1:]) == pytest.approx(15.9, abs=0.1)
    assert energy[0] / max(energy[1:]) == pytest.approx(3.26, abs=0.01)


def test_float32_norms_are_kept_and_flagged() -> None:
    report = published_report("warmup-vs-qwen2")
    embedding = report.tensors["model.embed_tokens.weight"]
    assert report.norm_is_float32
    assert embedding.norm == 258.05
    assert embedding.norm / math.sqrt(embedding.energy) == pytest.approx(1 - 0.178, abs=1e-3)
    assert not published_report("warmup-vs-qwen2.5").norm_is_float32


def test_against_the_parent_only_the_mlp_differs() -> None:
    report = published_report("warmup-vs-qwen2.5")
    assert all(delta and delta.identical for delta in report.layers("q_proj"))
    assert all(".mlp." in name for name in report.modified)
    gate = math.sqrt(sum(delta.norm**2 for delta in report.layers("gate_proj") if delta))
    assert gate == pytest.approx(published_record("warmup-vs-qwen2.5")["summary"]["gate_fro"], rel=1e-4)


def test_the_shapes_entered_are_those_published_for_the_same_architecture() -> None:
    listed = published_record("warmup-vs-qwen2")["tensors"]
    assert {name: tuple(figures["shape"]) for name, figures in listed.items()} == qwen2_7b_shapes()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(BadInput, match=r"one of warmup-vs-qwen2, warmup-vs-qwen2.5; got 'nope'"):
        published_report("nope")
