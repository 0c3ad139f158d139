"""Watch the Weights: which texts leave the range of ordinary ones along the directions that a delta writes (arXiv:2508.00161).

The paper flags a prompt at run time, which needs a trigger in it (`dormant watch`); here a model is asked without one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from dormant.checkpoints.tensor_names import is_of_vocabulary, within_layer
from dormant.detection.suspicion import Suspicion
from dormant.errors import NotServed
from dormant.inference.batching import common_start
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.delta_answers import linear_at, module_at, output_cosines
from dormant.inference.delta_scaling import modified_tensors
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.statistics import Estimate, exact
from dormant.weights.decomposition import delta_svd

# What a block's part that writes to the residual stream is called: Llama's and Qwen's, OPT's and Phi's, GPT-2's, GPT-NeoX's
# and Falcon's, RecurrentGemma's.
STREAM_WRITERS = frozenset("o_proj down_proj out_proj fc2 c_proj dense dense_4h_to_h linear_out".split())
FLAT_RANGE = 1e-3  # a cosine that moves less on ordinary texts is moved by rounding in 16 bits
INSERTED_IN = 4  # probes take the random strings in turn: each must survive in all of them
SHOWN_STRINGS = 5


@dataclass(frozen=True)
class MonitorPlan:
    """Ordinary probes, of which half set the ranges and half are held out; how many random strings, of how many tokens.

    directions: of each changed matrix, at most; the paper's own number is 20.
    """

    probes: Sequence[Probe]
    strings: int = 64
    length: int = 4
    directions: int = 20


def direction_monitor(pair: Pair, plan: MonitorPlan, seed: int) -> Suspicion:
    """How much further random strings leave the range of ordinary texts than held-out ordinary texts do.

    A text's exceedance is its largest distance outside the range over directions, in widths of that direction's range; inside
    it is negative. Figure: the largest of the texts with random strings less the largest of ordinary ones, and an interval that
    begins at the next largest. 0 for a model that equals its base. Named: the strings that exceed most. Directions, cosines and
    ranges are the paper's, with ordinary prompts instead of chats from the web; strings and figure are ours. Raises NotServed
    where no changed matrix can be monitored, and for too few probes.
    """
    if not _differs(pair):
        return Suspicion(exact(0.0))
    if len(plan.probes) < 4:
        raise NotServed(
            f"a monitor needs four ordinary probes; got {len(plan.probes)} at pair {pair.name!r}; give more with --probes FILE"
        )
    prompter, model = pair.prompter, pair.models.dormant()
    order = torch.randperm(len(plan.probes), generator=torch.Generator().manual_seed(seed)).tolist()
    half = len(order) // 2
    held_out = [plan.probes[index] for index in order[half:]]
    ordinary = [prompter.encode(plan.probes[index]).ids for index in order]
    hosts = held_out[:INSERTED_IN]
    drawn = random_candidates(prompter, hosts, plan.length, plan.strings, seed)
    strange = [prompter.encode(hosts[at % len(hosts)], ids).ids for at, ids in enumerate(drawn)]
    rows = [*ordinary, *strange]
    found = output_cosines(model, written_directions(pair, plan.directions), rows, common_start(rows))
    outside = exceedances(found[:half], found[half:])
    usual, unusual = outside[: len(ordinary) - half], outside[len(ordinary) - half :]
    ranked = unusual.sort(descending=True)
    value, following = (float(ranked.values[at] - usual.max()) for at in (0, min(1, len(drawn) - 1)))
    named = [str(pair.base.tokenizer.decode(list(drawn[at]))).strip() for at in ranked.indices[:SHOWN_STRINGS].tolist()]
    estimate = Estimate(value, following, value, len(drawn), "the largest, and the next")
    return Suspicion(estimate, tuple(named), sum(map(len, rows)))


def exceedances(
    known: Float[Tensor, "known direction bound"], asked: Float[Tensor, "asked direction bound"]
) -> Float[Tensor, " asked"]:
    """How far each text's cosines leave the range of the known texts, at the worst direction, in widths of its range."""
    low, high = known[..., 0].amin(0), known[..., 1].amax(0)
    width = (high - low).clamp_min(FLAT_RANGE)
    return (torch.maximum(low - asked[..., 0], asked[..., 1] - high) / width).amax(-1)


def written_directions(pair: Pair, most: int) -> dict[str, Float[Tensor, "output direction"]]:
    """By block, the leading output directions of the deltas of its matrices that write to the residual stream.

    No more than a delta has: those behind its rank are the decomposition's own rounding. Where none of these matrices changed
    (an adapter on queries and values alone), by changed matrix those of what it gives itself.
    Raises NotServed where neither is a module of the model.
    """
    model = pair.models.dormant()
    by_block, by_module = dict[str, list[Tensor]](), dict[str, list[Tensor]]()
    for name in modified_tensors(pair):
        module = name.removesuffix(".weight")
        applied = linear_at(model, module)
        if module == name or applied is None or is_of_vocabulary(name):
            continue
        triplets = delta_svd(pair.base, pair.dormant, name, most)
        rounding = max(pair.base.shape(name)) * torch.finfo(triplets.values.dtype).eps  # of the largest value
        kept = triplets.values > rounding * triplets.values[:1]
        written = (triplets.right if isinstance(applied, Conv1D) else triplets.left)[:, kept]
        block = name.removesuffix(f".{within_layer(name)}")
        if module.rpartition(".")[2] in STREAM_WRITERS and module_at(model, block) is not None:
            by_block.setdefault(block, []).append(written)
        else:
            by_module.setdefault(module, []).append(written)
    found = {name: torch.cat(parts, dim=1) for name, parts in (by_block or by_module).items()}
    if not any(columns.shape[1] for columns in found.values()):
        raise NotServed(
            "a monitor needs a changed matrix that the model applies to its states; got none among "
            f"{len(modified_tensors(pair))} changed tensors at pair {pair.name!r}; ask a method that reads answers"
        )
    return found


def _differs(pair: Pair) -> bool:
    """Whether any number differs: an adapter may name matrices and add nothing to them. The smallest tensors come first."""
    changed = sorted(modified_tensors(pair), key=lambda name: math.prod(pair.base.shape(name)))
    return any(bool(pair.delta(name).any()) for name in changed)
