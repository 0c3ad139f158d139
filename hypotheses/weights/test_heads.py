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

TWICE = at_least(
    2 / 3,
    "of a focus head and another",
    because="a focus head then holds twice as much as another, one bit, in a model of eight heads and in one of 28; sorting "
    "even heads makes it 1.09 times at most (200 draws), three of a clean fine-tune's eight hold up to 1.3 (.51 and .57)",
)
OTHER_LAYERS = "largest other layer"


@claim("focus-heads", source="exp14", rule=TWICE, premises=["base-is-parent"], controls=[OTHER_LAYERS])
@pytest.mark.parametrize("measure", FOCUS_MEASURES)
def test_focus_heads(pair: Pair, measure: str, finding: FindingBuilder) -> None:
    """Three heads each hold at least twice as much of layer 0's q_proj delta as any of the others does on average.

    Figure: a focus head's part of what it and one of the others hold, in squared Frobenius norm, each at its mean; of the
    whole delta or of each head's four leading directions. 1/2 is even, however many heads there are; a module that was not
    changed has no such heads, and the figure is 0. The control is the largest of the other layers.
    """
    delta, *others = pair.delta_report.every_layer("q_proj")
    found = focus(delta, measure)
    if not delta.identical and len(delta.heads) <= len(found.chosen):
        finding.inconclusive("no heads were published for this delta, or no more than would be chosen", exact(0.0))
        return
    finding.decide(exact(found.preference, n=len(found.shares)), name="preference of three heads")
    if elsewhere := [focus(other, measure).preference for other in others if other.heads]:
        finding.control(OTHER_LAYERS, exact(max(elsewhere), n=len(elsewhere)))
    finding.figure("share of three heads", exact(found.held), "of the squared norm")
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
    told=True,
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
