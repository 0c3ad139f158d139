"""What a verb on a pair takes: the models' weights, from the files' headers, and what the verb takes beside them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dormant.checkpoints.bits import RUN_BITS
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.memory import needed_bytes
from dormant.checkpoints.models import resolve_dtype, resolve_residency, search_dtype
from dormant.sweeps.job import Needs

# Bytes of memory beside the weights: what torch and its imports take, and what the verb computes with. Measured on the zoo, as
# the largest size of a job: diff 0.37e9, profile 0.49e9, training and hunt 0.75e9; profile on SmolLM2-135M takes 0.75e9
# beside 1.08e9 of weights. Diff's is its own promise for any size; the others are doubled and more.
BESIDE = {"diff": 2.0e9, "profile": 1.5e9, "hunt": 2.0e9, "claims": 2.5e9}
# Of the weights, for activations and caches, which grow with the model. A search on a 7.6B pair in bfloat16 took 1.15 times its
# weights at most on an H200 (reports/benchmarks/nvidia-h200/search-large.json); a quarter leaves room for longer prompts.
OF_WEIGHTS = 0.25


def needs_of(
    verb: str, checkpoints: tuple[Checkpoint, Checkpoint] | None, options: Mapping[str, object], gpus: bool
) -> Needs:
    """What a verb takes on a pair with these options; `gpus`: whether there are any, so that `--device auto` means one.

    `diff` never loads a model, and figures-only pairs have none. A model on a GPU passes through the machine's memory.
    """
    memory = int(BESIDE[verb])
    if verb == "diff" or checkpoints is None:
        return Needs(memory)
    device = str(options.get("device", "auto"))
    on_gpu = device.startswith("cuda") or (device == "auto" and gpus)
    dtype = str(options.get("dtype", "auto" if verb == "hunt" else "float32"))
    if dtype == "auto":
        dtype = search_dtype(checkpoints[0], torch.device("cuda" if on_gpu else "cpu"))
    residency = resolve_residency(str(options.get("residency", "both")))

    def loaded(residency: str) -> int:
        return needed_bytes(*checkpoints, resolve_dtype(dtype), residency, RUN_BITS.get(dtype, 0))

    weights = int(loaded(residency) * (1 + OF_WEIGHTS))
    if not on_gpu:
        return Needs(memory + weights)
    passing = loaded("both" if residency == "swap" else "swap")
    return Needs(memory + passing, weights + memory)
