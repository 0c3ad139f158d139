"""A set of restarts of GCG with random search beside it, and what their strings do on probes that no search saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts import Prompter
from dormant.search.gcg import SearchResult, SearchSettings, allowed_tokens, gcg, random_search
from dormant.search.objective import DivergenceObjective


@dataclass(frozen=True)
class Plan:
    """How much a campaign does; everything that decides its result besides the pair."""

    length: int
    restarts: int
    steps: int
    candidates: int
    probes: int
    held_out: int
    seed: int


@dataclass(frozen=True)
class Campaign:
    """What a campaign found: one entry a restart, KL in nats; gains are over the same probes without any candidate."""

    gcg: tuple[SearchResult, ...]
    random: tuple[SearchResult, ...]
    starts: tuple[float, ...]
    gains: tuple[float, ...]
    held_out_gains: tuple[float, ...]
    best_text: str
    planted: float | None


def run_campaign(pair: Pair, plan: Plan) -> Campaign:
    """Run the restarts (experiment 19) and random search at the same number of evaluations.

    The first `probes` of the pair are searched on, the next `held_out` are never seen by a search. Raises BadInput where
    the pair has too few probes.
    """
    needed = plan.probes + plan.held_out
    if len(pair.probes) < needed:
        raise BadInput(
            f"a search needs {needed} probes; got {len(pair.probes)} at pair {pair.name}; give more with --probes"
        )
    prompter = Prompter(pair.base.tokenizer)
    opened = [prompter.open(probe) for probe in pair.probes[:needed]]
    searched = DivergenceObjective(pair.models, opened[: plan.probes])
    held_out = DivergenceObjective(pair.models, opened[plan.probes :])
    allowed = allowed_tokens(prompter.tokenizer)

    def admit(candidate: tuple[int, ...]) -> bool:
        return all(prompter.survives(probe, candidate) for probe in pair.probes[: plan.probes])

    found, chance, starts = [], [], []
    for restart in range(plan.restarts):
        settings = SearchSettings(plan.length, plan.steps, plan.candidates, seed=plan.seed * 1000 + restart)
        found.append(gcg(searched, settings, allowed, admit=admit))
        chance.append(random_search(searched, settings, allowed, found[-1].evaluations, admit=admit))
        starts.append(found[-1].start)
    best = torch.tensor([run.best for run in found])
    winner = found[max(range(plan.restarts), key=lambda index: found[index].value)]
    planted = None
    if pair.truth is not None and pair.truth.trigger:
        planted = float(searched.evaluate(torch.tensor([prompter.candidate_ids(pair.truth.trigger)]))[0])
    return Campaign(
        tuple(found),
        tuple(chance),
        tuple(starts),
        tuple((searched.evaluate(best) - searched.empty()).tolist()),
        tuple((held_out.evaluate(best) - held_out.empty()).tolist()),
        str(prompter.tokenizer.decode(list(winner.best))),
        planted,
    )


def late_gain(curve: tuple[float, ...], start: float) -> float:
    """The share of a search's whole gain that its last quarter of steps brought; 0 for a search that gained nothing."""
    whole = curve[-1] - start
    before = curve[len(curve) - 1 - max(1, len(curve) // 4)]
    return (curve[-1] - before) / whole if whole > 0 else 0.0
