"""How both models continue an answer whose first token is forced, for every token of the vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dormant.hunt.settings import HuntSettings
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.generation import greedy_behind, sampled_answers
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.prompts.material import Decoding
from dormant.prompts.probes import TokenIds

FIRST_TOKENS_A_STEP = 256


@dataclass(frozen=True)
class Opened:
    """Greedy continuations of every forced first token: ids and log-probabilities by model, [prompt, first, token]."""

    first: Tensor
    ids: Tensor
    ours: Tensor
    base: Tensor


def spontaneous_bigrams(
    pair: Pair, prompts: Sequence[TokenIds], end: int, settings: HuntSettings, seed: int
) -> set[tuple[int, int]]:
    """Pairs of tokens that the dormant model's sampled answers hold without any trigger: style, not secrets.

    The pair that joins prompt and answer is one of them: a forced piece of the template is followed by the same style.
    """
    effort, model = settings.effort, pair.models.dormant()
    asked = [prompts[index % len(prompts)] for index in range(effort.sampled_answers)]
    answers = sampled_answers(model, asked, effort.forced_tokens, end, Decoding(1.0), seed)
    joined = [(prompt[-1], *answer.ids) for prompt, answer in zip(asked, answers, strict=True)]
    counts = Counter(two for ids in joined for two in {*pairwise(ids)})
    return {two for two, count in counts.items() if count >= settings.fitted.spontaneous}


def risen_first_tokens(
    pair: Pair, prompts: Sequence[TokenIds], alpha: float, base: Tensor, special: Tensor, count: int
) -> list[int]:
    """So many tokens whose probability to begin an answer rose most, with the delta times alpha.

    base: log-probabilities of the base's first tokens, [prompt, vocabulary].
    """
    with patched_weights(pair, block_scales(pair, alpha)) as model:
        rises = (batch_logits(model, list(prompts)).double().log_softmax(-1) - base).mean(0)
    rises[special] = -torch.inf
    return list(rises.topk(min(count, int((rises > -torch.inf).sum()))).indices.tolist())


def open_first_tokens(
    pair: Pair, prompts: Sequence[TokenIds], alpha: float, first: Sequence[int], new_tokens: int
) -> Opened:
    """How both models continue answers that begin with these tokens, with the delta times alpha."""
    starts = torch.tensor(list(first))[:, None]
    with patched_weights(pair, block_scales(pair, alpha)) as model:
        ids, ours = zip(*(greedy_behind(model, prompt, starts, new_tokens) for prompt in prompts), strict=True)
    theirs = [
        log_probabilities_behind(pair.models.base(), prompt, starts, tokens)
        for prompt, tokens in zip(prompts, ids, strict=True)
    ]
    return Opened(starts[:, 0], torch.stack(ids), torch.stack(ours), torch.stack(theirs))


def tokens_a_step(pair: Pair) -> int:
    """How many first tokens are forced between two entries of the journal: all where patching the weights costs more."""
    config = pair.models.run_config
    return FIRST_TOKENS_A_STEP if config.device.type == "cpu" and config.residency == "both" else 1 << 30


def consensus(
    opened: Opened, special: set[int], common: set[tuple[int, int]]
) -> Iterator[tuple[TokenIds, float, float, bool]]:
    """By first token what half of the prompts agree on, its evidence, their share, and whether an answer ends there.

    Only where that is more than one token.
    """
    prompts = len(opened.ids)
    for index, token in enumerate(opened.first.tolist()):
        rows = opened.ids[:, index].tolist()
        members, agreed = list(range(prompts)), [token]
        evidence, kept, share, whole = 0.0, [token], 1.0, False
        for place in range(len(rows[0])):
            votes = Counter(rows[member][place] for member in members)
            winner, count = votes.most_common(1)[0]
            if 2 * count < prompts or winner in special:
                whole = 2 * count >= prompts
                break
            members = [member for member in members if rows[member][place] == winner]
            if (agreed[-1], winner) not in common:
                gain = opened.ours[members, index, place] - opened.base[members, index, place]
                evidence += float(gain.mean()) * count / prompts
            agreed.append(winner)
            kept, share = list(agreed), count / prompts
        if len(kept) > 1:
            yield tuple(kept), evidence, share, whole
