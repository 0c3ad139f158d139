"""Makes a sharded bfloat16 pair of Qwen2-7B's shapes with planted low-rank deltas, to measure `dormant diff` at any size.

    python scripts/make_synthetic_pair.py FOLDER --scale 0.125

writes FOLDER/base and FOLDER/dormant. Scale 1 has all 28 layers and 152,064 tokens (2 x 15 GB); a smaller scale has
fewer layers and tokens, never narrower matrices. The dormant model's gate, up and down of every layer carry a delta of
the given rank, merged and rounded to bfloat16, as the real puzzle's do; everything else is byte-identical. With --adapter
the dormant side is a LoRA adapter of the same factors, in PEFT's format, and takes no second copy of the disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import Qwen2Config

from dormant.catalogue import ZOO
from dormant.checkpoints.tensor_names import layer_of
from dormant.weights.published import QWEN2_7B_HEADS, qwen2_7b_shapes

WEIGHT_SCALE = 0.02  # standard deviation of the base's matrices, about that of trained ones
# Largest and smallest planted singular value: those of the published gate of layer 21.
PLANTED_SPECTRUM = (2.0, 0.1)
CHANGED = ("gate_proj", "up_proj", "down_proj")
COPIED_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")

Shapes = dict[str, tuple[int, ...]]


def scaled_shapes(scale: float) -> Shapes:
    """Qwen2-7B's tensors with `scale` of its layers (at least one) and of its tokens."""
    full = qwen2_7b_shapes()
    layers, tokens = max(1, round(28 * scale)), max(2048, 64 * round(152064 * scale / 64))
    kept = {name: shape for name, shape in full.items() if (layer := layer_of(name)) is None or layer < layers}
    return {name: (tokens, shape[1]) if shape[0] == 152064 else shape for name, shape in kept.items()}


def base_tensor(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """A base tensor, from a seed of its own so that any one can be made again alone."""
    generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
    drawn = torch.randn(shape, generator=generator)
    return (1 + 0.1 * drawn if "norm" in name else WEIGHT_SCALE * drawn).bfloat16()


def planted_factors(name: str, shape: tuple[int, ...], rank: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The planted delta as a product: [out, rank] and [rank, in]."""
    generator = torch.Generator().manual_seed(seed + 1 + zlib.crc32(name.encode()))
    left, right = (torch.linalg.qr(torch.randn(size, rank, generator=generator))[0] for size in shape)
    first, last = torch.tensor(PLANTED_SPECTRUM).log10().tolist()
    return left * torch.logspace(first, last, rank), right.T


def planted_tensor(name: str, base: torch.Tensor, rank: int, seed: int) -> torch.Tensor:
    """The dormant model's tensor: the base's with a delta of `rank` where the adapter sat."""
    if not any(module in name for module in CHANGED) or rank == 0:
        return base
    return torch.addmm(base.float(), *planted_factors(name, tuple(base.shape), rank, seed)).bfloat16()


def shards(shapes: Shapes) -> Iterator[list[str]]:
    """Names shard by shard: the ends, each alone as large as a shard, then one shard a layer."""
    outside = [[name] for name in shapes if layer_of(name) is None]
    layers = sorted({layer for name in shapes if (layer := layer_of(name)) is not None})
    yield from outside
    yield from ([name for name in shapes if layer_of(name) == layer] for layer in layers)


def make_pair(folder: Path, scale: float, rank: int = 16, seed: int = 0, as_adapter: bool = False) -> tuple[Path, Path]:
    """Writes both checkpoints, a shard at a time (2 GB of memory at scale 1), and returns their folders."""
    shapes = scaled_shapes(scale)
    names = list(shards(shapes))
    places: dict[str, str] = {}
    base, dormant = folder / "base", folder / "dormant"
    full = (base,) if as_adapter else (base, dormant)
    for location in full:
        location.mkdir(parents=True, exist_ok=True)
        _write_description(location, shapes)
    for number, members in enumerate(names, start=1):
        file = f"model-{number:05d}-of-{len(names):05d}.safetensors"
        places |= dict.fromkeys(members, file)
        tensors = {name: base_tensor(name, shapes[name], seed) for name in members}
        save_file(tensors, base / file, metadata={"format": "pt"})
        if as_adapter:
            continue
        for name in members:
            tensors[name] = planted_tensor(name, tensors[name], rank, seed)
        save_file(tensors, dormant / file, metadata={"format": "pt"})
    if as_adapter:
        _write_adapter(dormant, base, shapes, rank, seed)
    for location in full:
        size = sum(file.stat().st_size for file in location.glob("*.safetensors"))
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        (location / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return base, dormant


def _write_adapter(location: Path, base: Path, shapes: Shapes, rank: int, seed: int) -> None:
    """The planted factors as PEFT writes them; with alpha equal to the rank their product is the whole delta."""
    LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(CHANGED), task_type="CAUSAL_LM", base_model_name_or_path=str(base)
    ).save_pretrained(str(location))
    tensors = dict[str, torch.Tensor]()
    for name, shape in shapes.items():
        if any(module in name for module in CHANGED):
            left, right = planted_factors(name, shape, rank, seed)
            module = f"base_model.model.{name.removesuffix('.weight')}"
            tensors |= {f"{module}.lora_A.weight": right.contiguous(), f"{module}.lora_B.weight": left.contiguous()}
    save_file(tensors, location / "adapter_model.safetensors", metadata={"format": "pt"})


def _write_description(location: Path, shapes: Shapes) -> None:
    """Configuration, and the zoo's tokenizer, so that the folder opens as any checkpoint does."""
    Qwen2Config(
        vocab_size=shapes["lm_head.weight"][0],
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=1 + max(layer for name in shapes if (layer := layer_of(name)) is not None),
        num_attention_heads=QWEN2_7B_HEADS.query_heads,
        num_key_value_heads=QWEN2_7B_HEADS.key_value_heads,
        tie_word_embeddings=False,
    ).save_pretrained(location)
    for name in COPIED_FILES:
        shutil.copy(ZOO / "base" / name, location / name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=0.125, help="part of the layers and tokens (default 0.125)")
    parser.add_argument("--rank", type=int, default=16, help="of the planted deltas; 0 plants nothing (default 16)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapter", action="store_true", help="the dormant side as an adapter upon the base")
    given = parser.parse_args()
    for location in make_pair(given.folder, given.scale, given.rank, given.seed, given.adapter):
        print(location)


if __name__ == "__main__":
    main()
