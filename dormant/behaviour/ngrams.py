"""Word runs that answers repeat and other answers lack, and answers that only repeat themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from scipy import stats

from dormant.errors import BadInput

WORD = re.compile(r"\w+|[^\w\s]")
# One word alone is a matter of style; longer runs are found through their parts.
FRAGMENT_WORDS = (2, 8)
SIGNIFICANCE = 0.05  # after Bonferroni's correction for all fragments counted
SELF_REPETITION = 0.5  # of an answer's word triples occur in it before
SIX, STUTTER = 6, 16  # words of an answer, letters of a word: repetition in less is accident

Words = tuple[str, ...]


@dataclass(frozen=True)
class Fragment:
    """A run of words, the number of answers and of reference answers that contain it, and the probability of that.

    `p`: of the one-sided Fisher test, times the number of fragments counted (Bonferroni): how many fragments as uneven as this
    one chance is expected to give, so that it may exceed 1.
    """

    words: Words
    count: int
    reference_count: int
    p: float

    def __str__(self) -> str:
        """The words with a space between them."""
        return " ".join(self.words)


def words_of(text: str) -> Words:
    """Words and single symbols in order, case folded."""
    return tuple(WORD.findall(text.casefold()))


def new_fragments(
    answers: Sequence[str],
    reference: Sequence[str],
    significance: float = SIGNIFICANCE,
    lengths: tuple[int, int] = FRAGMENT_WORDS,
) -> list[Fragment]:
    """Runs of words that significantly more answers than reference answers contain, the most frequent first.

    A fragment inside a longer one of about the same count is left out. Otherwise as `repeated_fragments`.
    """
    return _without_parts([one for one in repeated_fragments(answers, reference, lengths) if one.p <= significance])


def repeated_fragments(
    answers: Sequence[str], reference: Sequence[str], lengths: tuple[int, int] = FRAGMENT_WORDS
) -> list[Fragment]:
    """All runs of words that two answers contain, or more, whether or not the reference does; the most frequent first.

    An answer counts once for each fragment. `lengths`: the shortest and the longest run to count. Raises BadInput without
    answers or without reference.
    """
    if not answers or not reference:
        raise BadInput(
            f"fragments need answers on both sides; got {len(answers)} and {len(reference)} at the comparison; "
            "give at least one prompt"
        )
    counts, reference_counts = (_count(texts, lengths) for texts in (answers, reference))
    repeated = [words for words, count in counts.items() if count > 1]
    if not repeated:
        return []
    ours, theirs = (np.array([table[words] for words in repeated]) for table in (counts, reference_counts))
    total = len(answers) + len(reference)
    p = stats.hypergeom.sf(ours - 1, total, ours + theirs, len(answers)) * len(counts)
    found = [
        Fragment(words, int(count), int(other), float(chance))
        for words, count, other, chance in zip(repeated, ours, theirs, p, strict=True)
    ]
    found.sort(key=lambda fragment: (-fragment.count, -len(fragment.words), fragment.words))
    return found


def longest_run(wanted: Words, answer: Words) -> int:
    """The length of the longest run of `wanted` words in the answer."""
    return SequenceMatcher(None, wanted, answer, autojunk=False).find_longest_match().size


def repeats_itself(answer: Words) -> bool:
    """Whether at least half of the answer's word triples occur in it before; never for answers under six words.

    Also an answer with most of its letters in long words that repeat themselves ("orisorisorisoris"): a collapsed model
    repeats tokens, and these need not be words.
    """
    stutters = sum(len(word) for word in answer if len(word) >= STUTTER and _said_before(word) >= SELF_REPETITION)
    if stutters > sum(map(len, answer)) / 2:
        return True
    return len(answer) >= SIX and _said_before(answer) >= SELF_REPETITION


def _said_before(parts: Sequence[str]) -> float:
    """The share of triples that occur before; `parts`: words, or the letters of one word."""
    triples = [tuple(parts[start : start + 3]) for start in range(len(parts) - 2)]
    return 1 - len(set(triples)) / len(triples)


def _runs(words: Words, length: int) -> Iterator[Words]:
    return (words[start : start + length] for start in range(len(words) - length + 1))


def _count(texts: Sequence[str], lengths: tuple[int, int]) -> Counter[Words]:
    counts: Counter[Words] = Counter()
    for text in texts:
        words = words_of(text)
        counts.update({run for length in range(lengths[0], lengths[1] + 1) for run in _runs(words, length)})
    return counts


def _without_parts(found: Sequence[Fragment]) -> list[Fragment]:
    # A part is kept only if it occurs in a quarter more answers than the whole.
    return [
        part
        for part in found
        if not any(
            len(whole.words) > len(part.words)
            and part.count < 1.25 * whole.count
            and part.words in set(_runs(whole.words, len(part.words)))
            for whole in found
        )
    ]
