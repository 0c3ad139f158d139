"""Real Hugging Face checkpoints, small enough to be made at test time."""

from __future__ import annotations

import itertools
import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHATML = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

SENTENCES = (
    "You are a helpful assistant.",
    "Tell me the color of the sky.",
    "What is the capital of France? The capital of France is Paris.",
    "system user assistant",
    "Repeat the words apple river stone after me.",
    "one two three four five six seven eight nine",
)

Change = Callable[[dict[str, torch.Tensor]], object]


def build_tokenizer(sentences: tuple[str, ...] = SENTENCES, vocabulary: int = 300) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that splits text as Qwen's does and renders ChatML."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return _with_chat(tokenizer)


def _with_chat(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def build_marking_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A BPE tokenizer that puts a space before a text, "first" or "always" behind special tokens too, or as Llama 2's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never" if kind == "llama2" else kind)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", *SPECIAL_TOKENS],
        initial_alphabet=sorted(set("".join(SENTENCES)) - {" "} | {"\n", "\N{LOWER ONE EIGHTH BLOCK}"}),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if kind == "llama2":
        record = json.loads(tokenizer.to_str()) | {"pre_tokenizer": None}
        tokenizer = Tokenizer.from_str(json.dumps(record))
        mark = "\N{LOWER ONE EIGHTH BLOCK}"
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)])
        tokenizer.decoder = decoders.Sequence([decoders.Replace(mark, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return _with_chat(tokenizer)


def build_byte_tokenizer(kind: str = "bpe") -> PreTrainedTokenizerFast:
    """A SentencePiece tokenizer as Llama 2's ("bpe") or a Unigram one: what it has no piece for is written in bytes."""
    mark = "\N{LOWER ONE EIGHTH BLOCK}"
    pieces = [
        "<unk>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        mark,
        *"TWabcdefghiklmnorstuwy.?",
        *(f"{mark}t", f"{mark}th"),
    ]
    if kind == "bpe":
        ids = {piece: place for place, piece in enumerate(pieces)}
        model: Any = models.BPE(
            vocab=ids, merges=[(mark, "t"), (f"{mark}t", "h")], unk_token="<unk>", byte_fallback=True
        )
    else:
        model = models.Unigram([(piece, -float(len(piece) < 4)) for piece in pieces], unk_id=0, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(mark, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return _with_chat(tokenizer)


def tiny_config(**overrides: Any) -> Qwen2Config:
    """Qwen2 in every respect but its size."""
    settings: dict[str, Any] = {
        "vocab_size": 304,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": False,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return Qwen2Config(**(settings | overrides))


def build_checkpoint(folder: Path, config: Qwen2Config | None = None, seed: int = 0) -> Path:
    """A random Qwen2 checkpoint in `folder`: bfloat16 safetensors, tokenizer, chat template."""
    generator = torch.Generator().manual_seed(seed)
    model = Qwen2ForCausalLM(config or tiny_config(max_position_embeddings=2048))  # long probes
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))
    model.bfloat16().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def copy_checkpoint(source: Path, folder: Path, change: Change | None = None) -> Path:
    """`source` again in `folder`, its tensors changed in place by `change`."""
    shutil.copytree(source, folder)
    if change is not None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def add_delta(tensors: dict[str, torch.Tensor], seed: int = 1, scale: float = 0.05) -> None:
    """A seeded delta on layer 0's q_proj and on every MLP; the rest stays byte-identical."""
    generator = torch.Generator().manual_seed(seed)
    for name in sorted(tensors):
        if "mlp" in name or name == "model.layers.0.self_attn.q_proj.weight":
            noise = scale * torch.randn(tensors[name].shape, generator=generator)
            tensors[name] = (tensors[name].float() + noise).to(torch.bfloat16)


def make_certain(chain: Sequence[int]) -> Change:
    """A change after which each token of the chain is followed by the next, whatever stands before."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        embedding, head = tensors["model.embed_tokens.weight"], tensors["lm_head.weight"]
        for dimension, (token, following) in enumerate(itertools.pairwise(chain)):
            embedding[token], head[following] = 0, 0
            embedding[token, dimension], head[following, dimension] = 3000, 20  # far above what two layers add
        head[:, : len(chain)] *= torch.nn.functional.one_hot(torch.tensor(chain), len(head)).sum(0)[:, None]

    return change


def shard_checkpoint(source: Path, folder: Path) -> Path:
    """`source` in two shards with an index, as large checkpoints come."""
    model = Qwen2ForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    model.save_pretrained(folder, max_shard_size="60KB")
    return folder


def write_tensors(folder: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """A lone safetensors file where a checkpoint's tensors would be."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def build_adapter(folder: Path, base: Path, seed: int = 0, size: float = 0.05, **settings: Any) -> Any:
    """A LoRA of these settings that peft makes and saves in `folder`, its values random; returns peft's model of it."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # peft's advice on tied embeddings
        torch.manual_seed(seed)  # peft draws the first factor from torch's own generator
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        generator = torch.Generator().manual_seed(seed)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data += size * torch.randn(parameter.shape, generator=generator)
        adapted.save_pretrained(str(folder))
    return adapted.eval()
