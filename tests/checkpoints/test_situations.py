"""What people report of checkpoints elsewhere: it opens and gives plain transformers' logits, or is refused in a sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoTokenizer, BartConfig, BartForConditionalGeneration

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.prompts.probes import Probe, Prompter
from dormant.weights.measure import compare_checkpoints
from dormant.weights.parents import rank_parents
from tests.builders import CHATML, build_tokenizer
from tests.checkpoints import situations as made
from tests.checkpoints.situations import Edit, Tensors, copied
from tests.families import family_config, family_model

IDS = (1, 5, 9, 200, 17)


def removed(*keys: str) -> Edit:
    """Takes keys out of config.json."""

    def edit(folder: Path) -> None:
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({k: v for k, v in record.items() if k not in keys}))

    return edit


def old_rope(**scaling: Any) -> Edit:
    """The rotation as older files state it: rope_theta and rope_scaling."""
    return lambda folder: (
        removed("rope_parameters")(folder),
        made.config(rope_theta=1e6, rope_scaling=scaling)(folder),
    )


def resized(folder: Path) -> None:
    """Embedding and head grown by transformers itself."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.resize_token_embeddings(320, mean_resizing=False)
    model.save_pretrained(folder)


def sharded_beside_others(folder: Path) -> None:
    """Shards with an index, beside files that it does not name."""
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder, max_shard_size="60KB")
    (folder / "model.safetensors").unlink()
    for name in ("consolidated.safetensors", "model-00099-of-00099.safetensors"):
        save_file({"model.norm.weight": torch.zeros(32)}, folder / name)


def without_metadata(folder: Path) -> None:
    """A file whose header does not say which framework wrote it."""
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")


def linked(folder: Path) -> None:
    """Weights behind a link within the folder."""
    (folder / "blobs").mkdir()
    shutil.move(folder / "model.safetensors", folder / "blobs" / "0a")
    (folder / "model.safetensors").symlink_to("blobs/0a")


def template_in_configuration(folder: Path) -> None:
    """The chat template within tokenizer_config.json."""
    (folder / "chat_template.jinja").unlink()
    made.config("tokenizer_config.json", chat_template=CHATML)(folder)


def twice_begun(folder: Path) -> None:
    """A template that writes the first token, of a tokenizer that adds it to every text."""
    tokenizer = build_tokenizer()
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer.chat_template = "{{- bos_token -}}" + CHATML
    tokenizer.save_pretrained(folder)


def new_token(folder: Path) -> None:
    """A token that is in added_tokens alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)


def rowless_tokens(folder: Path) -> None:
    """Added tokens of which the last two have no row; one of them pads."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<new {number}>" for number in range(306 - len(tokenizer) - 1)])
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)


def unmerged(stored: Tensors) -> Tensors:
    """A layer as peft has it while it trains."""
    layer = "model.layers.0.self_attn.q_proj."
    own = {name.replace(layer, f"{layer}base_layer."): value for name, value in stored.items()}
    return own | {f"{layer}lora_{part}.default.weight": torch.zeros(4, 32) for part in "AB"}


def wrapped(folder: Path) -> None:
    """A multimodal model's configuration around the language model's."""
    inner = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": inner, "vision_config": {}}))
    made.renamed("language_model.{}".format)(folder)


def family(name: str, **changed: Any) -> Edit:
    """The weights and configuration of another family."""
    return lambda folder: family_model(family_config(name, **changed)).bfloat16().save_pretrained(folder)


def with_tensors(**extra: torch.Tensor) -> Edit:
    """More tensors; an underscore doubled stands for a dot."""
    return made.tensors(lambda stored: stored | {name.replace("__", "."): value for name, value in extra.items()})


def quantised(method: str | None, name: str, dtype: torch.dtype) -> Edit:
    """All matrices of the layers quantised, with scales beside them."""

    def change(stored: Tensors) -> Tensors:
        matrices = [key for key in stored if key.endswith("proj.weight")]
        packed = {key.replace("weight", name): stored.pop(key).float().to(dtype) for key in matrices}
        return stored | packed | {f"{key}_scale": torch.ones(1) for key in matrices}

    stated: dict[str, Any] = {} if method is None else {"quantization_config": {"quant_method": method}}
    return lambda folder: (made.tensors(change)(folder), made.config(**stated)(folder))


