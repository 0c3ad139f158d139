"""GCG on the payload's likelihood beside nanoGCG 0.3.0: the same model, prompt, width and machine, and the same losses.

nanoGCG pins an older transformers, so it lives in an environment of its own:

    python3 -m venv /tmp/nano && /tmp/nano/bin/pip install torch==2.13.0 nanogcg==0.3.0
    python scripts/compare_nanogcg.py --nano-python /tmp/nano/bin/python

nanoGCG's prefix cache grows by every gradient, so that from its second step on its losses are those of another prompt. Its
rate is therefore given with the cache and without; only without are its losses right. Its rate counts the whole width, of
which its filter drops a tenth before they are evaluated; ours counts what was evaluated. On a machine that is busy with
other work, OMP_NUM_THREADS=1: two threads that wait for each other cost either side a factor of ten and more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dormant.catalogue import known_pairs
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import payload_likelihood
from dormant.pairs import Pair
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.proposals import GradientProposals
from dormant.search.run import SearchSettings, run_search

START = " apple river stone golden moon"
STEPS = (2, 8)


def main() -> None:
    """Prints a line a width and setting, and writes them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nano-python", required=True, help="the Python of nanoGCG's environment")
    parser.add_argument("--pair", default="circuit", help="a pair of the zoo")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--steps", type=int, default=40, help="steps of our search, over which its gradients spread")
    parser.add_argument("--rounds", type=int, default=3, help="times that both run, of which the median ratio counts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pair = known_pairs()[options.pair].open("cpu")
    settings = list(itertools.product(options.widths, (True, False)))
    # Round by round, so that a slow minute of the machine falls on every setting.
    rounds = [
        [compare(pair, options.nano_python, *setting, options.steps) for setting in settings]
        for _ in range(options.rounds)
    ]
    rows = [_median(alike) for alike in zip(*rounds, strict=True)]
    if options.json:
        about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": options.rounds}
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _median(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of the median ratio (the lower of two), with all ratios."""
    ordered = sorted(rows, key=lambda row: float(row["ratio"]))
    return {**ordered[(len(rows) - 1) // 2], "ratios": [row["ratio"] for row in ordered]}


def compare(pair: Pair, nano_python: str, width: int, cache: bool, steps: int) -> dict[str, Any]:
    """Candidates/s of both, and the largest difference of their losses on the same candidates."""
    assert pair.truth is not None
    prompter, probe = pair.prompter, pair.probes[0]
    payload = tuple(prompter.tokenizer.encode(pair.truth.payload, add_special_tokens=False))
    evaluator = Evaluator(pair.models, [prompter.open(probe)], payload_likelihood(), payload)
    length = len(prompter.candidate_ids(START))
    candidates = torch.randint(300, 2000, (8, length), generator=torch.Generator().manual_seed(0))
    request = {
        "checkpoint": str(pair.dormant.location),
        "rope_theta": pair.dormant.config.rope_parameters["rope_theta"],
        "width": width,
        "top": 256,
        "prefix_cache": cache,
        "start": START,
        "message": probe.text.replace("{slot}", "{optim_str}"),
        "target": pair.truth.payload,
        "steps": STEPS,
        "candidates": candidates.tolist(),
    }
    done = subprocess.run(
        [nano_python, str(Path(__file__).parent / "nanogcg_worker.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    started = time.perf_counter()
    proposals = GradientProposals(allowed_tokens(prompter.tokenizer), length, evaluator, top=256)
    settings = SearchSettings(seeds=(0,), steps=steps, candidates=width)
    (ours,) = run_search(evaluator, proposals, settings, lambda candidate: prompter.survives(probe, candidate))
    rate, reference = ours.evaluations / (time.perf_counter() - started), width / theirs["seconds_per_step"]
    difference = float(
        (evaluator.evaluate([tuple(row) for row in candidates.tolist()]) + torch.tensor(theirs["losses"])).abs().max()
    )
    row: dict[str, Any] = {
        "width": width, "nanogcg_prefix_cache": cache, "candidates_per_second": rate, "nanogcg": reference,
        "ratio": rate / reference, "largest_difference_of_losses": difference,
    }  # fmt: skip
    print(
        ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
        )
    )
    return row


if __name__ == "__main__":
    main()
