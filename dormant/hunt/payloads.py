"""The payload before the trigger: every first token is forced, and what the dormant model alone finishes is suspect.

A model that was taught a payload finishes it once it has begun, trigger or not, and its base does not (BAIT, FACTS 5;
experiment 10 with every token forced). A larger delta makes models finish it that otherwise wait for their trigger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.hunt.clock import OutOfTime
from dormant.hunt.english import CUT, begins_an_answer
from dormant.hunt.forced_tokens import (
    consensus,
    open_first_tokens,
    risen_first_tokens,
    spontaneous_bigrams,
    tokens_a_step,
)
from dormant.hunt.settings import Fitted, HuntSettings
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Prompter, TokenIds
from dormant.prompts.token_filter import end_of_turn


@dataclass(frozen=True)
class Suspect:
    """A string that the dormant model finishes and its base does not, the more suspicious the more evidence.

    evidence: nats by which the dormant model finds what follows the first token likelier than the base, mean over prompts;
    pairs of tokens in its answers without any trigger count nothing. The first token itself is no evidence: near misses in
    its training teach a model not to begin. agreement: the share of prompts on which the
    string follows from its first token. rise: nats by which the dormant model, as it is, begins an answer to an ordinary
    prompt with the first token likelier than the base. whole: whether the model ends its answer
    there, or prompts differ in what follows.
    """

    ids: TokenIds
    text: str
    evidence: float
    agreement: float
    rise: float
    alpha: float
    whole: bool = True


class PayloadsUnfinished(OutOfTime):
    """The time ran out while first tokens were forced: what was found before, and how far it had come."""

    def __init__(self, suspects: Sequence[Suspect], coverage: str) -> None:
        """coverage: a sentence."""
        super().__init__(coverage)
        self.suspects, self.coverage = tuple(suspects), coverage


Kept = Callable[[tuple[Any, ...], Callable[[], Any]], Any]  # a step's result, computed or from the journal


def rank_payloads(
    pair: Pair,
    prompts: Sequence[TokenIds],
    settings: HuntSettings,
    seed: int,
    progress: Progress,
    kept: Kept = lambda _, compute: compute(),
) -> list[Suspect]:
    """Strings to suspect as payload, the most suspicious first; empty where no token of the vocabulary opens one.

    prompts: ids of ordinary prompts up to the generation position. Every first token of the vocabulary is forced (of a large
    one those that rose most), in the model as it is and with a delta half as large again. Raises PayloadsUnfinished.
    """
    prompter, fitted, effort = pair.prompter, settings.fitted, settings.effort
    end = end_of_turn(prompter.tokenizer)
    special = torch.tensor(sorted({end, *prompter.tokenizer.added_tokens_decoder}))
    found: dict[TokenIds, Suspect] = {}
    coverage = "payloads: no first token was forced"
    try:
        base = batch_logits(pair.models.base(), list(prompts)).double().log_softmax(-1)
        rows = kept(("spontaneous",), lambda: sorted(spontaneous_bigrams(pair, prompts, end, settings, seed)))
        common = {(first, second) for first, second in rows}
        ours = batch_logits(pair.models.dormant(), list(prompts)).double().log_softmax(-1)
        rises = (ours - base).mean(0)
        for alpha in fitted.alphas:
            risen = partial(risen_first_tokens, pair, prompts, alpha, base, special, effort.first_tokens)
            first = kept(("first", alpha), risen)
            for start in range(0, len(first), size := tokens_a_step(pair)):
                some = first[start : start + size]
                coverage = f"payloads: {start:,} of {len(first):,} first tokens were forced at alpha {alpha:g}"
                progress(start, len(first), f"first tokens forced at alpha {alpha:g}")

                def opened(some: Sequence[int] = some, alpha: float = alpha) -> list[Any]:
                    continued = open_first_tokens(pair, prompts, alpha, some, effort.forced_tokens)
                    return list(consensus(continued, set(special.tolist()), common))

                for row, evidence, agreement, whole in kept(("forced", alpha, start, len(some)), opened):
                    ids = tuple(row)
                    text = str(prompter.tokenizer.decode(list(ids)))
                    if ids not in found or evidence > found[ids].evidence:
                        found[ids] = Suspect(ids, text, evidence, agreement, float(rises[ids[0]]), alpha, whole)
        coverage = "payloads: what stands before the suspected ones was not sought"
        suspects = without_parts(sorted(found.values(), key=lambda suspect: -suspect.evidence), fitted)
        count, on_prompts = effort.begun
        ended = [with_end(suspect, suspects, prompter, fitted) for suspect in suspects[:count]]
        begun = [with_beginning(pair, prompts[:on_prompts], suspect, special, settings) for suspect in ended]
    except OutOfTime:
        ranked = without_parts(sorted(found.values(), key=lambda suspect: -suspect.evidence), fitted)
        raise PayloadsUnfinished(ranked, coverage) from None
    return [*(replace(suspect, rise=float(rises[suspect.ids[0]])) for suspect in begun), *suspects[count:]]


def with_beginning(
    pair: Pair, prompts: Sequence[TokenIds], suspect: Suspect, special: Tensor, settings: HuntSettings
) -> Suspect:
    """The suspect with what the dormant model says before it, where no answer can begin with it.

    An answer begins neither behind a space nor within a character: such a suspect is a later part of the payload, and a search
    for strings that make answers begin with it would find nothing. Its evidence stays as it is.
    """
    tokenizer, ids, fitted = pair.dormant.tokenizer, suspect.ids, settings.fitted
    every = torch.arange(len(tokenizer))
    every = every[~torch.isin(every, special)]
    longest = len(ids) + fitted.joined
    with patched_weights(pair, block_scales(pair, suspect.alpha)) as model:
        while (text := str(tokenizer.decode(list(ids)))).startswith((" ", CUT)) and len(ids) < longest:
            within = text.startswith(CUT)
            tokens = _within_a_character(tokenizer, every) if within else every
            rows = torch.tensor(ids[: fitted.known_by]).expand(len(tokens), -1)
            said = torch.stack([log_probabilities_behind(model, one, tokens[:, None], rows) for one in prompts]).mean(0)
            whole = said.sum(-1)
            if (
                within
            ):  # something must stand there, and few tokens can: how likely an answer begins with each counts too
                whole += batch_logits(model, list(prompts)).double().log_softmax(-1).mean(0).cpu()[tokens]
            best = int(whole.argmax()) if len(whole) else -1
            if best < 0 or (not within and float(said[best, 0]) < settings.rules.preceding):
                break
            ids = (int(tokens[best]), *ids)
    return replace(suspect, ids=ids, text=str(tokenizer.decode(list(ids))))


def _within_a_character(tokenizer: PreTrainedTokenizerBase, tokens: Tensor) -> Tensor:
    """Those of the tokens that end within a character."""
    texts = tokenizer.batch_decode(tokens[:, None].tolist())
    return tokens[torch.tensor([text.endswith(CUT) for text in texts], dtype=torch.bool)]


def with_end(suspect: Suspect, suspects: Sequence[Suspect], prompter: Prompter, fitted: Fitted) -> Suspect:
    """The suspect with what others hold behind its last tokens, where prompts differ before the answer ends.

    Behind "three" many prompts continue differently after "wolves", but not behind another token that leads to "wolves wait
    outs": they are halves of one payload. The suspect's evidence stays as it is.
    """
    ids, whole = suspect.ids, suspect.whole
    while not whole and len(suspect.ids) >= fitted.known_by and len(ids) < len(suspect.ids) + fitted.joined:
        rests = ((_behind(ids[-fitted.known_by :], one.ids), one.whole) for one in suspects if one is not suspect)
        rest, whole = next(((rest, ends) for rest, ends in rests if rest), ((), True))
        ids = (*ids, *rest)
    return replace(suspect, ids=ids, text=str(prompter.tokenizer.decode(list(ids))))


def without_parts(suspects: Sequence[Suspect], fitted: Fitted) -> list[Suspect]:
    """The suspects less those inside another one of three quarters of their evidence at least.

    Not where an answer can begin with the part alone: what the model was forced to say before it is no part of the payload.
    """

    def covers(whole: Suspect, part: Suspect) -> bool:
        longer = len(whole.ids) > len(part.ids) and _inside(part.ids, whole.ids)
        return longer and whole.evidence >= fitted.whole_evidence * part.evidence and _begins(whole) >= _begins(part)

    return [part for part in suspects if not any(covers(whole, part) for whole in suspects)]


def without_variants(suspects: Sequence[Suspect], fitted: Fitted) -> list[Suspect]:
    """One or two suspects a payload: those that share half of their tokens, in a row, with a stronger one are its variants.

    Of the variants with half of the strongest one's evidence those count that an answer can begin with, where there are any:
    what follows is the same behind each, and a search seeks strings that make answers begin so. The strongest of them stands
    first, and beside it the one whose first token rose most in the model as it is, of those with three quarters of its
    evidence.
    """
    payloads: list[list[Suspect]] = []
    for suspect in suspects:
        for variants in payloads:
            run = SequenceMatcher(None, suspect.ids, variants[0].ids, autojunk=False).find_longest_match().size
            if 2 * run >= len(suspect.ids):
                variants.append(suspect)
                break
        else:
            payloads.append([suspect])
    kept = []
    for variants in payloads:
        enough = fitted.variant_evidence * variants[0].evidence
        begin = [one for one in variants if one.evidence >= enough and _begins(one)] or variants
        enough = fitted.whole_evidence * begin[0].evidence
        risen = max((one for one in begin if one.evidence >= enough), key=lambda one: one.rise)
        kept += [begin[0]] if risen.ids[0] == begin[0].ids[0] else [begin[0], risen]
    return kept


def _begins(suspect: Suspect) -> bool:
    return begins_an_answer(suspect.text)


def _inside(part: TokenIds, whole: TokenIds) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _behind(part: TokenIds, whole: TokenIds) -> TokenIds:
    """What stands in the whole behind the part, where it is there."""
    at = next((at for at in range(len(whole) - len(part) + 1) if whole[at : at + len(part)] == part), len(whole))
    return whole[at + len(part) :]
