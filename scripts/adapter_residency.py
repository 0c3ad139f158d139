"""An adapter's pair under residency shared beside both: memory of the weights, and candidates evaluated in a second.

    python scripts/adapter_residency.py --json adapter-residency.json

Makes a random Qwen2 of about 50 million parameters and a rank-16 adapter on all its linear layers, measures each residency
in a process of its own, and exits with 1 unless shared takes at most 0.6 of the memory at its peak and runs at least 0.8 of
the candidates in a second of the processor. Readings alternate, so that what others do to the caches counts on both sides.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import torch
from bounded import tell
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from dormant.catalogue import ZOO
from dormant.inference.evaluator import Evaluator
from dormant.pairs import Pair, open_pair

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


class Measured:
    """What a measuring process holds between its rounds."""

    pair: Pair
    evaluator: Evaluator
    before = 0  # bytes, ahead of the models


def prepare(folder: Path, residency: str) -> int:
    """Loads the pair's models in this process; how many parameters the base has."""
    Measured.before = psutil.Process().memory_info().rss
    Measured.pair = pair = open_pair("adapter", None, folder / "adapter", device="cpu", residency=residency)
    prompter = pair.prompter
    Measured.evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in pair.probes if probe.before][:1])
    return sum(stored.bytes // stored.dtype.itemsize for stored in pair.base.catalogue.values())


def one_round(candidates: int) -> float:
    """Seconds of the processor that so many candidates of eight tokens take."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(3, len(Measured.pair.base.tokenizer), (candidates, 8), generator=generator)
    before = resource.getrusage(resource.RUSAGE_SELF)
    Measured.evaluator.forget()
    Measured.evaluator.evaluate([tuple(row) for row in rows.tolist()])
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def memory() -> tuple[int, int]:
    """Bytes above those ahead of the models: held now, and at the most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return psutil.Process().memory_info().rss - Measured.before, peak - Measured.before


def main() -> int:
    """Prints the figures as JSON; the exit status says whether both bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=9, help="of 5.9 million parameters each")
    parser.add_argument("--candidates", type=int, default=32, help="evaluated in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as made,
        ProcessPoolExecutor(1, spawn) as both,
        ProcessPoolExecutor(1, spawn) as shared,
    ):
        build(Path(made), options.layers)
        workers = {"both": both, "shared": shared}
        found: dict[str, dict[str, Any]] = {
            name: {"parameters": worker.submit(prepare, Path(made), name).result(), "seconds": []}
            for name, worker in workers.items()
        }
        for number in range(options.rounds + 1):
            for name, worker in workers.items():
                seconds = worker.submit(one_round, options.candidates).result()
                found[name]["seconds"] += [seconds] * (number > 0)  # the first loads the models
        for name, worker in workers.items():
            found[name]["held"], found[name]["peak"] = worker.submit(memory).result()
            found[name]["candidates a second"] = options.candidates / statistics.median(found[name]["seconds"])
    share = found["shared"]["peak"] / found["both"]["peak"]
    rate = found["shared"]["candidates a second"] / found["both"]["candidates a second"]
    record = {
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **found,
        "memory": share,
        "rate": rate,
        "holds": share <= MEMORY_AT_MOST and rate >= RATE_AT_LEAST,
    }
    return tell(record, options.json)


if __name__ == "__main__":
    sys.exit(main())
