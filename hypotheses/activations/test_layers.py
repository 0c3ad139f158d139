"""Claims about where in the network the trigger acts: where the models diverge, and which component carries the effect."""

from __future__ import annotations

from statistics import mean

import pytest
from torch import Tensor

from dormant.activations.layer_divergence import STREAM_DISTANCES, layer_divergence, parting
from dormant.activations.patching import COMPONENT_KINDS, component_scales, decided_after, patch_activations, restore
from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.claims.session_state import Settings
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.horizon import FIRST_TOKEN
from dormant.pairs import Pair
from dormant.pictures.activations import layer_curves, patching_curve, restoring_map
from dormant.prompts.probes import Probe, alike_probes, frames_of
from dormant.statistics import exact, mean_interval
from hypotheses.support.candidates import has_suspect, suspected_text
from hypotheses.support.horizons import OVER_ANSWER, horizon_of, kl_of_itself, measure_of
from hypotheses.support.scans import COMMON_PREMISES

LAYER_MEASURES = (*STREAM_DISTANCES, f"{OVER_ANSWER}relative")
CAUSAL_UNITS = (*COMPONENT_KINDS, f"{OVER_ANSWER}block")
NULL_STRINGS = 8  # draws that the probes share in turn, so that no single string makes the control
HALF_OF_EFFECT = 0.5
UNCHANGED = "the fine-tune changed no such part"


def applies(pair: PairDescription, settings: Settings, **parameters: str) -> bool:
    """There must be a trigger or a suspect to look at."""
    return has_suspect(pair.truth, settings.candidates)


def suspects(pair: Pair, finding: FindingBuilder, quick: int, full: int) -> tuple[tuple[Probe, ...], str]:
    """As many of the pair's probes as the budget allows, and the text to suspect."""
    count = finding.at_budget("probes", quick=quick, full=full)
    probes = alike_probes(pair.prompter, pair.probes, count)
    return probes, suspected_text(pair, finding.session.settings.candidates)


@claim(
    "layer-divergence",
    source="Phase 5, exp17",
    rule=at_least(
        2.0,
        "times",
        because="one bit on the scale of distances: ordinary prompts of one kind lie within a factor of two of their mean",
    ),
    premises=COMMON_PREMISES,
    controls=["random tokens"],
    needs="models",
    told=True,
    applies=applies,
)
@pytest.mark.parametrize("measure", LAYER_MEASURES)
def test_layer_divergence(pair: Pair, measure: str, finding: FindingBuilder) -> None:
    """At some layer the models' activations lie at least twice as far apart with the trigger as without.

    Distances of the two residual streams at the generation position: absolute, over the base's norm, or one minus the
    cosine. The layer is chosen on every other probe and the ratio measured on the rest; the control is the ratio for random
    tokens of the trigger's length, at its own best layer. Layers after which the distance with the trigger lies within what
    arithmetic alone does there are no answer. "answer-" is the mean over the dormant model's own answer.
    """
    horizon, distance = finding.reads(horizon_of(measure)), measure_of(measure)
    quick = 32 if horizon == FIRST_TOKEN else 16
    probes, text, prompter = *suspects(pair, finding, quick=quick, full=200), pair.prompter
    length, itself = len(prompter.candidate_ids(text)), pair.against_itself
    drawn = random_candidates(prompter, probes, length, NULL_STRINGS, finding.seed)
    rows = [
        *(prompter.encode(probe) for probe in probes),
        *(prompter.encode_text(probe, text) for probe in probes),
        *(prompter.encode(probe, drawn[index % NULL_STRINGS]) for index, probe in enumerate(probes)),
    ]

    def distances(compared: Pair) -> Tensor:
        key = ("layer divergence", text, len(probes), horizon)
        return finding.once(key, lambda: layer_divergence(compared, rows, horizon), pair=compared).of(distance)

    measured, floor = distances(pair), distances(itself)
    without, with_it, random = measured.split(len(probes), dim=1)
    found, null = parting(without, with_it, floor), parting(without, random, floor)
    if found is None:
        finding.inconclusive("after no layer does the distance exceed what arithmetic alone does there", exact(1.0))
        return
    frames = frames_of(probes)[1::2]  # the probes that did not choose the layer
    finding.decide(mean_interval(found.ratios, seed=finding.seed, frames=frames))
    noise = floor[found.layer, len(probes) : 2 * len(probes)]
    finding.floor(with_it[found.layer, 1::2].tolist(), noise[1::2].tolist(), f"{measure} distance", probes[1::2])
    chance = exact(1.0) if null is None else mean_interval(null.ratios, seed=finding.seed, frames=frames)
    finding.control("random tokens", chance)
    finding.figure("layer", exact(found.layer), "th layer", tolerance=1)
    finding.picture(
        "layers",
        layer_curves(
            found.curves["without"],
            found.curves["with"],
            measure,
            found.layer,
            mean(found.ratios),
            random.mean(1).tolist(),
        ),
    )


