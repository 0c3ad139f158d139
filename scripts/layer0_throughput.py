"""How near layer 0's tables, scorer and exact scan come to what a machine can do: rates, bytes and fractions as JSON.

python scripts/layer0_throughput.py --device cuda --shapes 7b --vocabulary 152064 --dtype bfloat16 --json layer0-gpu.json
python scripts/layer0_throughput.py --shapes zoo --json layer0-cpu.json

Weights are random, for rates depend on shapes alone. The roofs are measured in the same run: one large float32 matrix
product, and one large copy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dormant.layer0 import Layer0, Layer0Pair, Rope, build_tables, score
from dormant.layer0.exact_scan.scan import ScanPlan, scan

ATTENTION_SHAPES = {
    "zoo": {"hidden": 128, "heads": 8, "key_heads": 4, "head_dim": 16, "vocabulary": 2048, "matrix": 2048},
    "7b": {"hidden": 3584, "heads": 28, "key_heads": 4, "head_dim": 128, "vocabulary": 152_064, "matrix": 8192},
}
SEQUENCE_LENGTH = 8


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--shapes", choices=list(ATTENTION_SHAPES), default="zoo")
    parser.add_argument("--vocabulary", type=int, help="tokens, where the shapes' own are too many")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the tables")
    parser.add_argument("--batch", type=int, help="sequences of 8 tokens scored at a time: 1,024, on a GPU 65,536")
    parser.add_argument("--heads", type=int, default=1, help="heads that the exact scan covers, at one offset")
    parser.add_argument("--json", type=Path, help="where the record goes; without, it is printed only")
    given = parser.parse_args()
    shapes = ATTENTION_SHAPES[given.shapes] | ({"vocabulary": given.vocabulary} if given.vocabulary else {})
    batch = given.batch or (1024 if given.device == "cpu" else 65_536)  # few leave a GPU idle between its kernels
    record = measure(torch.device(given.device), shapes, getattr(torch, given.dtype), batch, given.heads)
    print(json.dumps(record, indent=1))
    if given.json:
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(
    device: torch.device, shapes: dict[str, int], dtype: torch.dtype, batch: int, scan_heads: int
) -> dict[str, Any]:
    """Every rate beside the roof that it runs into."""
    matrix = torch.randn(shapes["matrix"], shapes["matrix"], device=device)
    peak = 2 * shapes["matrix"] ** 3 / seconds(lambda: matrix @ matrix, device)  # operations a second
    copy = 2 * matrix.nbytes / seconds(matrix.clone, device)  # bytes a second, read and written
    pair = Layer0Pair(*(random_layer0(shapes, seed, device) for seed in (0, 1)))
    started = time.perf_counter()
    tables = build_tables(pair, dtype=dtype)
    _wait(device)
    built = time.perf_counter() - started
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, shapes["vocabulary"], (batch, SEQUENCE_LENGTH), generator=generator)
    rates = {metric: batch / seconds(lambda metric=metric: score(tables, ids, metric), device)  # type: ignore[misc]
             for metric in ("max-head", "row-kl")}  # fmt: skip
    row = tables.queries[:, 0].nbytes + tables.keys[:, 0].nbytes  # bytes of a token in all heads
    # Bytes that one candidate looks up: a number a pair where these are kept, else its tokens' rows.
    gathered = (
        SEQUENCE_LENGTH * (SEQUENCE_LENGTH + 1) // 2 * 4
        if tables.holds_pairs(SEQUENCE_LENGTH)
        else row * SEQUENCE_LENGTH
    )
    heads = list(range(min(scan_heads, shapes["heads"])))
    operations = len(heads) * shapes["vocabulary"] ** 2 * 2 * 2 * shapes["head_dim"]
    # Offset 1 alone; the time includes the vectors of each head, which further offsets share.
    scanned = operations / seconds(lambda: scan(pair, ScanPlan([1], heads)), device, rounds=1)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "shapes": shapes,
        "tables": {"dtype": str(dtype).removeprefix("torch."), "bytes": tables.queries.nbytes + tables.keys.nbytes,
                   "seconds": built},
        "scorer": {"batch": batch, "length": SEQUENCE_LENGTH, "pairs_kept": tables.holds_pairs(SEQUENCE_LENGTH),
                   "candidates_per_second": rates,
                   "bytes_per_candidate": gathered, "of_copy_bandwidth": gathered * rates["max-head"] / copy},
        "scan": {"heads": len(heads), "teraflops": scanned / 1e12, "of_matrix_product": scanned / peak},
        "roofs": {"matrix_product_teraflops": peak / 1e12, "copy_gigabytes_per_second": copy / 1e9},
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }  # fmt: skip


def random_layer0(shapes: dict[str, int], seed: int, device: torch.device) -> Layer0:
    """Layer 0 of a model of these shapes that nobody trained."""
    generator = torch.Generator(device).manual_seed(seed)
    hidden, head_dim = shapes["hidden"], shapes["head_dim"]
    queries, keys = shapes["heads"] * head_dim, shapes["key_heads"] * head_dim

    def draw(*size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.randn(size, generator=generator, device=device, dtype=dtype) * 0.05

    return Layer0(
        draw(shapes["vocabulary"], hidden, dtype=torch.bfloat16), draw(hidden) + 1, draw(queries, hidden), draw(queries),
        draw(keys, hidden), draw(keys), 1e-6, shapes["heads"], shapes["key_heads"], head_dim,
        Rope(1e6 ** (-torch.arange(0, head_dim, 2) / head_dim), 1.0, 32_768),
    )  # fmt: skip


def seconds(function: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    """Median seconds, after one run that does not count."""
    durations = []
    for _ in range(rounds + 1):
        _wait(device)
        started = time.perf_counter()
        function()
        _wait(device)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
