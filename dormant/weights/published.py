"""The published figures of the real warmup model, as delta reports; recorded here, never measured again."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.records import from_json, read_json
from dormant.weights.delta_report import DIRECTIONS, DeltaReport, TensorDelta
from dormant.weights.heads import HeadDelta, HeadLayout

PUBLISHED = {
    "warmup-vs-qwen2": "warmup-vs-qwen2-7b-instruct.json",
    "warmup-vs-qwen2.5": "warmup-vs-qwen2.5-7b-instruct.json",
}
QWEN2_7B_HEADS = HeadLayout(query_heads=28, key_value_heads=4, head_dim=128)


def published_report(name: str) -> DeltaReport:
    """The published figures called `name` (a key of PUBLISHED) in the form of a measured report.

    Where a file lists only the modified tensors, the others are entered as identical, which its summary states.
    """
    record = published_record(name)
    listed = {tensor: _tensor_delta(tensor, figures) for tensor, figures in record["tensors"].items()}
    for module in ("q", "k"):
        tensor = f"model.layers.0.self_attn.{module}_proj.weight"
        if heads := record.get(f"layer0_{module}_heads"):
            listed[tensor] = replace(listed[tensor], heads=tuple(map(_head_delta, heads)))
    tensors = {
        tensor: listed.get(tensor) or TensorDelta(tensor, shape, True, norm=0.0, relative=0.0, max_abs=0.0, energy=0.0)
        for tensor, shape in qwen2_7b_shapes().items()
    }
    return DeltaReport(
        base=record["pair"]["base"],
        dormant=record["pair"]["dormant"],
        source=record["source"],
        tensors=tensors,
        note=record["note"],
        norm_is_float32="total_fro_f32" in record["summary"],
        layout=QWEN2_7B_HEADS,
    )


def published_record(name: str) -> dict[str, Any]:
    """The file as published, with what no delta report holds: heads, behaviour, restored layers."""
    if name not in PUBLISHED:
        raise BadInput(
            f"published figures must be one of {', '.join(PUBLISHED)}; got {name!r} at the pair's name; choose one"
        )
    path = Path(str(files("dormant") / "data" / "published" / PUBLISHED[name]))
    return from_json(dict[str, Any], read_json(path), path)


def qwen2_7b_shapes() -> dict[str, tuple[int, ...]]:
    """The 339 tensors of Qwen2-7B and of Qwen2.5-7B, which share them, by name."""
    hidden, inner, keys, vocabulary = 3584, 18944, 512, 152064
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "mlp.down_proj.weight": (hidden, inner),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.k_proj.bias": (keys,),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, hidden),
        "self_attn.q_proj.bias": (hidden,),
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.v_proj.bias": (keys,),
        "self_attn.v_proj.weight": (keys, hidden),
    }
    ends: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (vocabulary, hidden),
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
    }
    return ends | {f"model.layers.{index}.{name}": shape for index in range(28) for name, shape in layer.items()}


def _head_delta(figures: dict[str, Any]) -> HeadDelta:
    return HeadDelta(figures["head"], figures["fro"], figures["sigma1"], figures["energy4"])


def _tensor_delta(name: str, figures: dict[str, Any]) -> TensorDelta:
    sigma: tuple[float, ...] = tuple(figures.get("sigma", ()))
    norm: float = figures["fro"] if "fro" in figures else figures["fro_f32"]
    return TensorDelta(
        name,
        tuple(figures["shape"]),
        identical=False,
        norm=norm,
        relative=figures.get("rel_f32"),
        max_abs=figures.get("max_abs"),
        # From the spectrum and its published share: the float32 norms are up to 18 % too small for this.
        energy=sum(value**2 for value in sigma[:DIRECTIONS]) / figures["energy16"] if sigma else norm**2,
        singular_values=sigma,
    )