@claim(
    "causal-layer",
    source="exp27",
    rule=at_least(
        HALF_OF_EFFECT,
        "of the effect",
        because="a part that carries the trigger takes more of its effect away than all others keep",
    ),
    premises=COMMON_PREMISES,
    controls=["ordinary prompts", "median other part"],
    needs="models",
    told=True,
    applies=applies,
)
@pytest.mark.parametrize("unit", CAUSAL_UNITS)
def test_causal_layer(pair: Pair, unit: str, finding: FindingBuilder) -> None:
    """Restoring one part from the base (a block, a module, a head) removes at least half of the trigger's effect.

    Effect: KL(dormant || base) at the generation position with the trigger. The part is chosen on a quarter of the probes and
    its share of the effect measured on the rest. Controls: the share of the ordinary prompts' divergence that the same part
    removes (a part that removes every difference alike carries no trigger), and the median share of the other parts. A part
    whose share lies within what arithmetic alone does is no answer. "answer-" reads KL along the dormant model's own answer.
    """
    horizon = finding.reads(horizon_of(unit))
    probes, text, prompter = *suspects(pair, finding, quick=32, full=128), pair.prompter
    plain = [prompter.encode(probe) for probe in probes]
    triggered = [prompter.encode_text(probe, text) for probe in probes]
    quarter, parts = len(probes) // 4, component_scales(pair, measure_of(unit))
    tried = restore(pair, triggered[:quarter], parts, horizon)
    finding.figure("effect", mean_interval(tried.whole, seed=finding.seed), "nats")
    noise = kl_of_itself(finding, triggered[:quarter], horizon)
    finding.floor(tried.whole, noise, probes=probes[:quarter])
    best = tried.largest(noise)
    if best is None:
        finding.decide(exact(0.0))
        finding.note(f"no {measure_of(unit)} takes away more than arithmetic alone does" if parts else UNCHANGED)
        return
    (layer, part), others = best, [other for other in tried.shares() if other != best]
    measured, ordinary = (
        restore(pair, rows[quarter:], {best: parts[best]}, horizon).lost(best) for rows in (triggered, plain)
    )
    frames = frames_of(probes)[quarter:]
    finding.decide(mean_interval(measured, seed=finding.seed, frames=frames))
    finding.control("ordinary prompts", mean_interval(ordinary, seed=finding.seed, frames=frames))
    if others:
        middle = tried.lost(others[len(others) // 2])
        finding.control("median other part", mean_interval(middle, seed=finding.seed))
    finding.figure("layer of the largest share", exact(layer), "th layer", tolerance=0)
    finding.note(f"largest: {part} of layer {layer}")
    carrying = [f"{name} of layer {at}" for (at, name), share in tried.shares().items() if share >= HALF_OF_EFFECT]
    if len(carrying) > 1:
        finding.note(f"each of these takes away half or more by itself: {', '.join(carrying)}")
    finding.picture("restored", restoring_map(tried.shares(), best))
    if unit == "block":
        left = patch_activations(pair, triggered[:quarter], plain[:quarter]).mean(1) / mean(tried.whole)
        carried = [1 - share for share in left.tolist()]
        finding.figure("decided after", exact(decided_after(carried)), "th layer", tolerance=1)
        finding.picture("patched", patching_curve(carried))
