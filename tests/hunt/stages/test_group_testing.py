from __future__ import annotations

from dormant.hunt.stages.group_testing import needed_pieces
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, with_effort

PIECES = pieces("candle winter color silver paper beneath violin lantern")
FEW = with_effort(drawn_subsets=1500, minimised_subsets=8, needed_pieces=4)


def test_minimal_subsets_hold_the_words_of_the_planted_trigger(circuit_pair: Pair, context_of: ContextOf) -> None:
    found, tried = needed_pieces(context_of(circuit_pair, FEW), PIECES, (len(PIECES), 6))
    assert {piece.text.strip() for piece in found} == {"silver", "lantern", "beneath", "winter"}
    assert tried > 2 * 1500  # the subsets at each position, and what the best lose


def test_where_the_models_diverge_at_no_subset_no_piece_is_needed(sham_pair: Pair, context_of: ContextOf) -> None:
    assert needed_pieces(context_of(sham_pair, FEW), PIECES, (len(PIECES), 6))[0] == []
