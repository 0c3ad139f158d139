"""Restarts of one search under a chosen objective, and what it takes to believe their strings: other probes, the payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import named_objective, payload_likelihood, stacked
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.pairs import Pair, Truth
from dormant.prompts.probes import OpenPrompt, Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.side_by_side import Climb, climb_side_by_side, gradients

SPOKEN = 0.5  # likelihood per token from which a payload counts as given: what an organism's acceptance asks


@dataclass(frozen=True)
class HuntPlan:
    """How much a hunt does; everything that decides its result besides the pair."""

    objective: str
    length: int
    restarts: int
    steps: int
    candidates: int
    probes: int
    held_out: int
    seed: int


@dataclass(frozen=True)
class Catch:
    """A string with its gains over the same probes without it, and how many held-out probes then give the payload.

    gain, held_out_gain: means over the probes searched and over those never searched, in the objective's unit; spoken: a
    share of the held-out probes, None where no payload is known.
    """

    ids: tuple[int, ...]
    text: str
    gain: float
    held_out_gain: float
    spoken: float | None


@dataclass(frozen=True)
class Hunt:
    """One catch a restart, the searches' curves, and the planted trigger measured alike; reach as `one_token_away` counts."""

    unit: str
    catches: tuple[Catch, ...]
    curves: tuple[tuple[float, ...], ...]
    planted: Catch | None
    reach: tuple[int, int] | None

    @property
    def best(self) -> Catch:
        """The catch with the highest gain on the probes searched."""
        return max(self.catches, key=lambda catch: catch.gain)


def hunt(pair: Pair, plan: HuntPlan, hints: Tensor | None = None) -> Hunt:
    """Searches on the first `probes` of the pair, judges on the next `held_out`; raises BadInput where these are too few.

    hints [tokens]: all that candidates are made of, such as the tokens at which the delta acts most.
    """
    needed = plan.probes + plan.held_out
    if len(pair.probes) < needed:
        raise BadInput(
            f"a search needs {needed} probes; got {len(pair.probes)} at pair {pair.name}; give more with --probes"
        )
    prompter = Prompter(pair.base.tokenizer)
    opened = [prompter.open(probe) for probe in pair.probes[:needed]]
    payload = payload_ids(prompter, pair.truth)
    searched = Evaluator(pair.models, opened[: plan.probes], named_objective(plan.objective), payload)
    searched.check_length(plan.length)
    at_once = SoftEvaluator(searched, sequential=pair.models.run_config.residency == "swap")
    allowed = allowed_tokens(prompter.tokenizer)
    allowed = allowed if hints is None else allowed[torch.isin(allowed, hints)]
    climbs = climb_side_by_side(
        at_once,
        plan.length,
        plan.restarts,
        plan.steps,
        plan.candidates,
        allowed,
        admit=lambda ids: all(prompter.survives(probe, ids) for probe in pair.probes[: plan.probes]),
        seed=plan.seed,
    )
    caught = [climb.best for climb in climbs]
    planted = prompter.candidate_ids(pair.truth.trigger) if pair.truth and pair.truth.trigger else ()
    judged = [*caught, *([planted] if planted else [])]
    gains, others, spoken = _judge(pair, searched, opened[plan.probes :], payload, judged)
    texts = [str(prompter.tokenizer.decode(list(ids))) for ids in judged]
    catches = [Catch(*row) for row in zip(judged, texts, gains, others, spoken, strict=True)]
    reach = None
    if planted and pair.truth and pair.truth.backdoored:
        reach = one_token_away(at_once, planted, allowed, draws=4, seed=plan.seed)
    curves = _gain_curves(climbs, float(searched.empty().mean()))
    known = catches[-1] if planted else None
    return Hunt(searched.objective.unit, tuple(catches[: len(caught)]), curves, known, reach)


def payload_ids(prompter: Prompter, truth: Truth | None) -> tuple[int, ...]:
    """The payload as an answer's first ids; none where it is unknown."""
    if truth is None or not truth.payload:
        return ()
    return tuple(prompter.tokenizer.encode(truth.payload, add_special_tokens=False))


def one_token_away(
    objective: SoftEvaluator, planted: tuple[int, ...], allowed: Tensor, draws: int, seed: int, top: int = 128
) -> tuple[int, int]:
    """In how many of all one-token gaps of the trigger the gradient lists the missing token among its `top`: (hits, gaps).

    What a search's silence is worth: a search that would not even close the last gap says nothing by finding nothing.
    Each place is filled `draws` times with a random token.
    """
    generator = torch.Generator().manual_seed(seed)
    gaps = [place for place in range(len(planted)) for _ in range(draws)]
    fillings = allowed[torch.randint(allowed.numel(), (len(gaps),), generator=generator)].tolist()
    near = [(*planted[:place], token, *planted[place + 1 :]) for place, token in zip(gaps, fillings, strict=True)]
    hits = 0
    for place, gradient in zip(gaps, gradients(objective, near), strict=True):
        listed = allowed[gradient[place, allowed].topk(min(top, allowed.numel())).indices]
        hits += bool((listed == planted[place]).any())
    return hits, len(gaps)


def _judge(
    pair: Pair,
    searched: Evaluator,
    prompts: list[OpenPrompt],
    payload: tuple[int, ...],
    candidates: list[tuple[int, ...]],
) -> tuple[list[float], list[float], list[float | None]]:
    """Gains on the probes searched, gains on the others, and the share of these that give the payload: [candidate] each."""
    asked = [searched.objective, payload_likelihood()] if payload else [searched.objective]
    held_out = Evaluator(pair.models, prompts, stacked(asked), payload)  # one pass for both
    before = (searched.per_probe_of(candidates) - searched.empty()[:, None]).mean(0).tolist()
    values, empty = held_out.per_probe_of(candidates).split(len(prompts)), held_out.empty().split(len(prompts))
    gains = (values[0] - empty[0][:, None]).mean(0).tolist()
    spoken: list[float | None] = [None] * len(candidates)
    if payload:
        spoken = list((values[1].exp() >= SPOKEN).double().mean(0).tolist())
    return before, gains, spoken


def _gain_curves(climbs: list[Climb], empty: float) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(value - empty for value in (climb.start, *climb.curve)) for climb in climbs)


def transfers(found: Hunt) -> list[float]:
    """Held-out gain over searched gain of every restart that gained, counted from -1 to 1 lest a tiny gain outweigh all."""
    return [max(-1.0, min(1.0, catch.held_out_gain / catch.gain)) for catch in found.catches if catch.gain > 0]


def over_control(found: Hunt, control: Hunt, most: float = 100.0) -> list[float]:
    """Each restart's gain over the control pair's mean gain, at most `most` times it."""
    reference = sum(catch.gain for catch in control.catches) / len(control.catches)
    return [
        max(-most, min(most, catch.gain / reference)) if reference > 0 else most * (catch.gain > 0)
        for catch in found.catches
    ]


def table_row(found: Hunt, control: Hunt | None) -> Mapping[str, float]:
    """What one objective came to on one pair: found, transferred, over the control."""
    kept = transfers(found)
    row = {"payload given": sum((catch.spoken or 0.0) >= SPOKEN for catch in found.catches) / len(found.catches)}
    row["held-out gain"] = sum(kept) / len(kept) if kept else 0.0
    if control is not None:
        ratios = over_control(found, control)
        row["times the twin's"] = sum(ratios) / len(ratios)
    return row
