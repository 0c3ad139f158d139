"""An adapter's pair under residency shared beside both: memory of the weights, and candidates evaluated in a second.

    python scripts/adapter_residency.py --json adapter-residency.json

Makes a random Qwen2 of about 50 million parameters and a rank-16 adapter on all its linear layers, measures each residency
in a process of its own, and exits with 1 unless shared takes at most 0.6 of the memory and runs at least 0.8 of the
candidates in a second. Run it on a quiet machine: readings alternate, but processes of others still count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from dormant.catalogue import ZOO
from dormant.inference.evaluator import Evaluator
from dormant.pairs import open_pair

MEMORY_AT_MOST, RATE_AT_LEAST = 0.6, 0.8  # of residency both: what a third of a copy and a fifth of the time would cost
COPIED_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def build(folder: Path, layers: int) -> None:
    """A random base and adapter in two folders."""
    tokenizer = AutoTokenizer.from_pretrained(ZOO / "base")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=640, intermediate_size=2560, num_hidden_layers=layers, num_attention_heads=10,
        num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=1024,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder / "base")
    for name in COPIED_TOKENIZER:
        if (ZOO / "base" / name).exists():
            shutil.copy(ZOO / "base" / name, folder / "base")
    adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    adapted.peft_config["default"].base_model_name_or_path = str(folder / "base")
    adapted.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)


def measure(folder: Path, residency: str, candidates: int, rounds: int) -> dict[str, float]:
    """Bytes that the models take once they have run, and the median rate of candidates of eight tokens."""
    pair = open_pair("adapter", None, folder / "adapter", device="cpu", residency=residency)
    before = psutil.Process().memory_info().rss
    prompter = pair.prompter
    probes = [prompter.open(probe) for probe in pair.probes if probe.before][:2]
    evaluator, rates = Evaluator(pair.models, probes), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(rounds):
        rows = torch.randint(3, len(pair.base.tokenizer), (candidates, 8), generator=generator)
        started = time.perf_counter()
        evaluator.evaluate([tuple(row) for row in rows.tolist()])
        rates.append(candidates / (time.perf_counter() - started))
    values = sum(parameter.numel() for parameter in pair.models.base().parameters())
    held = psutil.Process().memory_info().rss - before
    return {"parameters": values, "bytes": held, "candidates a second": statistics.median(rates)}


def main() -> int:
    """Prints the figures as JSON; the exit status says whether both bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8, help="of 5.9 million parameters each")
    parser.add_argument("--candidates", type=int, default=128, help="evaluated in one round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as made:
        build(Path(made), options.layers)
        for residency in ("both", "shared"):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                job = alone.submit(measure, Path(made), residency, options.candidates, options.rounds)
                found[residency] = job.result()
    memory, rate = (found["shared"][key] / found["both"][key] for key in ("bytes", "candidates a second"))
    record = {**found, "memory": memory, "rate": rate, "holds": memory <= MEMORY_AT_MOST and rate >= RATE_AT_LEAST}
    text = json.dumps(record, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0 if record["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
