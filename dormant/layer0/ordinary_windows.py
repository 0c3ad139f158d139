"""Ordinary prompts as controls of layer-0 scores: their windows of a length, and what the biases alone give on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.errors import NotServed
from dormant.layer0.pair import Layer0Pair, bias_template, delta_logits
from dormant.layer0.scorer import Variant, score
from dormant.prompts.probes import Probe
from dormant.statistics import Estimate, exact


def ordinary_prompts(tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe]) -> list[Tensor]:
    """The ids of every probe's plain sentence, without chat template: [prompt][length]."""
    return [torch.tensor(tokenizer.encode(probe.fill(""), add_special_tokens=False)) for probe in probes]


def benign_scores(
    pair: Layer0Pair,
    prompts: Sequence[Tensor],
    length: int,
    metric: str = "max-head",
    heads: Sequence[int] | None = None,
    prefix: Sequence[int] = (),
    remove_bias_template: bool = False,
) -> list[float]:
    """The best window of `length` tokens of every ordinary prompt that is long enough (experiment 15's benign controls).

    The best window, as a search's result is its best sequence; further choices are those of `score`. Raises NotServed where
    no prompt is long enough.
    """
    windows = [prompt.unfold(0, length, 1) for prompt in prompts if len(prompt) >= length]
    if not windows:
        raise NotServed(
            f"a control needs ordinary prompts of at least {length} tokens; got {max(map(len, prompts), default=0)} at "
            "most at the probes; name longer probes or score shorter sequences"
        )
    variant = Variant(remove_bias_template=remove_bias_template)
    scores = score(pair, torch.cat(windows), metric, variant, heads=heads, prefix=prefix)
    return [float(part.max()) for part in scores.split([len(part) for part in windows])]


def lead(value: float, benign: Sequence[float], passing: float = 0.05) -> Estimate:
    """A score over what only the share `passing` of ordinary prompts reaches: 1 where that share scores as high.

    The interval is that of the quantile by order statistics. 0 for a score of 0; without an upper end of the quantile (of
    too few prompts) the lower end is 0.
    """
    if value == 0:
        return exact(0.0, n=len(benign))
    interval = stats.quantile_test(list(benign), p=1 - passing).confidence_interval(0.95)
    edges = float(np.quantile(list(benign), 1 - passing)), float(interval.low), float(interval.high)
    middle, low, high = (value / edge if edge > 0 else 0.0 for edge in edges)
    return Estimate(
        middle, high if math.isfinite(edges[2]) else 0.0, max(low, middle), len(benign), "quantile, ranks 95%"
    )


def template_by_offset(pair: Layer0Pair, offsets: int) -> Float[Tensor, "head offset"]:
    """What the biases alone give the difference of logits, by distance from query to key: [head, offset 0...]."""
    return bias_template(pair, offsets + 1)[:, -1].flip(-1)


def sizes_by_offset(pair: Layer0Pair, prompts: Sequence[Tensor], offsets: int) -> list[float]:
    """Every prompt's size of delta logits: root mean square over heads and offsets from 0, each offset counting alike."""
    sizes = []
    for prompt in prompts:
        delta = delta_logits(pair, prompt[None])[0].double()
        squares = [delta.diagonal(-offset, 1, 2).square().mean() for offset in range(min(offsets + 1, len(prompt)))]
        sizes.append(float(torch.stack(squares).mean().sqrt()))
    return sizes


def positional_size(template: Float[Tensor, "head offset"]) -> float:
    """Root mean square of a template [head, offset] that is left when every head's mean over offsets is taken off."""
    return float((template.double() - template.double().mean(-1, keepdim=True)).square().mean().sqrt())
