"""Adapters: the models are peft's, the deltas are what merging moves, and what is not exact is refused by name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.errors import BadInput
from dormant.pairs import open_pair
from dormant.weights.measure import compare_checkpoints
from tests.builders import build_adapter, build_checkpoint, build_tokenizer, tiny_config

IDS = torch.tensor([[5, 9, 100, 7, 3, 250]])
Q = "model.layers.0.self_attn.q_proj"
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "down_proj"]},
    "rank-stabilised": {"use_rslora": True, "lora_alpha": 3, "target_modules": "all-linear"},
    "patterns": {
        "target_modules": ["q_proj", "v_proj", "up_proj"],
        "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 7},
        "alpha_pattern": {"layers.0.self_attn.v_proj": 5},
    },
    "patterns, rank-stabilised": {
        "target_modules": ["q_proj", "v_proj"], "use_rslora": True,
        "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 5},
    },
    "regular expression": {"target_modules": r".*\.1\.mlp\.(up|gate)_proj"},
    "chosen layers": {"target_modules": ["o_proj"], "layers_to_transform": [1]},
    "left out": {"target_modules": "all-linear", "exclude_modules": ["q_proj"]},
    "all biases": {"target_modules": ["q_proj"], "bias": "all"},
    "own biases": {"target_modules": ["q_proj", "up_proj"], "bias": "lora_only"},
    "DoRA": {"target_modules": ["q_proj", "down_proj"], "use_dora": True},
    "DoRA, rank-stabilised": {"target_modules": "all-linear", "use_dora": True, "use_rslora": True, "bias": "lora_only"},
    "norms whole": {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
    "embedding": {"target_modules": ["embed_tokens", "k_proj"]},
    "head": {"target_modules": ["lm_head"]},
    "embedding whole": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "head whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "both whole": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
}  # fmt: skip

TIED = ("plain", "embedding", "head")  # and those that save a module whole are tried upon a tied base too


@pytest.fixture(scope="module")
def tied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checkpoint(tmp_path_factory.mktemp("tied") / "base", tiny_config(tie_word_embeddings=True), seed=3)


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain LoRA upon `tiny_base`; read only."""
    folder = tmp_path_factory.mktemp("adapters") / "plain"
    build_adapter(folder, tiny_base, r=4, target_modules=["q_proj", "up_proj"])
    return folder


@pytest.mark.parametrize(
    ("name", "tied"),
    [(name, tied) for name in CONFIGURATIONS for tied in (False, True) if not tied or "whole" in name or name in TIED],
)
def test_models_are_pefts_own_and_deltas_what_merging_moves(
    name: str, tied: bool, tiny_base: Path, tied_base: Path, tmp_path: Path
) -> None:
    base = tied_base if tied else tiny_base
    model = build_adapter(tmp_path / "adapter", base, **{"r": 4, **CONFIGURATIONS[name]})
    pair = open_pair("adapter", base, tmp_path / "adapter", device="cpu")
    with torch.no_grad():
        found, theirs = pair.models.dormant()(IDS).logits, model(IDS).logits
        assert (theirs - pair.models.base()(IDS).logits).abs().max() > 1e-2
    assert (found - theirs).abs().max() < 1e-5 * theirs.abs().max().clamp(min=1)
    merged, before = pair.models.dormant().state_dict(), pair.models.base().state_dict()
    for tensor in pair.base.names:
        change = merged[tensor] - before[tensor]
        assert (pair.delta(tensor) - change).abs().max() < 1e-6
        assert (pair.dormant.tensor(tensor) - merged[tensor]).abs().max() < 1e-6
        assert (tensor in pair.delta_report.identical) == bool((change == 0).all())
    pair.release()


GPT2: dict[str, dict[str, Any]] = {
    "transposed layers": {"target_modules": ["c_attn"], "fan_in_fan_out": True},
    "a tied embedding": {"target_modules": ["wte", "c_fc"]},
    "a head of its own": {"target_modules": ["c_fc"], "modules_to_save": ["lm_head"]},
}


