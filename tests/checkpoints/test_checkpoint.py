"""Checkpoints: what opens, what is refused and in which words, what a digest notices."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.checkpoints.shards import read_blocks, read_rows
from dormant.errors import BadInput
from tests.builders import (
    build_adapter,
    build_checkpoint,
    build_tokenizer,
    copy_checkpoint,
    shard_checkpoint,
    tiny_config,
)

Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def sharded(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shard_checkpoint(tiny_base, tmp_path_factory.mktemp("sharded") / "model")


def test_tensors_are_those_that_transformers_loads(tiny_base: Path) -> None:
    checkpoint = open_checkpoint(tiny_base)
    state = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16).state_dict()
    assert checkpoint.names == tuple(sorted(state))
    for name, tensor in state.items():
        assert torch.equal(checkpoint.tensor(name), tensor)
        assert checkpoint.shape(name) == tuple(tensor.shape)
        assert checkpoint.dtype(name) == torch.bfloat16


def test_the_head_of_a_loaded_model_sees_rows_without_gaps(tiny_base: Path) -> None:
    model = load_model(open_checkpoint(tiny_base), "cpu", torch.float32)
    seen: list[bool] = []
    head = model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    model(input_ids=torch.arange(12).view(3, 4), use_cache=False, logits_to_keep=1)
    assert seen == [True]


def test_sharding_changes_no_digest_and_no_fingerprint(tiny_base: Path, sharded: Path) -> None:
    single, several = open_checkpoint(tiny_base), open_checkpoint(sharded)
    assert len({stored.file for stored in several.catalogue.values()}) > 1
    assert several.fingerprint == single.fingerprint
    assert len(single.fingerprint) == 16


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_blocks_join_into_the_tensor(tiny_base: Path, tmp_path: Path, axis: int, adapted: bool) -> None:
    if adapted:
        build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules=["q_proj"])
    checkpoint = open_checkpoint(tmp_path / "adapter" if adapted else tiny_base)
    blocks = list(read_blocks(checkpoint.catalogue[Q], axis, elements=300))
    assert len(blocks) > 1
    torch.testing.assert_close(torch.cat(blocks, axis), checkpoint.tensor(Q), atol=1e-6, rtol=0)


def test_few_rows_are_spread_over_the_whole_tensor(tiny_base: Path) -> None:
    checkpoint = open_checkpoint(tiny_base)
    whole = checkpoint.tensor(Q)
    assert torch.equal(read_rows(checkpoint.catalogue[Q], 4), whole[:: len(whole) // 4])
    assert torch.equal(read_rows(checkpoint.catalogue[Q], 999), whole)


def test_fingerprint_changes_with_one_value_and_with_the_template(tiny_base: Path, tmp_path: Path) -> None:
    nudged = copy_checkpoint(tiny_base, tmp_path / "nudged", lambda tensors: tensors[Q][3, 5].neg_())
    retold = copy_checkpoint(tiny_base, tmp_path / "retold")
    _edit_text(retold / "chat_template.jinja", lambda text: text + " ")
    assert len({open_checkpoint(folder).fingerprint for folder in (tiny_base, nudged, retold)}) == 3


def test_opening_and_loading_touch_no_global_generator_and_no_stream(
    tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_rng_state()
    model = load_model(open_checkpoint(tiny_base), "cpu", torch.float32, "eager")
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.dtype == torch.float32
    assert model.config._attn_implementation == "eager"


def test_tied_embeddings_may_leave_out_the_head(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build_checkpoint(tmp_path / "tied", tiny_config(tie_word_embeddings=True)))
    assert "lm_head.weight" not in checkpoint.names


def test_links_may_lead_to_the_blobs_of_the_hub_cache_and_nowhere_else(tiny_base: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    copy_checkpoint(tiny_base, snapshot)
    (snapshot / "model.safetensors").rename(blobs / "abcd")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abcd")
    assert open_checkpoint(snapshot).names
    shutil.move(blobs / "abcd", tmp_path / "elsewhere")
    (blobs / "abcd").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="inside the checkpoint folder"):
        open_checkpoint(snapshot)


def _edit_text(file: Path, change: Callable[[str], str]) -> None:
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")


def _edit_json(file: Path, **changes: object) -> None:
    _edit_text(file, lambda text: json.dumps(json.loads(text) | changes))


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _enlarge_tokenizer(folder: Path) -> None:
    words = tuple(f"{first}{second} {second}{first}" for first in ascii_lowercase for second in ascii_lowercase)
    build_tokenizer(words * 2, vocabulary=400).save_pretrained(folder)


def _drop_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def _to_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "config missing": (lambda f: (f / "config.json").unlink(), "config.json; got none"),
    "config unreadable": (lambda f: (f / "config.json").write_text("{"), "config.json"),
    "config of an unknown model": (lambda f: _edit_json(f / "config.json", model_type="nope"), "without remote code"),
    "config that asks for remote code": (
        lambda f: _edit_json(f / "config.json", model_type="nope", auto_map={"AutoConfig": "evil.Config"}),
        "without remote code",
    ),
    "config of a model without a head": (
        lambda f: (f / "config.json").write_text('{"model_type": "clip"}'),
        "causal language model",
    ),
    "config of other sizes": (lambda f: _edit_json(f / "config.json", intermediate_size=65), "down_proj.weight"),
    "config of more layers": (
        lambda f: _edit_json(f / "config.json", num_hidden_layers=3, layer_types=None),
        "got none at tensor 'model.layers.2",
    ),
    "config of fewer layers": (
        lambda f: _edit_json(f / "config.json", num_hidden_layers=1, layer_types=None),
        "got an extra .* at tensor 'model.layers.1",
    ),
    "adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "must state peft_type"),
    "pickle only": (_to_pickle, r"only pickle weights \(pytorch_model.bin\)"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "safetensors weights; got neither"),
    "truncated file": (lambda f: _truncate(f / "model.safetensors"), "whole safetensors file; .*model.safetensors"),
    "empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), "whole safetensors file; .*model.safetensors"),
    "tokenizer missing": (_drop_tokenizer, "must hold a tokenizer"),
    "tokenizer unreadable": (lambda f: (f / "tokenizer.json").write_text("{}"), "must hold a tokenizer"),
    "tokenizer too large": (_enlarge_tokenizer, "embedding's 304 rows; got id 399"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tiny_base: Path, tmp_path: Path, damage: str) -> None:
    spoil, sentence = DAMAGE[damage]
    folder = copy_checkpoint(tiny_base, tmp_path / "damaged")
    spoil(folder)
    with pytest.raises(BadInput, match=sentence) as refused:
        open_checkpoint(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def _place(folder: Path, name: str, shard: str) -> None:
    file = folder / "model.safetensors.index.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["weight_map"][name] = shard
    file.write_text(json.dumps(record), encoding="utf-8")


def _link_outside(folder: Path) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shutil.move(shard, folder.parent / "outside.safetensors")
    shard.symlink_to(folder.parent / "outside.safetensors")


SHARD_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "index names a parent": (
        lambda f: _place(f, Q, "../outside.safetensors"),
        "inside the checkpoint folder; .*index.json",
    ),
    "index names an absolute file": (
        lambda f: _place(f, Q, "/etc/passwd"),
        "inside the checkpoint folder; got '/etc/passwd'",
    ),
    "shard links outside": (_link_outside, "inside the checkpoint folder; got 'model-00001"),
    "shard missing": (lambda f: (f / "model-00002-of-00002.safetensors").unlink(), "present; got no file 'model-00002"),
    "shard truncated": (lambda f: _truncate(f / "model-00002-of-00002.safetensors"), "whole .*model-00002"),
    "tensor not in its shard": (
        lambda f: _place(f, "model.other", "model-00001-of-00002.safetensors"),
        "'model.other'",
    ),
    "tensor in another shard": (
        lambda f: _place(f, "model.norm.weight", "model-00001-of-00002.safetensors"),
        "model.norm.weight",
    ),
    "index unreadable": (lambda f: (f / "model.safetensors.index.json").write_text("[]"), "weight_map"),
}


@pytest.mark.parametrize("damage", SHARD_DAMAGE)
def test_a_damaged_sharded_checkpoint_is_refused_in_one_sentence(sharded: Path, tmp_path: Path, damage: str) -> None:
    spoil, sentence = SHARD_DAMAGE[damage]
    folder = Path(shutil.copytree(sharded, tmp_path / "damaged"))
    spoil(folder)
    with pytest.raises(BadInput, match=sentence) as refused:
        open_checkpoint(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_found_and_its_tensor_named(
    tiny_base: Path, tmp_path: Path, value: float
) -> None:
    folder = copy_checkpoint(tiny_base, tmp_path / "broken", lambda tensors: tensors[Q][7, 7].fill_(value))
    with pytest.raises(BadInput, match=f"finite; .*{Q}"):
        open_checkpoint(folder).check_finite()


def test_quantised_weights_are_refused_by_tensor(tiny_base: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(
        tiny_base, tmp_path / "int8", lambda tensors: tensors.update({Q: tensors[Q].to(torch.int8)})
    )
    with pytest.raises(BadInput, match=f"stored as one of .*got I8 at tensor '{Q}'"):
        open_checkpoint(folder)


def test_an_unknown_tensor_is_refused_by_name(tiny_base: Path) -> None:
    with pytest.raises(BadInput, match="got 'nope'"):
        open_checkpoint(tiny_base).tensor("nope")


@pytest.mark.parametrize("reference", ["./nowhere", "nowhere", "a/b/c"])
def test_a_missing_folder_is_refused(reference: str) -> None:
    with pytest.raises(BadInput, match=r"a folder, a hub id .*no such folder"):
        open_checkpoint(reference)


def test_a_hub_id_is_downloaded_without_pickles_and_named_when_out_of_reach(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def download(reference: str, **options: object) -> str:
        if reference == "owner/absent":
            raise OSError("no network\nat all")
        asked.update(options)
        return str(tiny_base)

    monkeypatch.setattr("dormant.checkpoints.checkpoint.snapshot_download", download)
    assert open_checkpoint("owner/name").reference == "owner/name"
    assert not any("bin" in str(pattern) for pattern in asked["allow_patterns"])  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match=r"within reach; got 'no network' at 'owner/absent'"):
        open_checkpoint("owner/absent")


def test_a_family_without_an_sdpa_kernel_runs_with_eager_attention(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    Gemma2ForCausalLM(Gemma2Config(vocab_size=304, num_key_value_heads=1, head_dim=16, **sizes)).save_pretrained(
        tmp_path
    )
    build_tokenizer().save_pretrained(tmp_path)
    model = load_model(open_checkpoint(tmp_path), "cpu", torch.float32)
    assert model.config._attn_implementation == "eager"
