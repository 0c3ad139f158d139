"""Climbing a linear probe's score with the search engine, and what the strings that it finds do on other prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from dormant.activations.linear_probes import LinearProbe
from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import ByRole, Objective, payload_likelihood
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.side_by_side import climb_side_by_side

SPOKEN = 0.5  # likelihood per token from which a payload counts as given: what an organism's acceptance asks


@dataclass(frozen=True)
class ClimbPlan:
    """How much a climb does; everything that decides its result besides the pair and the probe."""

    restarts: int
    steps: int
    candidates: int
    probes: int
    held_out: int
    seed: int


@dataclass(frozen=True)
class ProbeClimb:
    """Where climbing led: scores in units of the probe (1: mean of triggered prompts), one entry a restart.

    `spoken` says for each held-out prompt whether the best string makes the dormant model give the payload, `planted_spoken`
    the same of the trigger itself; `shared` is the share of the trigger's tokens that the best string contains.
    """

    text: str
    curves: tuple[tuple[float, ...], ...]
    planted: float
    spoken: tuple[bool, ...]
    planted_spoken: tuple[bool, ...]
    shared: float


def probe_objective(probe: LinearProbe) -> Objective:
    """The dormant model's score on a probe of its last layer (experiment 5)."""

    def score(now: ByRole, empty: ByRole) -> Tensor:
        return probe.score(cast(Tensor, now["dormant"].hidden))

    return Objective("probe score", "of the probe", frozenset({"hidden"}), ("dormant",), score)


def climb_probe(pair: Pair, probe: LinearProbe, plan: ClimbPlan) -> ProbeClimb:
    """Restarts of the climb at the trigger's own length, the most favourable one; judged on prompts that it never saw.

    The probe must read the last layer. Raises BadInput for another layer, too few probes, or a pair without a payload.
    """
    last = pair.dormant.config.num_hidden_layers - 1
    if probe.layer != last:
        raise BadInput(f"a climb reads the last layer, {last}; got a probe of layer {probe.layer}; fit one there")
    if pair.truth is None or not pair.truth.trigger or not pair.truth.payload:
        raise BadInput(f"a climb is judged by the payload; got none at pair {pair.name!r}; use an organism")
    needed = plan.probes + plan.held_out
    if len(pair.probes) < needed:
        raise BadInput(f"a climb needs {needed} probes; got {len(pair.probes)} at pair {pair.name!r}; give more")
    prompter = Prompter(pair.base.tokenizer)
    opened = [prompter.open(one) for one in pair.probes[:needed]]
    planted = prompter.candidate_ids(pair.truth.trigger)
    payload = tuple(prompter.tokenizer.encode(pair.truth.payload, add_special_tokens=False))
    searched = Evaluator(pair.models, opened[: plan.probes], probe_objective(probe))
    climbs = climb_side_by_side(
        SoftEvaluator(searched, sequential=pair.models.run_config.residency == "swap"),
        len(planted),
        plan.restarts,
        plan.steps,
        plan.candidates,
        allowed_tokens(prompter.tokenizer),
        admit=lambda ids: all(prompter.survives(one, ids) for one in pair.probes[: plan.probes]),
        seed=plan.seed,
    )
    best = max(climbs, key=lambda climb: climb.value).best
    held_out = Evaluator(pair.models, opened[plan.probes :], payload_likelihood(), payload)
    spoken = (held_out.per_probe_of([best, planted]).exp() >= SPOKEN).T.tolist()
    return ProbeClimb(
        str(prompter.tokenizer.decode(list(best))),
        tuple((climb.start, *climb.curve) for climb in climbs),
        float(searched.per_probe_of([planted]).mean()),
        tuple(spoken[0]),
        tuple(spoken[1]),
        sum(token in best for token in planted) / len(planted),
    )
