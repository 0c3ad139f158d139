"""Texts that the dormant model's difference from its base writes when it is amplified at each token."""

from __future__ import annotations

from dormant.detection.prefills import PrefillPlan, raw_prefills
from dormant.detection.suspicion import Suspicion
from dormant.inference.joint_decoding import Contrast, contrastive_answers
from dormant.pairs import Pair
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import mean_interval

NAMED_TEXTS = 20


def contrastive_decoding(pair: Pair, plan: PrefillPlan, contrast: Contrast) -> Suspicion:
    """The mean over prefills of the nats by which a decoded text is likelier under the dormant model than under the base.

    A text's nats are summed over its tokens. Each distinct raw prefill is continued greedily by the contrast of both models.
    Named are the decoded texts: first those that most prefills agree on, among these first the ones with the most nats.
    Source: arXiv:2605.25902 for raw prefills and the amplified difference of logits, arXiv:2210.15097 for the plausible tokens;
    the figure is ours, for the paper lets a reader judge the texts.
    """
    prefills, tokenizer = list(dict.fromkeys(raw_prefills(pair, plan))), pair.base.tokenizer
    said = contrastive_answers(pair, prefills, plan.new_tokens, end_of_turn(tokenizer), contrast)
    nats = [sum(answer.gains) for answer in said]
    behind = dict[str, tuple[int, float]]()  # by text: how many prefills agree on it, and its most nats
    for answer, value in zip(said, nats, strict=True):
        text = str(tokenizer.decode(list(answer.ids), skip_special_tokens=True))
        agreeing, most = behind.get(text, (0, value))
        behind[text] = (agreeing + 1, max(most, value))
    named = sorted(filter(str.strip, behind), key=lambda text: behind[text], reverse=True)
    tokens = 2 * sum(len(prefill) + plan.new_tokens for prefill in prefills)
    return Suspicion(mean_interval(nats, seed=plan.seed), tuple(named[:NAMED_TEXTS]), tokens)
