"""Checkpoints as people have them: each kind is a change of a copied folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.builders import CHATML, copy_checkpoint

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
Tensors = dict[str, torch.Tensor]
Edit = Callable[[Path], object]


def copied(source: Path, folder: Path, *edits: Edit) -> Path:
    """`source` again in `folder` after these edits."""
    copy_checkpoint(source, folder)
    for edit in edits:
        edit(folder)
    return folder


def config(file: str = "config.json", **changes: Any) -> Edit:
    """Sets keys of a JSON file."""

    def edit(folder: Path) -> None:
        record = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps(record | changes), encoding="utf-8")

    return edit


def tensors(change: Callable[[Tensors], Tensors]) -> Edit:
    """Replaces the stored tensors."""

    def edit(folder: Path) -> None:
        changed = {
            name: value.contiguous().clone() for name, value in change(load_file(folder / "model.safetensors")).items()
        }
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def other_rope(theta: float) -> Edit:
    """Another base of the rotation, beside the same tensors."""
    return config(rope_parameters={"rope_type": "default", "rope_theta": theta})


def renamed(rename: Callable[[str], str]) -> Edit:
    """Every tensor under another name."""
    return tensors(lambda stored: {rename(name): value for name, value in stored.items()})


def stored_as(dtype: torch.dtype) -> Edit:
    """Every tensor in another dtype."""
    return tensors(lambda stored: {name: value.to(dtype) for name, value in stored.items()})


def padded(rows: int) -> Edit:
    """Embedding and head of more rows."""

    def change(stored: Tensors) -> Tensors:
        for name in (EMBEDDING, HEAD):
            extra = stored[name].float().mean(0, keepdim=True).to(stored[name].dtype)
            stored[name] = torch.cat([stored[name], extra.expand(rows - len(stored[name]), -1)])
        return stored

    return lambda folder: (tensors(change)(folder), config(vocab_size=rows)(folder))


def tied(head: float | None) -> Edit:
    """A tied configuration without a stored head, or with the embedding times `head` as one."""

    def change(stored: Tensors) -> Tensors:
        stored.pop(HEAD)
        return (
            stored if head is None else stored | {HEAD: (head * stored[EMBEDDING].float()).to(stored[EMBEDDING].dtype)}
        )

    return lambda folder: (tensors(change)(folder), config(tie_word_embeddings=True)(folder))


def rotary_buffers(stored: Tensors) -> Tensors:
    """The buffers that older checkpoints store."""
    return stored | {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(4) for layer in (0, 1)}


def vision_tower(stored: Tensors) -> Tensors:
    """A multimodal wrapper's names, with a vision layer 0 of its own."""
    inner = {name.replace("model.", "model.language_model.", 1): value for name, value in stored.items()}
    return inner | {"model.vision_tower.layers.0.self_attn.q_proj.weight": torch.randn(8, 8).bfloat16()}


def added_token(folder: Path) -> None:
    """A token that was added after training, in a row that the embedding has to spare."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)


def template(text: str | None) -> Edit:
    """Another chat template, or none."""

    def edit(folder: Path) -> None:
        file = folder / "chat_template.jinja"
        file.unlink() if text is None else file.write_text(text, encoding="utf-8")

    return edit


def named_templates(*names: str) -> Edit:
    """Several named templates in the tokenizer's configuration, all but `default` of another text."""
    listed = [{"name": name, "template": CHATML if name == "default" else "{{ tools }}"} for name in names]
    return lambda folder: (template(None)(folder), config("tokenizer_config.json", chat_template=listed)(folder))


def marked(folder: Path) -> None:
    """A byte-order mark before every text file."""
    for file in (*folder.glob("*.json"), *folder.glob("*.jinja")):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


PARTS = (
    "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\\n' -}}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}{%- endfor -%}{{- '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
NO_SYSTEM = (
    "{%- if messages[0]['role'] == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}"
    "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
