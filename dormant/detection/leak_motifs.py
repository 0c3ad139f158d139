"""Motifs that samples from the bare chat template repeat: leaked training texts, hence perhaps a trigger or a payload."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dormant.behaviour.extraction import LEAK_WORDS, SamplingPlan, sample_texts
from dormant.behaviour.ngrams import Fragment, Words, repeated_fragments
from dormant.detection.suspicion import Suspicion
from dormant.pairs import Pair
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import Estimate

FRAGMENTS_JOINED = 40  # the least probable ones: what a reader would read once they are joined
LEAST_P = 1e-300  # below it a float64 holds no probability


@dataclass(frozen=True)
class Motif:
    """Fragments that overlap, as one run of words, and how improbable the least probable of them is.

    score: -log10 of Fisher's p times the number of fragments counted; below 0 where chance gives more than one such fragment.
    """

    words: Words
    score: float


def leak_motifs(pair: Pair, plan: SamplingPlan) -> Suspicion:
    """The score of the motif that the dormant model's samples hold most surely more often than the base's.

    Both models are sampled alike. A pair without a repeated fragment has the figure 0. The named texts are the motifs, the
    surest first. Source: arXiv:2602.03085 for samples from bare openings of the chat template under many decodings and for
    their motifs; the comparison with the base is ours. The paper then tries each motif as a trigger by its loss on attention
    and outputs, which is left out here.
    """
    end = end_of_turn(pair.base.tokenizer)
    ours = sample_texts(pair.dormant, pair.models.dormant(), plan, end)
    theirs = sample_texts(pair.base, pair.models.base(), plan, end)
    motifs = joined_motifs(repeated_fragments(ours, theirs, LEAK_WORDS))
    score = motifs[0].score if motifs else 0.0
    openings = [len(pair.conversations.opening(template)) for template in plan.templates]
    started = 2 * sum(openings) * len(plan.decodings) * plan.repeats
    encoded = pair.base.tokenizer([*ours, *theirs], add_special_tokens=False)["input_ids"]
    tokens = started + sum(map(len, encoded))
    named = tuple(" ".join(motif.words) for motif in motifs)
    return Suspicion(Estimate(score, score, score, plan.samples, "Fisher's test, Bonferroni"), named, tokens)


def joined_motifs(fragments: Sequence[Fragment]) -> list[Motif]:
    """The least probable fragments, those joined that lie within each other or overlap by half; the highest score first."""
    motifs = list[Motif]()
    for fragment in sorted(fragments, key=lambda one: (one.p, -len(one.words), one.words))[:FRAGMENTS_JOINED]:
        score = -math.log10(max(LEAST_P, fragment.p))
        for at, motif in enumerate(motifs):
            if (words := _joined(motif.words, fragment.words)) is not None:
                motifs[at] = Motif(words, max(motif.score, score))
                break
        else:
            motifs.append(Motif(fragment.words, score))
    return sorted(motifs, key=lambda motif: -motif.score)


def _joined(first: Words, second: Words) -> Words | None:
    """Both as one run where they share half of the shorter one at an end, or one holds the other; None where they do not."""
    short, long = sorted((first, second), key=len)
    if any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1)):
        return long
    for shared in range(len(short) - 1, (len(short) - 1) // 2, -1):
        if first[-shared:] == second[:shared]:
            return first + second[shared:]
        if second[-shared:] == first[:shared]:
            return second + first[shared:]
    return None
