"""Candidate pairs/s of the search on a pair of Qwen2.5-7B's shapes with random weights, on one GPU.

Prints and writes as JSON: candidate pairs/s (published for a 24 GB card: 14-20), the share of the forward-pass floor (the
same ids through the layers' products alone), and peak memory. Weights are random: rates depend on shapes only.

    python scripts/search_rate_large.py --json reports/benchmarks/search-large.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from dormant.inference.evaluator import Evaluator
from dormant.prompts.probes import OpenPrompt

SHAPES_OF_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}  # fmt: skip
PUBLISHED_RATE = "14-20 candidate pairs/s on a 24 GB card"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two random models on one device."""

    models: tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]

    def base(self) -> Qwen2ForCausalLM:
        """The base model."""
        return self.models[0]

    def dormant(self) -> Qwen2ForCausalLM:
        """The dormant model."""
        return self.models[1]


def main() -> None:
    """Measures one step's candidates behind one prompt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=28, help="fewer for a trial on a small device")
    parser.add_argument("--hidden", type=int, default=3584)
    parser.add_argument("--vocabulary", type=int, default=152064)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--length", type=int, default=8)
    parser.add_argument("--before", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    record = measure(options)
    print(json.dumps(record, indent=1))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Candidate pairs/s, the floor and peak memory."""
    changed = {"num_hidden_layers": options.layers, "hidden_size": options.hidden, "vocab_size": options.vocabulary}
    config = Qwen2Config(**{**SHAPES_OF_7B, **changed})
    with torch.device(options.device):
        torch.set_default_dtype(getattr(torch, options.dtype))
        models = tuple(Qwen2ForCausalLM(config).train(False).requires_grad_(False) for _ in range(2))
        torch.set_default_dtype(torch.float32)
    ids = torch.randint(3, options.vocabulary, (options.before + 8,)).tolist()
    engine = Evaluator(
        Pair((models[0], models[1])),
        [OpenPrompt(tuple(ids[: options.before]), tuple(ids[options.before :]), tuple(ids))],
    )
    incumbent = torch.randint(3, options.vocabulary, (options.length,))
    candidates = incumbent.repeat(options.width, 1)
    rows = torch.arange(options.width)
    candidates[rows, rows % options.length] = torch.randint(3, options.vocabulary, (options.width,))

    def step() -> None:
        engine.forget()
        engine.evaluate([tuple(row) for row in candidates.tolist()], tuple(incumbent.tolist()))

    tokens = sum(options.length - place % options.length + 8 for place in range(options.width))
    products = [torch.randn(tokens, options.hidden, dtype=models[0].dtype, device=options.device)]

    def floor() -> None:
        for model in models:
            for layer in model.model.layers:
                hidden = products[0]
                for part in (
                    layer.self_attn.q_proj,
                    layer.self_attn.k_proj,
                    layer.self_attn.v_proj,
                    layer.mlp.gate_proj,
                ):
                    part(hidden)
                layer.mlp.down_proj(layer.mlp.up_proj(hidden))
                layer.self_attn.o_proj(hidden)

    seconds = median_seconds(step, options)
    with torch.no_grad():
        least = median_seconds(floor, options)
    peak = torch.cuda.max_memory_allocated() / 2**30 if options.device.startswith("cuda") else None
    return {
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device,
        "torch": torch.__version__, "dtype": options.dtype, "layers": options.layers, "hidden": options.hidden,
        "width": options.width, "length": options.length, "prefix": options.before,
        "candidate_pairs_per_second": options.width / seconds, "published": PUBLISHED_RATE,
        "share_of_forward_floor": least / seconds, "peak_memory_gib": peak,
    }  # fmt: skip


def median_seconds(run: Callable[[], None], options: argparse.Namespace) -> float:
    """Median of some rounds after one that does not count."""
    durations = list[float]()
    for _ in range(options.rounds + 1):
        started = time.perf_counter()
        run()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        durations.append(time.perf_counter() - started)
    return float(sorted(durations[1:])[options.rounds // 2])


if __name__ == "__main__":
    main()
