"""A set of restarts of GCG with random search beside it, and what their strings do on probes that no search saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import named_objective
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.course import Progress, SearchResult, SearchSettings
from dormant.search.gcg import gcg, hill_climb, random_search
from dormant.search.moves import Candidate
from dormant.search.side_by_side import climb_side_by_side

AT_ONCE = 512  # random candidates a batch: their search has no steps to keep apart
METHODS = {"gcg": gcg, "hill-climb": hill_climb}


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
    objective: str = "kl"
    method: str = "gcg"
    reduce: str = "mean"
    tokens: str = "printable"
    top: int = 128
    swaps: int = 1
    resize: float = 0.0
    buffer: int = 1
    patience: int = 0
    evaluations: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Raises BadInput for an unknown method, and for counts below one."""
        if self.method not in METHODS:
            raise BadInput(
                f"a search is one of {', '.join(METHODS)}; got {self.method!r} at the plan; name one of them"
            )
        for name in ("restarts", "probes", "held_out"):
            if getattr(self, name) < 1:
                raise BadInput(f"a search needs {name} >= 1; got {getattr(self, name)} at the plan; raise it")
        self.settings(0)  # which has checks of its own

    @property
    def is_plain(self) -> bool:
        """Whether its restarts are the simplest GCG, single swaps for a number of steps, which runs side by side."""
        simple = (self.swaps, self.resize, self.buffer, self.patience, self.evaluations, self.seconds)
        return self.method == "gcg" and simple == (1, 0.0, 1, 0, 0, 0.0)

    def settings(self, restart: int) -> SearchSettings:
        """One restart's settings; its seed is its own."""
        return SearchSettings(
            self.length, self.steps, self.candidates, self.top, self.seed * 1000 + restart, swaps=self.swaps,
            resize=self.resize, buffer=self.buffer, patience=self.patience, evaluations=self.evaluations,
            seconds=self.seconds,
        )  # fmt: skip


@dataclass(frozen=True)
class Campaign:
    """What a campaign found: one entry a restart, in the objective's unit.

    Gains are over the same probes without any candidate. `planted` is the true trigger's value where it is known.
    """

    gcg: tuple[SearchResult, ...]
    random: tuple[SearchResult, ...]
    starts: tuple[float, ...]
    gains: tuple[float, ...]
    held_out_gains: tuple[float, ...]
    best_text: str
    planted: float | None
    texts: tuple[str, ...] = ()
    empty: float = 0.0
    unit: str = "nats"


Watch = Callable[[int, str, Progress], None]  # called with the restart, the search's name and its progress