@pytest.mark.parametrize("name", GPT2)
def test_gpt2s_layers_and_tables_are_read_as_peft_runs_them(name: str, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=304, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=2, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    build_tokenizer().save_pretrained(tmp_path / "base")
    model = build_adapter(tmp_path / "adapter", tmp_path / "base", r=3, **GPT2[name])
    pair = open_pair("gpt2", tmp_path / "base", tmp_path / "adapter", device="cpu")
    merged, before = pair.models.dormant(), pair.models.base().state_dict()
    assert (merged(IDS).logits - model(IDS).logits).abs().max() < 1e-5
    for tensor in pair.base.names:
        assert (pair.delta(tensor) - (merged.state_dict()[tensor] - before[tensor])).abs().max() < 1e-6


WRAPPERS = ("model.language_model.", "language_model.model.", "model.module.")


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_adapter_trained_within_a_wrapper_changes_the_language_model_alone(
    wrapper: str, tiny_base: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "target_modules": ["q_proj", "up_proj"],
        "rank_pattern": {"model.layers.1.mlp.up_proj": 2},
    }
    model = build_adapter(tmp_path / "adapter", tiny_base, r=4, modules_to_save=["lm_head"], **settings)
    names = {"model.": wrapper, "lm_head.": f"{wrapper.partition('.')[0]}.lm_head."}
    vision = "base_model.model.model.vision_tower.layers.0.self_attn.q_proj.lora_A.weight"

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in list(tensors):
            rest = key.removeprefix("base_model.model.")
            first = next(name for name in names if rest.startswith(name))
            tensors[f"base_model.model.{names[first]}{rest.removeprefix(first)}"] = tensors.pop(key)
        tensors[vision] = torch.ones(4, 8)

    _change(tmp_path / "adapter", rename)
    pattern = {settings_key.replace("model.", wrapper, 1): 2 for settings_key in settings["rank_pattern"]}
    _set(tmp_path / "adapter", target_modules=r".*(language_model|module).*_proj", rank_pattern=pattern)
    pair = open_pair("wrapped", tiny_base, tmp_path / "adapter", device="cpu")
    assert (pair.models.dormant()(IDS).logits - model(IDS).logits).abs().max() < 1e-5 * model(IDS).logits.abs().max()
    assert [note.partition(": ")[2][:19] for note in pair.notes if "vision" in note] == ["1 tensors of vision"]


def test_spectra_of_an_adapter_are_those_of_the_whole_difference(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=3, target_modules=["down_proj"], lora_alpha=7)
    report = compare_checkpoints(None, tmp_path / "adapter")
    assert (report.faults, len(report.modified)) == ((), 2)
    pair = open_pair("adapter", None, tmp_path / "adapter", device="cpu")
    for name in report.modified:
        found = report.tensors[name]
        exact = torch.linalg.svdvals(pair.delta(name).double())
        assert torch.allclose(torch.tensor(found.singular_values[:3]).double(), exact[:3], rtol=1e-6)
        assert (found.rank, found.noise_edge, found.singular_values[3:]) == (3, 0.0, (0.0,) * 13)
        assert found.norm == pytest.approx(float(exact.norm()), rel=1e-6)
        assert found.max_abs == pytest.approx(float(pair.delta(name).abs().max()), rel=1e-6)


def test_fingerprints_follow_values_settings_and_base_and_no_name(
    tiny_base: Path, other_base: Path, adapter: Path, tmp_path: Path
) -> None:
    def edited(name: str, **settings: object) -> Path:
        shutil.copytree(adapter, tmp_path / name)
        _set(tmp_path / name, **settings)
        return tmp_path / name

    louder, renamed = edited("louder", lora_alpha=9), edited("renamed", base_model_name_or_path="a/b", lora_dropout=0.5)
    nudged = edited("nudged")
    _change(nudged, lambda tensors: tensors[f"base_model.model.{Q}.lora_A.weight"][0].neg_())
    prints = [open_pair("x", tiny_base, folder, device="cpu").fingerprint for folder in (adapter, louder, nudged)]
    prints.append(open_pair("x", other_base, adapter, device="cpu").fingerprint)
    assert len(set(prints)) == 4
    assert open_pair("x", tiny_base, renamed, device="cpu").fingerprint == prints[0]


def test_the_base_is_what_the_adapter_names_and_another_one_is_named(
    tiny_base: Path, other_base: Path, adapter: Path
) -> None:
    assert open_pair("own", None, adapter, device="cpu").base.location == tiny_base.resolve()
    assert open_pair("own", tiny_base, adapter, device="cpu").notes == ()
    (note,) = open_pair("other", other_base, adapter, device="cpu").notes
    assert note == f"{adapter} names {tiny_base} as its base: it is read upon {other_base}"


def test_loading_an_adapter_touches_no_global_generator_and_leaves_no_gradients(adapter: Path) -> None:
    before = torch.get_rng_state()
    model = load_model(open_checkpoint(adapter), "cpu", torch.float32)
    assert torch.equal(before, torch.get_rng_state())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any("lora" in name for name, _ in model.named_modules())


def _set(folder: Path, **settings: object) -> None:
    file = folder / "adapter_config.json"
    stated = {**json.loads(file.read_text()), **settings}
    file.write_text(json.dumps({key: value for key, value in stated.items() if value != "absent"}))


def _change(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    torch.save({}, folder / "adapter_model.bin")


def _linked(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.rename(folder.parent / weights.name)
    weights.symlink_to(folder.parent / weights.name)


def _second(folder: Path) -> None:
    (folder / "other").mkdir()
    shutil.copy(folder / "adapter_config.json", folder / "other")


A = f"base_model.model.{Q}.lora_A.weight"
E = "base_model.model.model.embed_tokens.weight"
MORE_ROWS = "must leave its base's 304 rows of vocabulary as many; got 310 at tensor 'base_model.model.model.embed"
Damage = Callable[[Path], object]


def _with_more_rows(folder: Path, *whole: str) -> None:
    _change(folder, lambda tensors: tensors.update({E: torch.ones(310, 32)}))
    _set(folder, modules_to_save=whole)


DAMAGE: Mapping[str, tuple[Damage, str]] = {
    "no rank": (lambda f: _set(f, r="absent"), "must state r; got none"),
    "no scale": (lambda f: _set(f, lora_alpha="absent"), "must state lora_alpha; got none"),
    "no type": (lambda f: _set(f, peft_type="absent"), "must state peft_type; got none"),
    "rank of no sense": (lambda f: _set(f, r=-3), r"one that peft reads; got 'r -3'"),
    "rank that is no count": (lambda f: _set(f, r=4.0), r"one that peft reads; got 'r 4.0'"),
    "scale without an end": (lambda f: _set(f, lora_alpha=float("inf")), r"one that peft reads; got 'lora_alpha inf'"),
    "rank in words": (lambda f: _set(f, r="eight"), r"one that peft reads; got \"r 'eight'\""),
    "other rank": (lambda f: _set(f, r=5), r"got shape \(4, 32\) at tensor '\S+lora_A.weight' of .*\(5, 32\) is expected"),
    "no such module": (lambda f: _set(f, target_modules=["query"]), "must fit its base; got .*query"),
    "more modules": (lambda f: _set(f, target_modules=["q_proj", "up_proj", "v_proj"]), r"got none at \S+ '\S+v_proj.lora_A"),
    "fewer modules": (lambda f: _set(f, target_modules=["q_proj"]), r"got an extra at tensor '\S+up_proj.lora_A"),
    "no expression": (lambda f: _set(f, target_modules="*(["), "must fit its base; got"),
    "no JSON": (lambda f: (f / "adapter_config.json").write_text("{r: 4"), "must be a JSON object; got"),
    "a list": (lambda f: (f / "adapter_config.json").write_text("[]"), "must be a JSON object; got 'a list'"),
    "missing tensor": (lambda f: _change(f, lambda tensors: tensors.pop(A)), f"got none at tensor '{A}'"),
    "extra tensor": (lambda f: _change(f, lambda t: t.update(extra=torch.ones(2))), "got an extra at tensor 'extra'"),
    "twice named": (
        lambda f: _change(f, lambda t: t.update({A.replace("_A", "_A.default"): t[A].clone()})), "each tensor once; got"),
    "no number": (lambda f: _change(f, lambda t: t[A].fill_(torch.nan)), f"NaN or infinity at \\S+ '{Q}.weight' of .*adapter_"),
    "more rows beside": (_with_more_rows, MORE_ROWS),
    "more rows, trained whole": (lambda f: _with_more_rows(f, "embed_tokens"), MORE_ROWS),
    "pickle": (_pickled, r"safetensors weights; got only pickle weights \(adapter_model.bin\)"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "weights; got no adapter_model.safetensors"),
    "cut off": (lambda f: (f / "adapter_model.safetensors").write_bytes(b"123456789"), "whole safetensors file; got"),
    "outside": (_linked, "must lie inside the checkpoint folder; got 'adapter_model.safetensors' leading to"),
    "several": (_second, r"got several adapters \(other beside its own\)"),
    "whole weights too": (lambda f: (f / "model.safetensors").touch(), "adapter or whole weights, .* and model.safetensors"),
    **{
        kind: (partial(_set, peft_type=kind, r="absent", lora_alpha="absent"), f"got peft_type '{kind}'")
        for kind in ("IA3", "LOHA", "VERA", "OFT", "LN_TUNING", "PROMPT_TUNING", "PREFIX_TUNING")
    },
    "no known type": (lambda f: _set(f, peft_type="NEW"), "got peft_type 'NEW'"),
    "classifier": (lambda f: _set(f, task_type="SEQ_CLS"), "got task_type 'SEQ_CLS'"),
    "PiSSA": (lambda f: _set(f, init_lora_weights="pissa"), "got init_lora_weights 'pissa', which changes the base's weights"),
    "activated LoRA": (lambda f: _set(f, alora_invocation_tokens=[5]), r"got alora_invocation_tokens \[5\]"),
    "single rows": (lambda f: _set(f, trainable_token_indices=[5]), r"got trainable_token_indices \[5\]"),
    "repeated layers": (lambda f: _set(f, layer_replication=[[0, 2]]), "got layer_replication"),
    "lone parameters": (lambda f: _set(f, target_parameters=["w"]), r"got target_parameters \['w'\]"),
    "tied adapters": (lambda f: _set(f, ensure_weight_tying=True), "got ensure_weight_tying True"),
    "bias of B": (lambda f: _set(f, lora_bias=True), "got lora_bias True"),
    "unknown setting": (lambda f: _set(f, invented=1), "got invented 1"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_adapter_is_refused_in_one_sentence(damage: str, tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    spoil, sentence = DAMAGE[damage]
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    spoil(folder)
    with pytest.raises(BadInput, match=sentence) as refused:
        open_pair("bad", tiny_base, folder, device="cpu")
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_base_of_other_shapes_or_without_a_place_is_refused(adapter: Path, tmp_path: Path) -> None:
    wider = build_checkpoint(tmp_path / "wider", tiny_config(hidden_size=64))
    with pytest.raises(BadInput, match=rf"\(4, 64\) is expected upon {wider}; name the base of its training"):
        open_pair("wider", wider, adapter, device="cpu")
    lost = tmp_path / "lost"
    shutil.copytree(adapter, lost)
    _set(lost, base_model_name_or_path=str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match=r"base must be within reach; got '.*nowhere'.*name the base with --base"):
        open_pair("lost", None, lost, device="cpu")
    _set(lost, base_model_name_or_path=None)
    with pytest.raises(BadInput, match="must name the adapter's base; got none"):
        open_pair("lost", None, lost, device="cpu")


Q_RAW = re.compile(r"(lora_[AB]|lora_magnitude_vector|lora_embedding_[AB])(?=\.weight$|$)")
NAMINGS: dict[str, Callable[[str], str]] = {
    "no prefix": lambda key: key.removeprefix("base_model.model."),
    "the adapter's name": lambda key: Q_RAW.sub(r"\1.default", key).replace(
        "lm_head.", "lm_head.modules_to_save.default."
    ),
    "another name": lambda key: Q_RAW.sub(r"\1.default_0", key),
    "both": lambda key: Q_RAW.sub(r"\1.default", key).removeprefix("base_model.model."),
    "magnitudes as weights": lambda key: re.sub("(magnitude_vector)$", r"\1.weight", key),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_tensors_under_the_names_of_other_tools_are_the_same_adapter(
    naming: str, tiny_base: Path, tmp_path: Path
) -> None:
    changed: dict[str, Any] = {"target_modules": ["q_proj", "embed_tokens"], "modules_to_save": ["lm_head"]}
    build_adapter(tmp_path / "adapter", tiny_base, r=4, **changed)
    if "magnitude" in naming:
        build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules=["q_proj"], use_dora=True)
    before = load_model(open_checkpoint(tmp_path / "adapter"), "cpu", torch.float32)(IDS).logits

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in list(tensors):
            tensors[NAMINGS[naming](key)] = tensors.pop(key)

    _change(tmp_path / "adapter", rename)
    assert any(
        "default" in key or "base_model" not in key or "vector.weight" in key for key in _names(tmp_path / "adapter")
    )
    assert torch.equal(load_model(open_checkpoint(tmp_path / "adapter"), "cpu", torch.float32)(IDS).logits, before)


def _names(folder: Path) -> list[str]:
    return list(load_file(folder / "adapter_model.safetensors"))


def test_a_base_may_be_named_relative_to_the_adapters_folder(tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "run" / "adapter")
    shutil.copytree(tiny_base, tmp_path / "run" / "model")
    _set(tmp_path / "run" / "adapter", base_model_name_or_path="../model")
    pair = open_pair("beside", None, tmp_path / "run" / "adapter", device="cpu")
    assert (pair.base.location, pair.notes) == ((tmp_path / "run" / "model").resolve(), ())


def test_an_adapter_may_bring_the_tokenizer_files_of_its_base(tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_base / name, tmp_path / "adapter")
    pair = open_pair("own", tiny_base, tmp_path / "adapter", device="cpu")
    assert pair.notes == ()
    assert pair.dormant.tokenizer.name_or_path == str((tmp_path / "adapter").resolve())


def test_an_adapter_upon_an_adapter_is_refused(adapter: Path) -> None:
    with pytest.raises(BadInput, match="must be read upon whole weights; got the adapter"):
        open_pair("twice", adapter, adapter, device="cpu")


def test_a_trainers_folder_is_its_last_adapter_and_one_with_earlier_ones_alone_names_them(
    adapter: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(adapter, run / "checkpoint-500")
    _change(run / "checkpoint-500", lambda tensors: tensors[A].neg_())
    with pytest.raises(BadInput, match=r"only in its subfolders \(checkpoint-500\); pass one of these"):
        open_checkpoint(run)
    shutil.copytree(adapter, run, dirs_exist_ok=True)
    assert open_checkpoint(run).fingerprint == open_checkpoint(adapter).fingerprint