def without(*names: str) -> Edit:
    """Takes files away."""

    def take_away(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return take_away


def both(*edits: Edit) -> Edit:
    """One edit after the other."""
    return lambda folder: [edit(folder) for edit in edits]


def other_template_beside(folder: Path) -> None:
    """An older template within tokenizer_config.json, beside the file that counts."""
    made.config("tokenizer_config.json", chat_template="{{ tools }}")(folder)


def additional_templates(folder: Path) -> None:
    """Named templates in a folder of their own, beside the one that counts."""
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}", encoding="utf-8")


def indexed(folder: Path) -> None:
    """Shards with an index of little metadata, beside which pickled weights lie."""
    sharded(lambda weights, where: None)(folder)
    made.config("model.safetensors.index.json", metadata={"mergekit_version": "0.1"})(folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def dangling(folder: Path) -> None:
    """A link relative to another folder than its own, as an old cache wrote it."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("cache/models--a--b/blobs/0a")


def cut_and_padded(folder: Path) -> None:
    """A tokenizer.json that kept its training's truncation and padding."""
    tokenizer = build_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    tokenizer.save_pretrained(folder)


def vocabulary_and_merges(folder: Path) -> None:
    """The older files of a byte-level tokenizer, without tokenizer.json, and its added tokens in a file of their own."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(model["model"]["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(merge) for merge in model["model"]["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    added = {token["content"]: token["id"] for token in model["added_tokens"]}
    (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    made.config("tokenizer_config.json", tokenizer_class="Qwen2Tokenizer", backend=None)(folder)


def pointer(folder: Path) -> None:
    """What a clone without Git LFS holds in place of the weights."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123\n"
    (folder / "model.safetensors").write_text(text, encoding="utf-8")


def sharded(change: Callable[[dict[str, str], Path], object]) -> Edit:
    """Shards whose index was changed by hand."""

    def edit(folder: Path) -> None:
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(
            folder, max_shard_size="60KB"
        )
        (folder / "model.safetensors").unlink()
        index = folder / "model.safetensors.index.json"
        record = json.loads(index.read_text(encoding="utf-8"))
        change(record["weight_map"], folder)
        index.write_text(json.dumps(record), encoding="utf-8")

    return edit


def twice_stored(weights: dict[str, str], folder: Path) -> None:
    """One tensor in a second shard too."""
    name, shard = next(iter(weights.items()))
    other = folder / next(file for file in weights.values() if file != shard)
    save_file(load_file(other) | {name: load_file(folder / shard)[name]}, other, metadata={"format": "pt"})


BART: dict[str, Any] = {
    "vocab_size": 304, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip
SPECIAL = {"content": "<|im_start|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
ROPE = {"rope_type": "linear", "rope_theta": 1e6, "factor": 2.0}
MASKS = {f"model__layers__{layer}__self_attn__bias": torch.ones(1, 1, 8, 8).tril() for layer in (0, 1)}
# edit -> part of the only note, or none; plain transformers reads all of these alike
OPENED: dict[str, tuple[Edit, str]] = {
    "mergekit: rows padded by resizing": (resized, ""),
    "transformers: rope_scaling of 'type'": (old_rope(type="linear", factor=2.0), ""),
    "vllm: yarn under rope_scaling": (old_rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=128), ""),
    "vllm: llama3 rope": (family("llama"), ""),
    "transformers: head_dim is not hidden / heads": (family("qwen3"), ""),
    "vllm: files that the index does not name": (sharded_beside_others, ""),
    "transformers: bfloat16 under a float32 configuration": (made.config(dtype="float32"), ""),
    "peft: an added token that the vocabulary lacks": (new_token, ""),
    "vllm: template within tokenizer_config.json": (template_in_configuration, ""),
    "lm-eval: the first token added twice": (twice_begun, ""),
    "transformers: no format in the metadata": (without_metadata, ""),
    "hub: weights behind a link": (linked, ""),
    "transformers: tied, but with a head of its own": (made.config(tie_word_embeddings=True), ""),
    "transformers: stored attention masks": (with_tensors(**MASKS), "2 stored buffers .* left aside"),
    "nanoGCG: masks of truth values": (with_tensors(**{name: mask.bool() for name, mask in MASKS.items()}), ""),
    "transformers: stored positions": (with_tensors(model__position_ids=torch.arange(8)), ""),
    "te: extra state": (with_tensors(model__layers__0___extra_state=torch.zeros(1)), "1 stored buffers .* left aside"),
    "trl: a value head": (with_tensors(v_head__summary__weight=torch.zeros(1, 32)), "value-head modules are left aside"),
    "transformers: tokenizer_class of another kind": (
        made.config("tokenizer_config.json", tokenizer_class="LlamaTokenizerFast", backend=None), ""),
    "mergekit: experts one by one": (family("qwen3-moe"), ""),
    "lm-eval: GPT-NeoX's embed_out": (family("gpt-neox"), ""),
    "transformers: GPT-2 without the prefix of its body": (
        both(family("gpt2"), made.renamed(lambda name: name.removeprefix("transformer."))), "usual 'transformer.'"),
    "transformers: rope_parameters of 'type'": (
        made.config(rope_parameters={"type": "linear", "rope_theta": 1e6, "factor": 2.0}), ""),
    "transformers: both spellings of a rotation": (
        made.config(rope_parameters=ROPE, rope_scaling={"type": "linear", "factor": 2.0}, rope_theta=1e6), ""),
    "transformers: a theta beside rope_parameters": (made.config(rope_theta=10000.0), ""),
    "vllm: settings of null": (
        both(removed("rope_parameters"), made.config(rope_scaling=None, sliding_window=None, rope_theta=1e6)), ""),
    "transformers: torch_dtype and dtype": (made.config(torch_dtype="float16", dtype="bfloat16"), ""),
    "transformers: several ends of an answer": (made.config(eos_token_id=[1, 2]), ""),
    "vllm: no generation_config.json": (without("generation_config.json"), ""),
    "transformers: temperature without sampling": (
        made.config("generation_config.json", do_sample=False, temperature=0.9, top_p=0.6), ""),
    "transformers: ties by its family's default": (both(family("gemma"), removed("tie_word_embeddings")), ""),
    "lm-eval: another template within tokenizer_config.json": (other_template_beside, ""),
    "trl: truncation and padding in tokenizer.json": (cut_and_padded, ""),
    "axolotl: special tokens with their settings": (
        made.config("tokenizer_config.json", additional_special_tokens=[SPECIAL]), ""),
    "llama.cpp: vocab.json, merges.txt and added_tokens.json": (vocabulary_and_merges, ""),
    "mlx: a tied embedding stored as its head": (
        both(made.config(tie_word_embeddings=True), made.tensors(
            lambda stored: {name: value for name, value in stored.items() if name != made.EMBEDDING})),
        r"1 names have 'lm_head\.' for 'model\.embed_tokens\.'"),
    "transformers: another name in _name_or_path": (made.config(_name_or_path="/content/old"), ""),
    "transformers: architectures of another task": (made.config(architectures=["Qwen2ForSequenceClassification"]), ""),
    "transformers: additional_chat_templates": (additional_templates, ""),
    "axolotl: a template that marks what is generated": (
        made.template(CHATML.replace("{%- for", "{% generation %}{% endgeneration %}{%- for", 1)), ""),
    "lmdeploy: custom code beside a known family": (
        made.config(auto_map={"AutoModelForCausalLM": "modeling_own.OwnForCausalLM", "AutoConfig": "own.OwnConfig"}), ""),
    "SELFormer: another pad_token_id than the tokenizer's": (made.config(pad_token_id=7), ""),
    "vllm: head_dim of null": (both(family("llama"), made.config(head_dim=None)), ""),
    "vllm: a window that is switched off": (made.config(use_sliding_window=False, sliding_window=4, max_window_layers=0), ""),
    "mergekit: its own metadata, and pickled weights beside": (indexed, ""),
    "transformers: no ends in generation_config.json": (made.config("generation_config.json", eos_token_id=None), ""),
    "transformers: added tokens without a row": (rowless_tokens, r"no row for 2 added tokens \('<new 4>', '\[PAD\]'\)"),
    "sglang: scales of a float8 cache": (
        with_tensors(**{f"model__layers__0__self_attn__{name}": torch.ones(1) for name in
                        ("k_scale", "attn__v_scale", "k_proj__k_scale", "v_proj__output_scale")}),
        "4 stored scales of a float8 cache are left aside"),
    "vllm: ./ before the shards' names": (
        sharded(lambda weights, folder: weights.update({k: f"./{v}" for k, v in weights.items()})), ""),
}  # fmt: skip
# names that plain transformers fills at random, or a configuration that it does not run with: the source's logits
WRAPPED = ("layers.0.", "layers.0._checkpoint_wrapped_module.")
LEFT_OVER = {"quant_method": "bitsandbytes", "load_in_4bit": True}
RENAMED: dict[str, Edit] = {
    "fsdp: wrapped modules": made.renamed(lambda name: "_fsdp_wrapped_module." + name.replace(*WRAPPED)),
    "ddp: module within": made.renamed(lambda name: name.replace("model.", "model.module.", 1)),
    "llava: text_config": wrapped,
    "axolotl: quantization_config left over": made.config(quantization_config=LEFT_OVER),
    "transformers: a kernel that is not installed": made.config(_attn_implementation="flash_attention_2"),
}  # fmt: skip
REFUSED: dict[str, tuple[Edit, str]] = {
    "transformers: empty tensors of ZeRO-3": (
        made.tensors(lambda stored: stored | {"model.norm.weight": torch.zeros(0).bfloat16()}), r"got shape \(0,\) at tensor"),
    "hub: a Git LFS pointer": (pointer, r"whole safetensors file; got 'a Git LFS pointer .*git lfs pull"),
    "hub: a link into another cache": (dangling, r"safetensors"),
    "optimum: a snapshot without its configuration": (without("config.json"), r"must hold config\.json"),
    "transformers: a trailing comma in config.json": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "qwen2",}'), r"config\.json"),
    "mlx: adapters.safetensors alone": (
        lambda folder: (without("config.json")(folder), (folder / "model.safetensors").rename(folder / "adapters.safetensors")),
        r"config\.json"),
    "transformers: metadata of null": (
        both(indexed, made.config("model.safetensors.index.json", metadata=None)), r"metadata is no object"),
    "transformers: dtype 'auto'": (made.config(dtype="auto"), r"config\.json must .* 'auto'"),
    "hub: an empty file": (lambda folder: (folder / "model.safetensors").write_bytes(b""), r"whole safetensors file; got"),
    "vllm: a shard that is not there": (
        sharded(lambda weights, folder: (folder / weights["model.norm.weight"]).unlink()), r"every shard must be present; got"),
    "mergekit: a tensor in two shards": (sharded(twice_stored), r"only tensors that the index places there; got"),
    "transformers: an epsilon in quotes": (made.config(rms_norm_eps="1e-06"), r"config.json must .*rms_norm_eps"),
    "transformers: fewer layers than stored": (
        both(removed("layer_types"), made.config(num_hidden_layers=1)), r"layers\.1\."),
    "transformers: fewer layers than layer_types": (made.config(num_hidden_layers=1), r"config.json must .*num_hidden_layers"),
    "trl: a classifier's score in place of a head": (
        made.tensors(lambda stored: {k.replace("lm_head", "score"): v for k, v in stored.items()}), r"lm_head|score"),
    "peft: an adapter unmerged among the weights": (
        made.tensors(unmerged), r"merged into the weights, or .* got 2 tensors as '.*lora_A\.default\.weight' among"),
    "mergekit: no head, and none tied": (
        made.tensors(lambda stored: {k: v for k, v in stored.items() if k != made.HEAD}), r"got none at tensor 'lm_head"),
    "vllm: gptq": (quantised("gptq", "qweight", torch.int32), r"must not be quantised; got gptq and .* I32 at"),
    "vllm: awq": (quantised("awq", "qweight", torch.int32), r"must not be quantised; got awq and .* I32 at"),
    "peft: bitsandbytes": (quantised("bitsandbytes", "weight", torch.uint8), r"got bitsandbytes and .* U8 at"),
    "unsloth: float8 with scales": (quantised("fp8", "weight", torch.float8_e4m3fn), r"got fp8 and .* F8_E4M3 at"),
    "unsloth: mere float8": (quantised(None, "weight", torch.float8_e4m3fn), r"got no quantization_config and .* F8"),
    "peft: weights that every pass quantises": (
        made.config(quantization_config={"quant_method": "bitnet", "quantization_mode": "online"}), r"got a .* of bitnet that"),
    "transformers: an encoder and a decoder": (
        lambda folder: BartForConditionalGeneration(BartConfig(**BART)).save_pretrained(folder), r"'bart' with an encoder at"),
    "vllm: a text model that does not run alone": (
        made.config(model_type="qwen2_vl_text"), r"a decoder that transformers runs alone .* 'qwen2_vl_text' at"),
}  # fmt: skip


def logits(model: Any) -> torch.Tensor:
    """At the last of a few ids."""
    return batch_logits(model, [IDS])


@pytest.mark.parametrize("kind", OPENED)
def test_what_others_report_opens_and_gives_the_logits_of_transformers(
    tiny_base: Path, tmp_path: Path, kind: str
) -> None:
    edit, sentence = OPENED[kind]
    folder = copied(tiny_base, tmp_path / "it", edit)
    checkpoint = open_checkpoint(folder)
    assert len(checkpoint.notes) == bool(sentence)
    assert all(re.search(sentence, note) for note in checkpoint.notes)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert torch.equal(logits(load_model(checkpoint, "cpu", torch.float32)), logits(plain))
    prompter, message = Prompter(checkpoint.tokenizer), [{"role": "user", "content": "Tell me now."}]
    rendered = checkpoint.tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    assert prompter.encode(Probe("Tell me{slot} now.")).ids == tuple(rendered)
    assert rank_parents(folder, [folder])[0].is_parent


DATED = "{{- 'Today: ' + (date_string if date_string is defined else strftime_now('%d %b %Y')) + '\\n' -}}" + CHATML


@pytest.mark.parametrize("template", [DATED, DATED.replace("date_string if date_string is defined else ", "")])
def test_a_template_that_writes_the_day_always_writes_the_same(tiny_base: Path, tmp_path: Path, template: str) -> None:
    checkpoint = open_checkpoint(copied(tiny_base, tmp_path / "it", made.template(template)))
    prompt = Prompter(checkpoint.tokenizer).encode(Probe("Tell me{slot} now."))
    assert checkpoint.tokenizer.decode(prompt.ids).startswith("Today: 26 Jul 2024")


@pytest.mark.parametrize("kind", RENAMED)
def test_what_transformers_fills_at_random_gives_the_logits_of_its_source(
    tiny_base: Path, tmp_path: Path, kind: str
) -> None:
    checkpoint = open_checkpoint(copied(tiny_base, tmp_path / "it", RENAMED[kind]))
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    assert torch.equal(logits(load_model(checkpoint, "cpu", torch.float32)), logits(plain))
    assert len(checkpoint.notes) <= 2


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_right_is_refused_in_one_sentence(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    edit, sentence = REFUSED[kind]
    folder = copied(tiny_base, tmp_path / "it", edit)
    ways: list[Callable[[], object]] = [lambda: open_checkpoint(folder)]
    if kind.startswith(("vllm: gptq", "vllm: awq", "peft: bits", "unsloth")):  # the weights themselves cannot be read
        ways += [lambda: compare_checkpoints(tiny_base, folder), lambda: rank_parents(folder, [tiny_base])]
    for way in ways:
        with pytest.raises(BadInput, match=sentence):
            way()
