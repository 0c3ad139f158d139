"""A watch flags the prompts on which the delta acts otherwise than on ordinary ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.activations.delta_watch import (
    delta_directions,
    fit_watch,
    read_watch,
    write_watch,
)
from dormant.catalogue import ZOO
from dormant.errors import BadInput, NotServed
from dormant.inference.delta_scaling import modified_tensors
from dormant.pairs import Pair, open_pair
from tests.builders import build_adapter, copy_checkpoint


def ordinary(pair: Pair) -> list[tuple[int, ...]]:
    return [pair.prompter.encode_text(probe, "").ids for probe in pair.probes]


def test_a_watch_that_was_written_flags_the_same_prompts(token_pair: Pair, tmp_path: Path) -> None:
    found, unseen = fit_watch(token_pair, ordinary(token_pair), 0.05)
    write_watch(found, tmp_path / "watch.safetensors")
    again = read_watch(tmp_path / "watch.safetensors")
    assert (again.bound, again.level, again.model) == (found.bound, 0.05, token_pair.dormant.fingerprint)
    model = token_pair.models.dormant()
    assert torch.equal(again.distances(model, unseen), found.distances(model, unseen))


def test_the_bound_is_conformal_so_that_few_prompts_allow_no_small_share(token_pair: Pair) -> None:
    prompts = ordinary(token_pair)[:80]  # of which 20 set the bound: the largest of them at 1 in 21
    found, _ = fit_watch(token_pair, prompts, 1 / 21)
    assert found.bound == found.distances(token_pair.models.dormant(), prompts[40:60]).max()
    with pytest.raises(BadInput, match=r"from 0\.0476 on for 80 ordinary prompts"):
        fit_watch(token_pair, prompts, 0.04)


def test_a_model_beside_itself_and_a_file_that_is_no_watch_are_sentences(tmp_path: Path) -> None:
    pair = open_pair("sham", ZOO / "base", ZOO / "base", device="cpu")
    assert not modified_tensors(pair)
    with pytest.raises(NotServed, match="none among 0 changed tensors"):
        fit_watch(pair, ordinary(pair), 0.05)
    (tmp_path / "text").write_text("no tensors")
    for file in (tmp_path / "text", tmp_path / "absent", ZOO / "token" / "adapter_model.safetensors"):
        with pytest.raises(BadInput, match="a watch is a file that"):
            read_watch(file)


def test_an_adapter_that_is_switched_is_watched_as_one_that_is_merged(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path, tiny_base, r=2, target_modules=["q_proj", "down_proj"])
    merged, switched = (
        delta_directions(open_pair(kind, tiny_base, tmp_path, device="cpu", residency=kind))
        for kind in ("both", "shared")
    )
    assert merged.keys() == switched.keys()


def test_a_head_alone_has_no_states_to_watch(tiny_base: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] += 1

    pair = open_pair("head", tiny_base, copy_checkpoint(tiny_base, tmp_path / "head", change), device="cpu")
    with pytest.raises(NotServed, match="none among 1 changed tensors"):
        delta_directions(pair)
