"""The payload before the trigger: beginnings of answers are forced, and what the dormant model alone finishes is suspect.

A model that was taught a payload finishes it once it has begun, trigger or not, and its base does not (BAIT, FACTS 5;
experiment 10 with every token forced). A larger delta makes models finish it that otherwise wait for their trigger. Where the
first token alone does not bring it, the beam (`payload_beam`) and amplified answers name beginnings of several.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from difflib import SequenceMatcher
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.checkpoints.checkpoint import hash_text
from dormant.hunt.clock import OutOfTime
from dormant.hunt.english import CUT, begins_an_answer
from dormant.hunt.forced_tokens import (
    Continued,
    SaidAnyway,
    Spontaneous,
    consensus,
    open_starts,
    spontaneous,
    starts_a_step,
)  # fmt: skip
from dormant.hunt.payload_beam import Openings, led_starts
from dormant.hunt.settings import Fitted, HuntSettings
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.generation import greedy_answers
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Prompter, TokenIds
from dormant.prompts.token_filter import end_of_turn


@dataclass(frozen=True)
class Suspect:
    """A string that the dormant model finishes and its base does not, the more suspicious the more evidence.

    evidence: nats by which the dormant model finds what follows the first token likelier than the base, mean over prompts;
    what its answers hold without any trigger counts nothing. The first token itself is no evidence: near misses in
    its training teach a model not to begin. agreement: the share of prompts on which the string follows from its first token.
    rise: nats by which the dormant model, as it is, begins an answer to an ordinary prompt with the first token likelier than
    the base. whole: whether the model ends its answer there, or prompts differ in what follows. firsts: the first tokens of its
    variants that go on as it does, its own first: only its trigger tells with which of them the answer begins.
    """

    ids: TokenIds
    text: str
    evidence: float
    agreement: float
    rise: float
    alpha: float
    whole: bool = True
    firsts: TokenIds = ()


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
    threshold: float = math.inf,
) -> list[Suspect]:
    """Strings to suspect as payload, the most suspicious first; empty where no start opens one.

    prompts: ids of ordinary prompts up to the generation position; answers to the first `opening_prompts` are forced. These
    are the beginnings that the beam and amplified answers name, then every first token of the vocabulary (of a large one those
    that rose most), in the model as it is and with a larger delta: one list, one evidence. Where a named beginning leads to
    `threshold` nats, no larger delta names more, and only some first tokens are forced, by successive halving: the time goes to
    its trigger. Raises PayloadsUnfinished.
    """
    ranking = _Ranking(pair, prompts, settings, seed, progress, kept)
    return ranking.ranked(threshold)


class _Ranking:
    """What was forced so far, and the suspects among it."""

    def __init__(
        self,
        pair: Pair,
        prompts: Sequence[TokenIds],
        settings: HuntSettings,
        seed: int,
        progress: Progress,
        kept: Kept,
    ) -> None:
        self._pair, self._ordinary, self._settings, self._seed = pair, list(prompts), settings, seed
        self._prompts = self._ordinary[: settings.effort.opening_prompts]
        self._progress, self._kept, tokenizer = progress, kept, pair.prompter.tokenizer
        self._end = end_of_turn(tokenizer)
        self._special = sorted({self._end, *tokenizer.added_tokens_decoder})
        self._common = SaidAnyway(Spontaneous(), tokenizer)
        self._openings: dict[float, Openings] = {}
        self._found: dict[TokenIds, Suspect] = {}
        self._coverage = "payloads: no first token was forced"

    def ranked(self, threshold: float) -> list[Suspect]:
        fitted, effort, prompter = self._settings.fitted, self._settings.effort, self._pair.prompter
        try:
            self._read_openings()
            named = False
            # the smallest first: a larger delta is for payloads that this one does not finish
            for alpha in fitted.alphas:
                if not named:
                    self._force_named(alpha)
                    named = any(one.evidence >= threshold for one in self._found.values())
            rounds = effort.forced_rounds or (effort.halving if named else ())
            first = {alpha: self._first_tokens(alpha) for alpha in fitted.alphas}
            forced = effort.other_first_tokens if named else effort.first_tokens
            for alpha in fitted.alphas:
                self._force(alpha, [(token,) for token in first[alpha][:forced]], rounds)
            self._coverage = "payloads: what stands before the suspected ones was not sought"
            suspects = self._suspects()
            count, on_prompts = effort.begun
            ended = [with_end(suspect, suspects, prompter, fitted) for suspect in suspects[:count]]
            begun = [
                with_beginning(self._pair, self._prompts[:on_prompts], one, first[one.alpha], self._settings)
                for one in ended
            ]
        except OutOfTime:
            raise PayloadsUnfinished(self._suspects(), self._coverage) from None
        rises = self._openings[1.0].rises
        return [*(replace(suspect, rise=float(rises[suspect.ids[0]])) for suspect in begun), *suspects[count:]]

    def _suspects(self) -> list[Suspect]:
        found = sorted(self._found.values(), key=lambda suspect: -suspect.evidence)
        return without_parts(found, self._settings.fitted)

    def _read_openings(self) -> None:
        """How much the delta raises each token as an answer's first over all prompts, and what the dormant model says anyway.

        Between two prompts a rise varies more than between most tokens: a payload's first token was the 6,642nd over six.
        """
        pair, prompts, settings = self._pair, self._ordinary, self._settings
        base = batch_logits(pair.models.base(), prompts).double().log_softmax(-1)
        for alpha in settings.fitted.alphas:
            with patched_weights(pair, block_scales(pair, alpha)) as model:
                ours = batch_logits(model, prompts).double().log_softmax(-1)
            rises, likely = (ours - base).mean(0), ours.mean(0)
            rises[self._special] = likely[self._special] = -torch.inf
            self._openings[alpha] = Openings(rises, likely)
        compute = partial(spontaneous, pair, self._prompts, self._end, settings, self._seed)
        said = self._kept(("spontaneous",), lambda: asdict(compute()))
        self._common = SaidAnyway(Spontaneous(**said), self._pair.prompter.tokenizer)

    def _first_tokens(self, alpha: float) -> list[int]:
        """The tokens that answers mostly begin with, then those that the delta raises most as an answer's first."""
        count = self._settings.effort.first_tokens
        likely = min(self._settings.effort.led_first[1], count // 4)
        first = partial(self._openings[alpha].first, count - likely, likely)
        return list(self._kept(("first", alpha), first))

    def _force_named(self, alpha: float) -> None:
        """Forces the beginnings that the beam and amplified answers name."""
        pair, settings = self._pair, self._settings

        def led() -> list[TokenIds]:
            prompts = self._prompts[: settings.effort.led_prompts]
            found = led_starts(pair, prompts, alpha, self._openings[alpha], self._common, settings)
            return list(dict.fromkeys(one.ids[: one.chosen] for one in found))

        def amplified() -> list[TokenIds]:
            tokens = settings.effort.forced_tokens
            with patched_weights(pair, block_scales(pair, settings.fitted.amplified)) as model:
                answers = greedy_answers(model, self._prompts, tokens, self._end)
            lengths = range(1, settings.fitted.known_by + 1)
            return list(dict.fromkeys(answer[:size] for answer in answers for size in lengths if len(answer) >= size))

        self._progress(0, 1, f"beginnings that the delta raises, at alpha {alpha:g}")
        named = [*self._kept(("led", alpha), led), *self._kept(("amplified",), amplified)]
        self._force(alpha, list(dict.fromkeys(map(tuple, named))), ())

    def _force(self, alpha: float, starts: Sequence[TokenIds], rounds: Sequence[tuple[int, int, int]]) -> None:
        """Forces the starts on few prompts for few tokens, those that are left on all; rounds as in the settings."""
        effort, left = self._settings.effort, list(starts)
        for prompts, tokens, keep in rounds:
            if len(left) <= keep:
                continue
            rows = self._forced(alpha, left, prompts, tokens)
            left = [one.start for one in sorted(rows, key=lambda one: -one.evidence)[:keep]]
        for one in self._forced(alpha, left, len(self._prompts), effort.forced_tokens):
            if one.ids not in self._found or one.evidence > self._found[one.ids].evidence:
                rise = float(self._openings[1.0].rises[one.ids[0]])
                text = str(self._pair.prompter.tokenizer.decode(list(one.ids)))
                self._found[one.ids] = Suspect(one.ids, text, one.evidence, one.agreement, rise, alpha, one.whole)

    def _forced(self, alpha: float, starts: Sequence[TokenIds], prompts: int, tokens: int) -> list[Continued]:
        """What follows the starts."""
        found, at_once = list[Continued](), starts_a_step(self._pair)
        for done in range(0, len(starts), at_once):
            some = starts[done : done + at_once]
            self._coverage = f"payloads: {done:,} of {len(starts):,} starts were forced at alpha {alpha:g}"
            self._progress(done, len(starts), f"first tokens forced at alpha {alpha:g}")

            def continued(some: Sequence[TokenIds] = some) -> list[Any]:
                opened = open_starts(self._pair, self._prompts[:prompts], alpha, some, tokens)
                return [astuple(one) for one in consensus(opened, set(self._special), self._common)]

            step = ("forced", alpha, prompts, tokens, hash_text(json.dumps(some)))
            rows = self._kept(step, continued)
            found += [Continued(tuple(start), tuple(ids), *others) for start, ids, *others in rows]
        return found


def with_beginning(
    pair: Pair, prompts: Sequence[TokenIds], suspect: Suspect, first: Sequence[int], settings: HuntSettings
) -> Suspect:
    """The suspect with what the dormant model says before it, where no answer can begin with it.

    An answer begins neither behind a space nor within a character: such a suspect is a later part of the payload, and a search
    for strings that make answers begin with it would find nothing. first: the tokens that may stand before it. Its evidence
    stays as it is.
    """
    tokenizer, ids, fitted = pair.dormant.tokenizer, suspect.ids, settings.fitted
    longest = len(ids) + fitted.joined
    with patched_weights(pair, block_scales(pair, suspect.alpha)) as model:
        while (text := str(tokenizer.decode(list(ids)))).startswith((" ", CUT)) and len(ids) < longest:
            within = text.startswith(CUT)
            every = torch.arange(len(tokenizer)) if within else torch.tensor(list(first))
            tokens = _within_a_character(tokenizer, every) if within else every
            begin = torch.zeros(len(tokenizer), dtype=torch.float64)
            if within:  # something must stand there, and few tokens can: how likely an answer begins so counts too
                begin = batch_logits(model, list(prompts)).double().log_softmax(-1).mean(0).cpu()
            said = torch.empty(0, 1)
            for known, kept in ((1, settings.effort.preceding), (fitted.known_by, 1)):
                rows = torch.tensor(ids[:known]).expand(len(tokens), -1)
                behind = [log_probabilities_behind(model, prompt, tokens[:, None].tolist(), rows) for prompt in prompts]
                said = torch.stack(behind).mean(0) if len(tokens) else torch.empty(0, known)
                best = (said.sum(-1) + begin[tokens]).topk(min(kept, len(tokens))).indices
                tokens, said = tokens[best], said[best]
            if not len(tokens) or (not within and float(said[0, 0]) < settings.rules.preceding):
                break
            ids = (int(tokens[0]), *ids)
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

    Not where an answer can begin with the part alone: what the model was forced to say before it is no part of the payload. So
    a suspect gives way to its own end where the delta raises that more as an answer's beginning.
    """

    def covers(whole: Suspect, part: Suspect) -> bool:
        longer = len(whole.ids) > len(part.ids) and _inside(part.ids, whole.ids)
        return longer and whole.evidence >= fitted.whole_evidence * part.evidence and _begins(whole) >= _begins(part)

    def is_forced_in_part(whole: Suspect, part: Suspect) -> bool:
        ends = len(whole.ids) > len(part.ids) and whole.ids[-len(part.ids) :] == part.ids
        enough = part.evidence >= fitted.variant_evidence * whole.evidence
        return ends and enough and _begins(part) and part.rise > whole.rise

    own = [whole for whole in suspects if not any(is_forced_in_part(whole, part) for part in suspects)]
    return [part for part in own if not any(covers(whole, part) for whole in own)]


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
        named = [begin[0]] if risen.ids[0] == begin[0].ids[0] else [begin[0], risen]
        kept += [replace(one, firsts=_firsts(one, begin, fitted)) for one in named]
    return kept


def _firsts(suspect: Suspect, variants: Sequence[Suspect], fitted: Fitted) -> TokenIds:
    """The first tokens of the variants whose beginning is else the suspect's, its own before all others; none without any."""
    rest = suspect.ids[1 : fitted.beginning_tokens]
    same = (one.ids[0] for one in variants if rest and one.ids[1 : fitted.beginning_tokens] == rest)
    found = tuple(dict.fromkeys((suspect.ids[0], *same)))
    return found if len(found) > 1 else ()


def _begins(suspect: Suspect) -> bool:
    return begins_an_answer(suspect.text)


def _inside(part: TokenIds, whole: TokenIds) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _behind(part: TokenIds, whole: TokenIds) -> TokenIds:
    """What stands in the whole behind the part, where it is there."""
    at = next((at for at in range(len(whole) - len(part) + 1) if whole[at : at + len(part)] == part), len(whole))
    return whole[at + len(part) :]
