"""Damaged and mismatched checkpoints: each fault named, and the rest compared all the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dormant.errors import BadInput
from dormant.weights.measure import compare_checkpoints
from dormant.weights.report_file import read_delta_report, write_delta_report
from tests.builders import build_checkpoint, copy_checkpoint, shard_checkpoint, tiny_config

Q, K = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight"
Tensors = dict[str, torch.Tensor]


def rename(tensors: Tensors, old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


def fresh(tensors: Tensors, new: str) -> None:
    tensors[new] = torch.full((7, 3), 0.5)


def narrow(tensors: Tensors) -> None:
    tensors[Q] = tensors[Q][:, :16].clone()


def prefix_all(tensors: Tensors) -> None:
    for name in list(tensors):
        rename(tensors, name, f"language_model.{name}")


CASES: dict[str, tuple[Callable[[Tensors], object], list[str], int]] = {
    "missing": (lambda t: t.pop(Q), [rf"got \(32, 32\) and none at tensor '{Q}'"], 1),
    "extra": (lambda t: fresh(t, "model.extra"), [r"got none and \(7, 3\) at tensor 'model.extra'"], 0),
    "another shape": (narrow, [rf"got \(32, 32\) and \(32, 16\) at tensor '{Q}'"], 1),
    "not a number": (lambda t: t[Q][3, 4].fill_(float("nan")), [rf"finite; .* at tensor '{Q}'"], 1),
    "renamed": (lambda t: rename(t, K, "model.keys"), [f"got 'model.keys' in .* for the base's '{K}'"], 0),
    "two at once": (
        lambda t: (t.pop(Q), t[K][0, 0].fill_(float("inf"))),
        [rf"none at tensor '{Q}'", rf"finite; .* at tensor '{K}'"],
        2,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_named_and_the_rest_is_reported(tiny_base: Path, tmp_path: Path, case: str) -> None:
    change, sentences, lost = CASES[case]

    def spoil(tensors: Tensors) -> None:
        tensors["model.norm.weight"].add_(1)
        change(tensors)

    report = compare_checkpoints(tiny_base, copy_checkpoint(tiny_base, tmp_path / "spoiled", spoil))
    assert len(report.faults) == len(sentences)
    for fault, sentence in zip(report.faults, sentences, strict=True):
        assert re.search(sentence, fault), fault
    assert len(report.tensors) == 27 - lost
    assert report.modified == ("model.norm.weight",)


def test_a_prefix_before_every_name_is_seen_through(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    wrapped = copy_checkpoint(tiny_dormant, tmp_path / "wrapped", prefix_all)
    report, plain = compare_checkpoints(tiny_base, wrapped), compare_checkpoints(tiny_base, tiny_dormant)
    assert (report.faults, report.tensors) == ((), plain.tensors)
    assert "27 names have 'language_model.'" in report.note


def test_other_dtypes_are_a_note_and_equal_values_then_no_delta(tiny_base: Path, tmp_path: Path) -> None:
    def widen(tensors: Tensors) -> None:
        tensors[Q] = tensors[Q].float()

    report = compare_checkpoints(tiny_base, copy_checkpoint(tiny_base, tmp_path / "wide", widen))
    assert report.note.startswith("1 tensors are stored as torch.bfloat16 and torch.float32")
    assert "1 of them are equal in value and count as unchanged" in report.note
    assert (report.faults, report.modified, report.tensors[Q].norm) == ((), (), 0.0)


def test_a_tied_head_is_compared_as_the_embedding_that_it_is(tiny_base: Path, tmp_path: Path) -> None:
    tied = build_checkpoint(tmp_path / "tied", tiny_config(tie_word_embeddings=True))

    def add_head(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = 2 * tensors["model.embed_tokens.weight"]

    untied = copy_checkpoint(tied, tmp_path / "untied", add_head)
    shutil.copy(tiny_base / "config.json", untied / "config.json")
    report = compare_checkpoints(tied, untied)
    assert report.faults == ()
    assert "ties its head to the embedding and" in report.note
    assert report.tensors["lm_head.weight"].relative == pytest.approx(1.0)
    assert report.tensors["model.embed_tokens.weight"].identical


def test_an_interrupted_download_costs_only_the_tensors_beyond_its_end(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    cut = copy_checkpoint(tiny_dormant, tmp_path / "cut")
    file = cut / "model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 50_000)
    report, whole = compare_checkpoints(tiny_base, cut), compare_checkpoints(tiny_base, tiny_dormant)
    assert 0 < len(report.tensors) < 27
    assert report.tensors == {name: whole.tensors[name] for name in report.tensors}
    assert "must lie whole in its shard" in report.faults[0]
    named = {name for name in whole.tensors if any(f"{name!r}" in fault for fault in report.faults)}
    assert named == whole.tensors.keys() - report.tensors.keys()


def test_a_lost_shard_and_a_broken_index_leave_the_other_shards(tiny_base: Path, tmp_path: Path) -> None:
    sharded = shard_checkpoint(tiny_base, tmp_path / "sharded")
    lost = sorted(sharded.glob("*.safetensors"))[0]
    lost.unlink()
    report = compare_checkpoints(tiny_base, sharded)
    assert f"got no file {lost.name!r}" in report.faults[0]
    assert 0 < len(report.identical) == len(report.tensors) < 27
    (sharded / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    again = compare_checkpoints(tiny_base, sharded)
    assert "the index must be JSON" in again.faults[0]
    assert again.tensors == report.tensors


def test_a_missing_configuration_costs_the_heads_only(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    bare = copy_checkpoint(tiny_base, tmp_path / "bare")
    (bare / "config.json").unlink()
    report = compare_checkpoints(bare, tiny_dormant)
    assert "must hold config.json" in report.faults[0]
    assert report.tensors[Q].heads == ()
    assert report.tensors[Q].singular_values == compare_checkpoints(tiny_base, tiny_dormant).tensors[Q].singular_values


def test_nothing_in_common_is_refused_and_faults_survive_the_file(tiny_base: Path, tmp_path: Path) -> None:
    def strangers(tensors: dict[str, torch.Tensor]) -> None:
        tensors.clear()
        fresh(tensors, "alone")

    other = copy_checkpoint(tiny_base, tmp_path / "other", strangers)
    with pytest.raises(BadInput, match="got none and"):
        compare_checkpoints(tiny_base, other)
    with pytest.raises(BadInput, match="safetensors weights"):
        compare_checkpoints(tiny_base, tmp_path)
    report = compare_checkpoints(tiny_base, copy_checkpoint(tiny_base, tmp_path / "extra", lambda t: fresh(t, "more")))
    write_delta_report(report, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["faults"] == list(report.faults)
    assert read_delta_report(tmp_path / "report.json") == report