def run_campaign(
    pair: Pair,
    plan: Plan,
    watch: Watch | None = None,
    journal: Journal | None = None,
    payload: str = "",
    hints: Tensor | None = None,
) -> Campaign:
    """Run the restarts (experiment 19) and random search at the same number of evaluations.

    The first `probes` of the pair are searched on, the next `held_out` are never seen by a search. `payload` defaults to
    the known one. hints [tokens]: all that candidates are made of, random search's too, so that what a gradient adds is told
    from what hints do. With a journal a killed campaign resumes to the same end. Raises BadInput where the pair has too few
    probes, and where the objective reads a payload that nobody knows.
    """
    needed = plan.probes + plan.held_out
    if len(pair.probes) < needed:
        raise BadInput(
            f"a search needs {needed} probes; got {len(pair.probes)} at pair {pair.name}; give more with --probes"
        )
    prompter = Prompter(pair.base.tokenizer)
    searched, held_out = _evaluators(pair, plan, prompter, payload or (pair.truth.payload if pair.truth else ""))
    for evaluator in (searched, held_out):
        evaluator.check_length(plan.length)  # before thousands of prompts too long are asked whether they survive
    allowed = allowed_tokens(prompter.tokenizer, plan.tokens)
    allowed = allowed if hints is None else allowed[torch.isin(allowed, hints)]
    admit = survivor(prompter, pair.probes[: plan.probes])
    if journal is None and watch is None and plan.is_plain:
        found = _side_by_side(pair, plan, searched, allowed, admit)
    else:
        found = []
        for restart in range(plan.restarts):
            searched.forget()  # or a value's last bit would depend on what ran before, and a resumed search could fork
            seen, name = _watch(watch, restart, plan.method), f"{pair.name}/{plan.method}-{restart}"
            settings = plan.settings(restart)
            found.append(METHODS[plan.method](searched, settings, allowed, seen, admit, journal, name))
    chance = []
    for restart, run in enumerate(found):
        searched.forget()
        settings = replace(plan.settings(restart), candidates=max(plan.candidates, AT_ONCE))
        seen, name = _watch(watch, restart, "random"), f"{pair.name}/random-{restart}"
        chance.append(random_search(searched, settings, allowed, run.evaluations, seen, admit, journal, name))
    empty, empty_held_out = float(searched.empty_value()), float(held_out.empty_value())
    texts = [str(prompter.tokenizer.decode(list(run.best))) for run in found]
    winner = max(range(plan.restarts), key=lambda index: found[index].value)
    planted = None
    if pair.truth is not None and pair.truth.trigger:
        planted = float(searched.evaluate(torch.tensor([prompter.candidate_ids(pair.truth.trigger)]))[0])
    return Campaign(
        tuple(found),
        tuple(chance),
        tuple(run.start for run in found),
        tuple(value_of(searched, run.best) - empty for run in found),
        tuple(value_of(held_out, run.best) - empty_held_out for run in found),
        texts[winner],
        planted,
        tuple(texts),
        empty,
        searched.objective.unit,
    )


def _side_by_side(
    pair: Pair, plan: Plan, searched: Evaluator, allowed: Tensor, admit: Callable[[Candidate], bool]
) -> list[SearchResult]:
    """All restarts as one batch, which small budgets need: alone a restart pays a pass's fixed cost for a few ids."""
    began = time.perf_counter()
    at_once = SoftEvaluator(searched, sequential=pair.models.run_config.residency == "swap")
    climbs = climb_side_by_side(
        at_once, plan.length, plan.restarts, plan.steps, plan.candidates, allowed, admit, plan.seed, plan.top
    )
    # A restart that runs out of untried swaps evaluates fewer; random search is granted the whole number.
    each, seconds = plan.candidates * (plan.steps + 1), (time.perf_counter() - began) / plan.restarts
    return [SearchResult(climb.best, climb.value, climb.start, climb.curve, each, seconds) for climb in climbs]


def survivor(prompter: Prompter, probes: tuple[Probe, ...]) -> Callable[[Candidate], bool]:
    """Whether a candidate keeps its ids in every one of these probes."""
    return lambda candidate: all(prompter.survives(probe, candidate) for probe in probes)


def value_of(evaluator: Evaluator, candidate: Candidate) -> float:
    """One candidate's value."""
    return float(evaluator.evaluate(torch.tensor([candidate]))[0])


def late_gain(curve: tuple[float, ...], start: float) -> float:
    """The share of a search's whole gain that its last quarter of steps brought; 0 for a search that gained nothing."""
    whole = curve[-1] - start if curve else 0.0
    before = curve[len(curve) - 1 - max(1, len(curve) // 4)] if len(curve) > 1 else start
    return (curve[-1] - before) / whole if whole > 0 else 0.0


def _evaluators(pair: Pair, plan: Plan, prompter: Prompter, payload: str) -> tuple[Evaluator, Evaluator]:
    opened = [prompter.open(probe) for probe in pair.probes[: plan.probes + plan.held_out]]
    objective = named_objective(plan.objective)
    ids = tuple(prompter.tokenizer.encode(payload, add_special_tokens=False)) if payload else ()
    parts = opened[: plan.probes], opened[plan.probes :]
    first, second = (Evaluator(pair.models, part, objective, ids, plan.reduce) for part in parts)
    return first, second


def _watch(watch: Watch | None, restart: int, name: str) -> Callable[[Progress], None] | None:
    return None if watch is None else lambda progress: watch(restart, name, progress)
