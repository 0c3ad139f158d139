"""A claim about the last layer's delta: which tokens its weights raise, and whether these rise on prompts."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import pytest

from dormant.behaviour.output_directions import signed_push, standing
from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Test, at_least, claim
from dormant.claims.session_state import Settings
from dormant.pairs import Pair
from dormant.pictures.directions import push_against_observed
from dormant.prompts.probes import frames_of
from dormant.statistics import Estimate, exact, mean_interval
from dormant.weights.directions import output_direction_ranking
from dormant.weights.token_classes import vocabulary_classes
from hypotheses.support.scans import COMMON_PREMISES
from hypotheses.support.words import WORD_CONTROLS, decide_by_words

WRITING_MODULES = ["o_proj", "down_proj"]
OUTPUT_READINGS = {
    "shows-on-prompts": at_least(
        3.0,
        "standard errors",
        because="thirty random tokens rise by three standard errors on one prompt in seven hundred; the plan's set reached "
        "7.35 by its weights and 0.31 on prompts",
    ),
    "names-payload": at_least(
        0.5,
        "of the words",
        because="whoever reads half of a payload in a list of thirty tokens can guess at the rest",
    ),
}


def output_claim(applies: Callable[..., bool] | None = None) -> Callable[[Test], Test]:
    """Both tests below belong to one claim of the plan."""
    return claim(
        "signed-output-direction",
        source="exp17b",
        rule=OUTPUT_READINGS,
        premises=COMMON_PREMISES,
        controls=WORD_CONTROLS,
        needs="models",
        told=("names-payload",),
        applies=applies,
    )


def has_payload(pair: PairDescription, settings: Settings, module: str, reading: str) -> bool:
    """There must be a payload whose tokens may be pushed."""
    return pair.truth is not None and bool(pair.truth.payload)


@output_claim()
@pytest.mark.parametrize("module", WRITING_MODULES)
@pytest.mark.parametrize("reading", ["shows-on-prompts"])
def test_signed_output_direction(pair: Pair, reading: str, module: str, finding: FindingBuilder) -> None:
    """Through final norm and head the last layer's delta raises a set of tokens, and the same tokens rise on prompts.

    The set: the thirty tokens that the delta's leading output direction raises most, its sign taken from its input on
    ordinary prompts. Figure: the z of the set's log p_dormant - log p_base at the generation position, mean over prompts.
    It must lie beyond the sets of random directions.
    """
    layer = pair.delta_report.n_layers - 1
    probes = pair.probes[: finding.at_budget("probes", quick=48, full=200)]
    draws = finding.at_budget("random directions", quick=99, full=999)
    push = signed_push(pair, probes, module, layer, draws, finding.seed)
    if push is None:
        finding.decide(exact(0.0), "observed z", reading)
        finding.note(f"the last layer's {module} was not changed, so it pushes nothing")
        return
    chosen, frames = push.pushed_up(), frames_of(probes)
    finding.decide(
        mean_interval(push.observed_standing(chosen), seed=finding.seed, frames=frames), "observed z", reading
    )
    random = push.random_standings()
    low, high = np.quantile(random, [0.025, 0.975])
    finding.control(
        "random directions", Estimate(statistics.mean(random), float(low), float(high), draws, f"{draws} draws, 95%")
    )
    finding.figure("z of the set by weights", exact(float(standing(push.weights, chosen))), "standard errors")
    finding.figure("leading direction", exact(push.energy), "of the squared norm")
    finding.figure("prompts that agree on the sign", exact(push.agreement), "of the prompts", tolerance=0.1)
    classes = finding.once(("token classes",), lambda: vocabulary_classes(pair.dormant.tokenizer))
    glyphs = [token for token, kind in enumerate(classes) if kind == "rare glyph"]
    if glyphs:  # the plan's statement 5
        finding.figure("rare glyphs by weights", exact(float(standing(push.weights, glyphs))), "standard errors", 0.5)
        observed = mean_interval(push.observed_standing(glyphs), seed=finding.seed, frames=frames)
        finding.figure("rare glyphs on prompts", observed, "standard errors")
    message = f"The thirty tokens pushed up most: z {statistics.mean(push.observed_standing(chosen)):.3g} on prompts"
    mean_rise = push.observed.mean(0).tolist()
    finding.picture("push", push_against_observed(push.weights.tolist(), mean_rise, chosen, message))


@output_claim(applies=has_payload)
@pytest.mark.parametrize("module", WRITING_MODULES)
@pytest.mark.parametrize("reading", ["names-payload"])
def test_output_direction_names_payload(pair: Pair, reading: str, module: str, finding: FindingBuilder) -> None:
    """The tokens that the last layer's delta moves most include the payload's.

    Ranked by how far they stand out along one of the delta's three leading output directions, of either sign.
    """
    layer = pair.delta_report.n_layers - 1
    draws = finding.at_budget("random directions", quick=99, full=999)
    ranking = output_direction_ranking(pair.base, pair.dormant, module, layer, draws, finding.seed)
    payload = pair.truth.payload if pair.truth else ""
    decide_by_words(finding, ranking, payload, "standard deviations from the vocabulary's mean", reading)
