"""What claims about token lists share: the words to look for, and the decision on a token ranking."""

from __future__ import annotations

from statistics import median

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.session_state import Settings
from dormant.pictures.directions import class_bars, token_list
from dormant.statistics import exact
from dormant.weights.token_classes import class_enrichment, enrichment_sentence, vocabulary_classes
from dormant.weights.token_ranking import (
    LIST,
    Group,
    TokenRanking,
    chance_of_share,
    share_of_random_tokens,
    token_texts,
    words_in_vocabulary,
)
from hypotheses.support.candidates import has_suspect

WORD_CONTROLS = ("random tokens", "random directions")


def has_words(pair: PairDescription, settings: Settings, **parameters: str) -> bool:
    """Whether there are words to look for: those of a known trigger or of a `--candidate`."""
    return has_suspect(pair.truth, settings.candidates)


def groups_to_find(finding: FindingBuilder, text: str) -> list[Group]:
    """The tokens of each of the text's words, looked up in the vocabulary once a session."""
    return finding.once(("words", text), lambda: words_in_vocabulary(finding.pair.dormant.tokenizer, text))


def decide_by_words(
    finding: FindingBuilder,
    ranking: TokenRanking | None,
    text: str,
    score: str,
    reading: str = "",
    list_length: int = LIST,
    classes: bool = False,
) -> None:
    """Decide by the share of the text's words among the ranking's first tokens; controls: random tokens and directions.

    Without a ranking (the tensor was not changed) the share is 0. `classes` adds a picture of the listed tokens' classes.
    """
    tokenizer = finding.pair.dormant.tokenizer
    groups = groups_to_find(finding, text)
    name = f"words among the first {list_length} tokens"
    if ranking is None:
        finding.decide(exact(0.0, n=len(groups)), name, reading)
        finding.note("this tensor was not changed, so it lists no token")
        return
    vocabulary, listed = len(ranking.scores), ranking.top(list_length)
    share = ranking.share(groups, list_length)
    # Rounding on another processor can exchange tokens of equal score at the list's end: one word more or less.
    finding.decide(exact(share, n=len(groups)), name, reading, tolerance=1.001 / len(groups))
    finding.control(WORD_CONTROLS[0], share_of_random_tokens(vocabulary, groups, list_length))
    finding.control(WORD_CONTROLS[1], ranking.share_of_random_directions(groups, list_length))
    ranks = ranking.ranks(groups)
    for kind, place in (("best", min(ranks)), ("median", median(ranks))):
        finding.figure(f"{kind} place of a word", exact(place), f"of {vocabulary} places", tolerance=2 + 0.1 * place)
    chance = chance_of_share(vocabulary, groups, share, list_length)
    finding.figure("chance of such a list", exact(chance), "probability", tolerance=1.0)
    kinds = finding.once(("token classes",), lambda: vocabulary_classes(tokenizer))
    finding.note(enrichment_sentence(kinds, listed))
    marked = [any(token in group for group in groups) for token in listed]
    message = f"{round(share * len(groups))} of {len(groups)} words stand among the first {list_length}"
    scores = [float(ranking.scores[token]) for token in listed]
    finding.picture("tokens", token_list(token_texts(tokenizer, listed), scores, marked, message, score))
    if classes:
        finding.picture("classes", class_bars(class_enrichment(kinds, listed), enrichment_sentence(kinds, listed)))
