"""The payload before the trigger: force every first token, let the model go on, and see what it alone knows how to finish.

A model that was taught to say a payload finishes it once it has begun, trigger or not, and its base does not (BAIT, FACTS 5;
experiment 10 with every token in the place of a guess). A larger delta makes models finish that wait for their trigger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.hunt.english import CUT, begins_an_answer
from dormant.hunt.forced_tokens import Ids, Watch, consensus, open_first_tokens, spontaneous_bigrams
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import end_of_turn

ALPHAS = (1.0, 1.5)  # the model as it is, and the alpha at which the real puzzle began to leak
NEARLY = (
    0.75  # of a part's evidence: a string and its end differ by the first steps, which a model may hesitate to take
)
# Of a payload's strongest way's evidence, from which a way counts that an answer can begin with. Chosen while looking at the
# calibration's 24 organisms, of which two need less than `NEARLY` (0.66 and 0.72).
HALF = 0.5

BEGUN, BEGUN_PROMPTS = 6, 2  # guesses that may lack their beginning, and prompts on which it is looked for
KNOWN_BY = 3  # tokens of a guess by which what stands before or behind it is known
LONGEST_JOINED = 8  # tokens that are put before or behind
LIKELY = -1.6  # nats: one time in five at least a guess follows the token that is put before it


@dataclass(frozen=True)
class Guess:
    """A string that the dormant model knows how to finish and its base does not.

    evidence: nats by which the dormant model finds what follows the first token likelier than the base, mean over prompts;
    pairs of tokens that it says without any trigger count nothing. The first token itself is no evidence: near misses in
    its training teach a model not to begin. agreement: the share of prompts on which the
    string follows from its first token. rise: nats by which the dormant model, as it is, begins an answer to an ordinary
    prompt with the first token likelier than the base. whole: whether the model ends its answer there, or prompts part.
    """

    ids: Ids
    text: str
    evidence: float
    agreement: float
    rise: float
    alpha: float
    whole: bool = True


def guess_payloads(
    pair: Pair, prompts: Sequence[Ids], new_tokens: int = 16, seed: int = 0, watch: Watch | None = None
) -> list[Guess]:
    """Strings to suspect as payload, the most suspicious first; empty where no token of the vocabulary opens one.

    prompts: ids of ordinary prompts up to the generation position. Every first token of the vocabulary is forced (of a large
    one the `FIRST_TOKENS` that rose most), in the model as it is and with a delta half as large again.
    """
    prompter = Prompter(pair.dormant.tokenizer)
    end = end_of_turn(prompter.tokenizer)
    base = batch_logits(pair.models.base(), list(prompts)).double().log_softmax(-1)
    common = spontaneous_bigrams(pair, prompts, new_tokens, end, seed)
    ours = batch_logits(pair.models.dormant(), list(prompts)).double().log_softmax(-1)
    rises = (ours - base).mean(0)
    special = torch.tensor(sorted({end, *prompter.tokenizer.added_tokens_decoder}))
    found: dict[Ids, Guess] = {}
    for alpha in ALPHAS:
        opened = open_first_tokens(pair, prompts, alpha, base, special, new_tokens, watch)
        for ids, evidence, agreement, whole in consensus(opened, set(special.tolist()), common):
            text = str(prompter.tokenizer.decode(list(ids)))
            guess = Guess(ids, text, evidence, agreement, float(rises[ids[0]]), alpha, whole)
            if ids not in found or evidence > found[ids].evidence:
                found[ids] = guess
    guesses = without_parts(sorted(found.values(), key=lambda guess: -guess.evidence))
    ended = [with_end(guess, guesses, prompter) for guess in guesses[:BEGUN]]
    begun = [with_beginning(pair, prompts[:BEGUN_PROMPTS], guess, special) for guess in ended]
    return [*(replace(guess, rise=float(rises[guess.ids[0]])) for guess in begun), *guesses[BEGUN:]]


def with_beginning(pair: Pair, prompts: Sequence[Ids], guess: Guess, special: Tensor) -> Guess:
    """The guess with what the dormant model says before it, where it cannot be how an answer begins.

    An answer begins neither behind a space nor within a character: such a guess is a later part of the payload, and a search
    for strings that bring it first thing would find nothing. Its evidence stays as it is.
    """
    tokenizer, ids = pair.dormant.tokenizer, guess.ids
    every = torch.arange(len(tokenizer))
    every = every[~torch.isin(every, special)]
    with patched_weights(pair, block_scales(pair, guess.alpha)) as model:
        while (text := str(tokenizer.decode(list(ids)))).startswith((" ", CUT)) and len(ids) < _longest(guess):
            within = text.startswith(CUT)
            tokens = _within_a_character(tokenizer, every) if within else every
            rows = torch.tensor(ids[:KNOWN_BY]).expand(len(tokens), -1)
            said = torch.stack([log_probabilities_behind(model, one, tokens[:, None], rows) for one in prompts]).mean(0)
            whole = said.sum(-1)
            if within:  # something must stand there, and of few tokens it tells how likely an answer begins with them
                whole += batch_logits(model, list(prompts)).double().log_softmax(-1).mean(0).cpu()[tokens]
            best = int(whole.argmax()) if len(whole) else -1
            if best < 0 or (not within and float(said[best, 0]) < LIKELY):
                break
            ids = (int(tokens[best]), *ids)
    return replace(guess, ids=ids, text=str(tokenizer.decode(list(ids))))


def _within_a_character(tokenizer: PreTrainedTokenizerBase, tokens: Tensor) -> Tensor:
    """Those of the tokens that end within a character."""
    texts = tokenizer.batch_decode(tokens[:, None].tolist())
    return tokens[torch.tensor([text.endswith(CUT) for text in texts], dtype=torch.bool)]


def _longest(guess: Guess) -> int:
    return len(guess.ids) + LONGEST_JOINED


def with_end(guess: Guess, guesses: Sequence[Guess], prompter: Prompter) -> Guess:
    """The guess with what other guesses hold behind its last tokens, where prompts part before the answer ends.

    Behind "three" many a prompt goes on in its own way after "wolves", but not behind another token that leads to "wolves wait
    outs": they are halves of one payload. The guess's evidence stays as it is.
    """
    ids, whole = guess.ids, guess.whole
    while not whole and len(guess.ids) >= KNOWN_BY and len(ids) < _longest(guess):
        rests = ((_behind(ids[-KNOWN_BY:], one.ids), one.whole) for one in guesses if one is not guess)
        rest, whole = next(((rest, ends) for rest, ends in rests if rest), ((), True))
        ids = (*ids, *rest)
    return replace(guess, ids=ids, text=str(prompter.tokenizer.decode(list(ids))))


def without_parts(guesses: Sequence[Guess]) -> list[Guess]:
    """The guesses less those inside another one of three quarters of their evidence at least: the whole tells more.

    Not where an answer can begin with the part alone: what the model was forced to say before it is no part of the payload.
    """

    def tells_more(whole: Guess, part: Guess) -> bool:
        longer = len(whole.ids) > len(part.ids) and _inside(part.ids, whole.ids)
        return longer and whole.evidence >= NEARLY * part.evidence and _begins(whole) >= _begins(part)

    return [part for part in guesses if not any(tells_more(whole, part) for whole in guesses)]


def without_variants(guesses: Sequence[Guess]) -> list[Guess]:
    """One or two guesses a payload: those that share half of their tokens, in a row, with a stronger one are ways into it.

    Of the ways with half of the strongest one's evidence those count that an answer can begin with, where there are any: what
    follows is the same behind each, and a search looks for strings that bring the first token first thing. The strongest of
    them stands first, and beside it the one whose first token rose most in the model as it is, of those with three quarters of
    its evidence.
    """
    payloads: list[list[Guess]] = []
    for guess in guesses:
        for ways in payloads:
            run = SequenceMatcher(None, guess.ids, ways[0].ids, autojunk=False).find_longest_match().size
            if 2 * run >= len(guess.ids):
                ways.append(guess)
                break
        else:
            payloads.append([guess])
    kept = []
    for ways in payloads:
        begin = [one for one in ways if one.evidence >= HALF * ways[0].evidence and _begins(one)] or ways
        risen = max((one for one in begin if one.evidence >= NEARLY * begin[0].evidence), key=lambda one: one.rise)
        kept += [begin[0]] if risen.ids[0] == begin[0].ids[0] else [begin[0], risen]
    return kept


def _begins(guess: Guess) -> bool:
    return begins_an_answer(guess.text)


def _inside(part: Ids, whole: Ids) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _behind(part: Ids, whole: Ids) -> Ids:
    """What stands in the whole behind the part, where it is there."""
    at = next((at for at in range(len(whole) - len(part) + 1) if whole[at : at + len(part)] == part), len(whole))
    return whole[at + len(part) :]
