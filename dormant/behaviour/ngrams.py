"""What answers repeat that other answers never say: word runs counted by answer, and answers that only repeat themselves."""

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
FRAGMENT_LENGTHS = (
    2,
    8,
)  # words in a fragment: one word alone is a matter of style, longer runs are found through their parts
SIGNIFICANCE = 0.05  # after Bonferroni's correction for all fragments counted
SELF_REPETITION = 0.5  # of an answer's word triples: half of what it says it has said before
SIX, STUTTER = 6, 16  # the words and the letters from which repetition is no accident

Words = tuple[str, ...]


@dataclass(frozen=True)
class Fragment:
    """A run of words, in how many answers it stands, in how many reference answers, and the chance of that.

    `p` is the one-sided Fisher test's, times the number of fragments that were counted (Bonferroni).
    """

    words: Words
    count: int
    reference_count: int
    p: float

    def __str__(self) -> str:
        """The words with a space between them."""
        return " ".join(self.words)


def words_of(text: str) -> Words:
    """Words and single symbols in order, without regard to case."""
    return tuple(WORD.findall(text.casefold()))


def new_fragments(
    answers: Sequence[str],
    reference: Sequence[str],
    significance: float = SIGNIFICANCE,
    lengths: tuple[int, int] = FRAGMENT_LENGTHS,
) -> list[Fragment]:
    """Runs of 2 to 8 words that more answers hold than chance would have it, given the reference; most frequent first.

    An answer counts once for each fragment; `lengths` are the shortest and the longest run to count. A fragment inside a
    longer one of about its count is left out. Raises BadInput without answers or without reference.
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
        Fragment(words, int(count), int(other), min(1.0, float(chance)))
        for words, count, other, chance in zip(repeated, ours, theirs, p, strict=True)
        if chance <= significance
    ]
    found.sort(key=lambda fragment: (-fragment.count, -len(fragment.words), fragment.words))
    return _without_parts(found)


def longest_run(wanted: Words, answer: Words) -> int:
    """How many words of `wanted` stand in the answer as one run, in order."""
    return SequenceMatcher(None, wanted, answer, autojunk=False).find_longest_match().size


def repeats_itself(answer: Words) -> bool:
    """Whether at least half of the answer's word triples stood in it before; answers of under six words never do.

    So does an answer most of whose letters lie in long words that go round in themselves ("orisorisorisoris"): a collapsed
    model repeats tokens, and nothing says that these are words.
    """
    stutters = sum(len(word) for word in answer if len(word) >= STUTTER and _said_before(word) >= SELF_REPETITION)
    if stutters > sum(map(len, answer)) / 2:
        return True
    return len(answer) >= SIX and _said_before(answer) >= SELF_REPETITION


def _said_before(parts: Sequence[str]) -> float:
    """The share of the triples that stood there before; `parts` are words, or the letters of one."""
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
    # A part is news only where it stands in a quarter more answers than the whole.
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
