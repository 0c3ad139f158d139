"""Restarts of one search, chance beside them, and what it takes to believe their strings: other probes, the payload.

The claims and `dormant gcg` both run `search_restarts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from dormant.errors import BadInput, NotServed
from dormant.inference.batch_plan import Candidate
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import Objective, fires, named_objective, over_probes, payload_likelihood, stacked
from dormant.journal import JournalStep, unkept
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import OpenPrompt, Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.proposals import METHODS, RandomProposals, proposals_of
from dormant.search.run import SearchResult, SearchSettings, run_search


@dataclass(frozen=True)
class SearchPlan:
    """How much a search does: everything that decides its result, apart from the pair, the payload and the hints.

    probes, held_out: how many of the pair's probes are searched on, and how many of the next ones only judge. top: tokens a
    place that the gradient proposes. random_search: whether random strings stand beside, as many as each restart evaluates.
    """

    length: int
    restarts: int
    steps: int
    candidates: int
    probes: int
    held_out: int
    seed: int
    objective: str = "kl"
    method: str = "gcg"
    reduce: str = "mean"
    tokens: str = "printable"
    top: int = 128
    random_search: bool = True

    def __post_init__(self) -> None:
        """Raises BadInput for an unknown method, counts below one and a seed below zero."""
        if self.method not in METHODS:
            raise BadInput(
                f"a search is one of {', '.join(METHODS)}; got {self.method!r} at the plan; name one of them"
            )
        for name in ("length", "restarts", "steps", "candidates", "probes", "held_out", "top"):
            if getattr(self, name) < 1:
                raise BadInput(f"a search needs {name} >= 1; got {getattr(self, name)} at the plan; raise it")
        if self.seed < 0:
            raise BadInput(f"a search's seed is 0 or more; got {self.seed} at the plan; raise it")

    @property
    def evaluations(self) -> int:
        """Candidates that one restart evaluates."""
        return self.candidates * (self.steps + 1)

    @property
    def settings(self) -> SearchSettings:
        """What the engine runs."""
        seeds = tuple(1000 * self.seed + restart for restart in range(self.restarts))
        return SearchSettings(seeds, self.steps, self.candidates)


@dataclass(frozen=True)
class FoundString:
    """A string with its value on the probes searched, its gains over the same probes without it, and where it fires.

    value, gain, held_out_gain: over the probes searched and those never searched, in the objective's unit. fires: whether
    each held-out probe then gives the payload; empty where no payload is known.
    """

    ids: Candidate
    text: str
    value: float
    gain: float
    held_out_gain: float
    fires: tuple[bool, ...]

    @property
    def firing_share(self) -> float:
        """The share of held-out probes on which it fires; 0 where no payload is known."""
        return sum(self.fires) / len(self.fires) if self.fires else 0.0


@dataclass(frozen=True)
class SearchReport:
    """What the restarts found, one entry each, and their searches; random search beside them; the planted trigger.

    empty: the objective's value without any candidate.
    """

    unit: str
    empty: float
    found: tuple[FoundString, ...]
    searches: tuple[SearchResult[Candidate], ...]
    random: tuple[SearchResult[Candidate], ...]
    planted: FoundString | None

    @property
    def best(self) -> FoundString:
        """The string with the highest gain on the probes searched."""
        return max(self.found, key=lambda string: string.gain)


def search_restarts(
    pair: Pair,
    plan: SearchPlan,
    objective: Objective | None = None,
    payload: str = "",
    hints: Int[Tensor, " token"] | None = None,
    step: JournalStep = unkept,
    progress: Progress | None = None,
) -> SearchReport:
    """Searches on the first `probes` of the pair and judges on the next `held_out` (experiments 18b, 18c and 19).

    objective: replaces the plan's, for an objective that is not in `OBJECTIVES`. payload: defaults to the known one. hints:
    all that strings are made of, random ones too; for example the tokens at which the delta acts most. step: what a journal
    of `search_key` keeps. Raises NotServed if the pair has too few probes, BadInput if the objective reads an unknown payload.
    """
    prompter, prompts = pair.prompter, open_probes(pair, plan)
    payload_ids = payload_ids_of(pair, payload)
    chosen = objective or named_objective(plan.objective)
    searched = Evaluator(pair.models, prompts[: plan.probes], chosen, payload_ids, plan.reduce)
    searched.check_length(plan.length)  # before thousands of strings are drawn
    allowed = candidate_tokens(pair, plan, hints)

    def survives(candidate: Candidate) -> bool:
        return all(prompter.survives(probe, candidate) for probe in pair.probes[: plan.probes])

    proposals = proposals_of(plan.method, searched, allowed, plan.length, plan.top)
    searches = run_search(searched, proposals, plan.settings, survives, step, _half(progress, 0, plan))
    random: tuple[SearchResult[Candidate], ...] = ()
    if plan.random_search:
        searched.forget()  # or a value's last bit would depend on what ran before, and a resumed search could differ
        chance, half = RandomProposals(allowed, plan.length, survives), _half(progress, 1, plan)
        random = run_search(searched, chance, plan.settings, survives, step, half)
    searched.forget()
    candidates = [result.best for result in searches]
    if trigger := pair.truth.trigger if pair.truth else "":
        candidates.append(prompter.candidate_ids(trigger))
    held_out = Evaluator(
        pair.models,
        prompts[plan.probes :],
        stacked([chosen, payload_likelihood()]) if payload_ids else chosen,  # one pass for both
        payload_ids,
    )
    judged = _judged(candidates, searched, held_out, prompter)
    found, planted = judged[: plan.restarts], judged[plan.restarts :]
    empty = float(searched.empty_value())
    return SearchReport(chosen.unit, empty, tuple(found), searches, random, planted[0] if planted else None)


def search_key(
    pair: Pair, plan: SearchPlan, payload: str = "", hints: Int[Tensor, " token"] | None = None
) -> dict[str, Any]:
    """Everything that decides what `search_restarts` finds under a named objective, for the head of a journal."""
    run_config = pair.models.run_config
    return {
        "pair": pair.fingerprint,
        "dtype": run_config.precision,
        "device": run_config.device.type,
        "plan": asdict(plan),
        "probes": [[prompt.before, prompt.after] for prompt in open_probes(pair, plan)],
        "payload": payload_ids_of(pair, payload),
        "hints": None if hints is None else sorted(hints.tolist()),
    }


def open_probes(pair: Pair, plan: SearchPlan) -> list[OpenPrompt]:
    """The probes searched, then those held out; raises NotServed where the pair has too few."""
    needed = plan.probes + plan.held_out
    if len(pair.probes) < needed:
        raise NotServed(
            f"a search needs {needed} probes; got {len(pair.probes)} at pair {pair.name}; give more with --probes"
        )
    prompter = pair.prompter
    return [prompter.open(probe) for probe in pair.probes[:needed]]


def payload_ids_of(pair: Pair, payload: str = "") -> Candidate:
    """A payload, by default the known one, as an answer's first ids; none where it is unknown."""
    text = payload or (pair.truth.payload if pair.truth else "")
    return tuple(pair.base.tokenizer.encode(text, add_special_tokens=False)) if text else ()


