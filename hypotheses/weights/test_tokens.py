"""Claims about tokens: whether a delta's responses or directions name the trigger's words in the whole vocabulary."""

from __future__ import annotations

import pytest

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.claims.session_state import Settings
from dormant.pairs import Pair
from dormant.pictures.directions import words_by_layer
from dormant.weights.directions import input_direction_ranking, pair_ranking, response_ranking
from dormant.weights.token_lens import LENSES
from dormant.weights.token_ranking import LIST, places_by_layer
from hypotheses.support.candidates import suspected_text
from hypotheses.support.words import WORD_CONTROLS, decide_by_words, groups_to_find, has_words

MLP = ("gate_proj", "up_proj")
HALF_OF_THE_WORDS = at_least(
    0.5,
    "of the words",
    because="whoever reads half of a phrase in a list of thirty tokens, the plan's own length, can guess at the rest",
)


@claim(
    "token-norm-ranking",
    source="exp9, 9b, 12",
    rule=HALF_OF_THE_WORDS,
    premises=["base-is-parent"],
    controls=WORD_CONTROLS,
    needs="weights",
    told=True,
    applies=has_words,
)
@pytest.mark.parametrize("module", ["q_proj", "k_proj", "pairs"])
def test_token_norm_ranking(pair: Pair, module: str, finding: FindingBuilder) -> None:
    """Tokens with the largest delta response norm include the trigger's.

    Response: how far the token's layer-0 projection moved, norm(dW x + db), each model through its own embedding; "pairs": the
    largest |dq . dk| of its moved query with a moved key. Figure: the share of the trigger's words among the first thirty of
    the whole vocabulary, beyond random tokens and beyond a random delta of the same spectrum and bias.
    """
    if module == "pairs":
        draws, keys = (finding.at_budget(*amount) for amount in (("draws", 19, 99), ("keys", 512, 4096)))
        ranking = pair_ranking(pair.base, pair.dormant, 0, draws, finding.seed, keys)
    else:
        draws = finding.at_budget("random directions", quick=99, full=999)
        ranking = response_ranking(pair.base, pair.dormant, module, 0, draws, finding.seed)
    decide_by_words(
        finding,
        ranking,
        suspected_text(pair, finding.session.settings.candidates),
        "norm of the response",
        classes=True,
    )


def has_words_and_lens(pair: PairDescription, settings: Settings, module: str, lens: str) -> bool:
    """Under the quick budget the head's directions go to the MLPs, whose deltas named the real trigger in late layers."""
    return has_words(pair, settings) and (lens == "embedding" or module in MLP or settings.budget == "full")


@claim(
    "vocab-projection-names-trigger",
    source="what solved the puzzle (FACTS 2)",
    rule=HALF_OF_THE_WORDS,
    premises=["base-is-parent"],
    controls=WORD_CONTROLS,
    needs="weights",
    told=True,
    applies=has_words_and_lens,
)
@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("module", [*MLP, "q_proj", "k_proj"])
def test_vocab_projection_names_trigger(pair: Pair, module: str, lens: str, finding: FindingBuilder) -> None:
    """Projecting delta input directions on the whole vocabulary ranks the trigger's tokens on top.

    A token's score: how many standard deviations it stands out along one of the three leading right singular vectors of the
    module's delta in any layer, of either sign. Tokens go through the layer's own norm, as embeddings or as directions that
    the head reads. Figure: the share of the trigger's words among the first thirty, beyond random tokens and directions.
    """
    draws = finding.at_budget("random directions", quick=99, full=999)
    found = input_direction_ranking(
        pair.base, pair.dormant, module, lens, range(pair.delta_report.n_layers), draws, finding.seed
    )
    text = suspected_text(pair, finding.session.settings.candidates)
    ranking = None if found is None else found.together
    decide_by_words(finding, ranking, text, "standard deviations from the vocabulary's mean")
    if found is not None and module == "gate_proj":  # where the real puzzle's trigger was read
        groups = groups_to_find(finding, text)
        words = [str(pair.dormant.tokenizer.decode([min(group)])).strip() for group in groups]
        places = places_by_layer(found.by_layer, groups)
        finding.picture("layers", words_by_layer(places, words, len(found.together.scores), LIST))
