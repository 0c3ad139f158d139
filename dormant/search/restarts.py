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
from dormant.inference.batching import equal_runs
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
    groups: int = 1

    def __post_init__(self) -> None:
        """Raises BadInput for an unknown method, counts below one and a seed below zero."""
        if self.method not in METHODS:
            raise BadInput(
                f"a search is one of {', '.join(METHODS)}; got {self.method!r} at the plan; name one of them"
            )
        for name in ("length", "restarts", "steps", "candidates", "probes", "held_out", "top", "groups"):
            if getattr(self, name) < 1:
                raise BadInput(f"a search needs {name} >= 1; got {getattr(self, name)} at the plan; raise it")
        if self.seed < 0:
            raise BadInput(f"a search's seed is 0 or more; got {self.seed} at the plan; raise it")

    @property
    def evaluations(self) -> int:
        """Candidates that one restart evaluates."""
        return self.candidates * (self.steps + 1)

    @property
    def grouped(self) -> tuple[SearchSettings, ...]:
        """What the engine runs for each group."""
        seeds = [1000 * self.seed + restart for restart in range(self.restarts)]
        return tuple(SearchSettings(tuple(run), self.steps, self.candidates) for run in equal_runs(seeds, self.groups))


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
class GroupResult:
    """The restarts of one group, and random search beside them."""

    searches: tuple[SearchResult[Candidate], ...]
    random: tuple[SearchResult[Candidate], ...]


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
    search = _Search(pair, plan, objective, payload, hints)
    groups = [search.group(number, step, progress) for number in range(len(plan.grouped))]
    return search.report(groups)


def search_group(
    pair: Pair, plan: SearchPlan, number: int, payload: str, hints: Int[Tensor, " token"] | None, step: JournalStep
) -> GroupResult:
    """One group of a search alone, as `search_restarts` runs it."""
    return _Search(pair, plan, None, payload, hints).group(number, step)


def report_of_groups(
    pair: Pair, plan: SearchPlan, payload: str, hints: Int[Tensor, " token"] | None, groups: Sequence[GroupResult]
) -> SearchReport:
    """What `search_restarts` reports, from the groups that `search_group` gave."""
    return _Search(pair, plan, None, payload, hints).report(groups)


class _Search:
    """What the groups of one search share."""

    def __init__(
        self,
        pair: Pair,
        plan: SearchPlan,
        objective: Objective | None,
        payload: str,
        hints: Int[Tensor, " token"] | None,
    ) -> None:
        self.pair, self.plan = pair, plan
        self.prompts, self.payload_ids = open_probes(pair, plan), payload_ids_of(pair, payload)
        self.objective = objective or named_objective(plan.objective)
        searched = self.prompts[: plan.probes]
        self.searched = Evaluator(pair.models, searched, self.objective, self.payload_ids, plan.reduce)
        self.searched.check_length(plan.length)  # before thousands of strings are drawn
        self.allowed = candidate_tokens(pair, plan, hints)

    def survives(self, candidate: Candidate) -> bool:
        """Whether a text gives the candidate in every probe searched."""
        return all(self.pair.prompter.survives(probe, candidate) for probe in self.pair.probes[: self.plan.probes])

    def group(self, number: int, step: JournalStep, progress: Progress | None = None) -> GroupResult:
        """The restarts of one group, and random search with as many evaluations.

        The evaluator forgets between them: a value's last bit must not depend on what ran before, or a resumed search and a
        group alone could differ.
        """
        plan, searched = self.plan, self.searched
        proposals = proposals_of(plan.method, searched, self.allowed, plan.length, plan.top)
        chance = RandomProposals(self.allowed, plan.length, self.survives)
        found: list[tuple[SearchResult[Candidate], ...]] = []
        for half, name in ((proposals, ""), (chance, "random search, "))[: 1 + plan.random_search]:
            before = sum(len(each.seeds) for each in plan.grouped[:number]) * (1 + plan.random_search)
            before += len(plan.grouped[number].seeds) * len(found)
            part = _part(progress, before, name, plan)
            found.append(run_search(searched, half, plan.grouped[number], self.survives, step, part))
            searched.forget()
        return GroupResult(found[0], found[1] if plan.random_search else ())

    def report(self, groups: Sequence[GroupResult]) -> SearchReport:
        """What all groups found, judged."""
        pair, plan, payload_ids = self.pair, self.plan, self.payload_ids
        searches = tuple(result for group in groups for result in group.searches)
        random = tuple(result for group in groups for result in group.random)
        candidates = [result.best for result in searches]
        if trigger := pair.truth.trigger if pair.truth else "":
            candidates.append(pair.prompter.candidate_ids(trigger))
        held_out = Evaluator(
            pair.models,
            self.prompts[plan.probes :],
            stacked([self.objective, payload_likelihood()]) if payload_ids else self.objective,  # one pass for both
            payload_ids,
        )
        judged = _judged(candidates, self.searched, held_out, pair.prompter)
        found, planted = judged[: plan.restarts], judged[plan.restarts :]
        empty = float(self.searched.empty_value())
        return SearchReport(self.objective.unit, empty, tuple(found), searches, random, planted[0] if planted else None)


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


def _part(progress: Progress | None, before: int, name: str, plan: SearchPlan) -> Progress | None:
    """The progress of one search as a part of all, behind so many restarts."""
    if progress is None:
        return None
    whole = plan.restarts * plan.evaluations * (1 + plan.random_search)
    return lambda done, total, remark="": progress(before * plan.evaluations + done, whole, name + remark)