def candidate_tokens(pair: Pair, plan: SearchPlan, hints: Int[Tensor, " token"] | None = None) -> Int[Tensor, " token"]:
    """The ids that strings are made of."""
    allowed = allowed_tokens(pair.base.tokenizer, plan.tokens)
    return allowed if hints is None else allowed[torch.isin(allowed, hints)]


def _judged(
    candidates: Sequence[Candidate], searched: Evaluator, held_out: Evaluator, prompter: Prompter
) -> list[FoundString]:
    values, empty = searched.evaluate(candidates), float(searched.empty_value())
    count = len(held_out.prompts)
    others, *payload = torch.split(held_out.per_probe_of(candidates), count)
    gains = over_probes(others, searched.reduce) - over_probes(held_out.empty()[:count, None], searched.reduce)
    fired = fires(payload[0]).T.tolist() if payload else [()] * len(candidates)
    return [
        FoundString(ids, str(prompter.tokenizer.decode(list(ids))), value, value - empty, gain, tuple(row))
        for ids, value, gain, row in zip(candidates, values.tolist(), gains.tolist(), fired, strict=True)
    ]


def _half(progress: Progress | None, number: int, plan: SearchPlan) -> Progress | None:
    """The progress of the guided search (0) or the random one (1) as a part of both."""
    if progress is None or not plan.random_search:
        return progress
    half, name = plan.restarts * plan.evaluations, ("", "random search, ")[number]
    return lambda done, total, remark="": progress(number * half + done, 2 * half, name + remark)
