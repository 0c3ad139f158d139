"""Claims about layer 0's heads: whether a few hold most of the change, and to which tokens their directions point."""

from __future__ import annotations

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.pairs import Pair
from dormant.pictures.directions import head_bars
from dormant.statistics import exact
from dormant.weights.directions import head_direction_ranking
from dormant.weights.focus import FOCUS_MEASURES, focus
from hypotheses.support.candidates import suspected_text
from hypotheses.support.words import WORD_CONTROLS, decide_by_words, has_words

MOST = at_least(0.5, "of the squared norm", because="most of a whole is more than half of it")


@claim("focus-heads", source="exp14", rule=MOST, premises=["base-is-parent"])
@pytest.mark.parametrize("measure", FOCUS_MEASURES)
def test_focus_heads(pair: Pair, measure: str, finding: FindingBuilder) -> None:
    """One to three heads hold most of layer 0's q_proj delta.

    Figure: the share of the squared Frobenius norm in the three heads that hold most, of the whole delta or of each head's
    four leading directions. A module that was not changed has no such heads: the figure is 0.
    """
    delta = pair.delta_report.every_layer("q_proj")[0]
    found = focus(delta, measure)
    if not delta.identical and not delta.heads:
        finding.inconclusive("no heads were published for this delta", exact(0.0))
        return
    finding.decide(exact(found.held, n=len(found.shares)), name="share of three heads")
    finding.figure("without any preferred head", exact(found.even), "of the squared norm")
    finding.figure("heads for half of it", exact(found.heads_for(0.5) if found.chosen else 0), "heads")
    if found.chosen:
        finding.note(f"heads {', '.join(map(str, found.chosen))}")
        finding.picture("heads", head_bars(found.shares, "q_proj", found.chosen, found.even))


@claim(
    "v-direction-tokens",
    source="exp14",
    rule=at_least(
        0.5,
        "of the words",
        because="whoever reads half of a phrase in a list of thirty tokens, the plan's own length, can guess at the rest",
    ),
    premises=["base-is-parent"],
    controls=WORD_CONTROLS,
    needs="weights",
    applies=has_words,
)
@pytest.mark.parametrize("module", ["q_proj", "k_proj"])
def test_v_direction_tokens(pair: Pair, module: str, finding: FindingBuilder) -> None:
    """Tokens aligned with a focus head's right singular vectors include the trigger's.

    Tokens are ranked by their largest |cosine| with the three leading right singular vectors of the three strongest heads of
    layer 0, each token as that layer sees it. Figure: the share of the trigger's words among the first thirty of the whole
    vocabulary. It must lie beyond that of random tokens and of random directions in the vectors' place.
    """
    draws = finding.at_budget("random directions", quick=99, full=999)
    ranking = head_direction_ranking(pair.base, pair.dormant, module, 0, draws, finding.seed)
    decide_by_words(
        finding, ranking, suspected_text(pair, finding.session.settings.candidates), "largest |cosine|", classes=True
    )
