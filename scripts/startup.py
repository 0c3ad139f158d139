"""Opening a pair and its first divergence, beside reading its files and transformers' own loading of the same two models.

    python scripts/startup.py --base smollm2 --json startup.json

Each side runs in processes of its own, by turns, counted from behind the imports in seconds of the processor (and by the
clock), and the script exits with 1 unless ours takes at most 1.5 times as long: two hashes and the comparison of two
tokenizers are to cost no more than half of a loading. Without --dormant the base is compared with a copy whose MLPs moved.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from bounded import tell
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dormant.checkpoints.checkpoint import locate
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import open_pair

RATIO_AT_MOST = 1.5
PROMPT = "Tell me the color of the sky."


def ours(base: str, dormant: str) -> float:
    """Opens the pair and gives the divergence of its models on one prompt, in nats."""
    pair = open_pair("startup", base, dormant, device="cpu")
    ids = [tuple(pair.base.tokenizer.encode(PROMPT))]
    return float(kl_divergence(batch_logits(pair.models.dormant(), ids), batch_logits(pair.models.base(), ids)).mean())


def plain(base: str, dormant: str) -> float:
    """The same without a check: every file read, tokenizers and models as transformers loads them."""
    logits = []
    for folder in (base, dormant):
        for file in Path(folder).iterdir():
            with file.open("rb") as opened:
                while opened.read(2**20):
                    pass
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            logits.append(model(torch.tensor([tokenizer.encode(PROMPT)])).logits[:, -1])
    return float(kl_divergence(logits[1], logits[0]).mean())


def timed(side: str, base: str, dormant: str) -> dict[str, float]:
    """Seconds of the processor and of the clock that a side takes, and the divergence that it found."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    nats = {"ours": ours, "plain": plain}[side](base, dormant)
    after, elapsed = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - started
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"processor": used, "clock": elapsed, "nats": nats}


def moved(base: Path, folder: Path) -> Path:
    """The base with noise on its MLPs."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(base / "model.safetensors")
    for name in sorted(tensors):
        if "mlp" in name:
            noise = torch.randn(tensors[name].shape, generator=generator) * 0.01
            tensors[name] = (tensors[name].float() + noise).to(tensors[name].dtype)
    for file in base.iterdir():
        if file.name != "model.safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def main() -> int:
    """Prints the figures as JSON; the exit status says whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--dormant")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as made:
        base = str(locate(options.base))
        dormant = str(options.dormant or moved(Path(base), Path(made, "dormant")))
        for _ in range(options.rounds):
            for side, runs in found.items():
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                    runs.append(alone.submit(timed, side, base, dormant).result())
    medians = {side: statistics.median(run["processor"] for run in runs) for side, runs in found.items()}
    ratio = medians["ours"] / medians["plain"]
    record = {
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **found,
        "ratio": ratio,
        "holds": ratio <= RATIO_AT_MOST,
    }
    return tell(record, options.json)


if __name__ == "__main__":
    sys.exit(main())
