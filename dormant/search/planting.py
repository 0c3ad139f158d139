"""Could a search have found a string? The same search, on the same pair, for strings that are known to be there.

A string is planted by a bonus on the objective: each of its tokens in its place adds as much. No truth about the pair is
needed. The objective then leads to the string as directly as one can: a search that misses it would miss any trigger, and one
that finds it finds what its objective leads to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.inference.batch_plan import Candidate
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import Objective, named_objective
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.proposals import GradientProposals, HillClimbProposals, proposals_of
from dormant.search.restarts import SearchPlan, candidate_tokens, open_probes, payload_ids_of
from dormant.search.run import run_search
from dormant.search.soft_inversion import InversionSettings, Relaxable, invert, relaxed_objective

PLANTED_SEED = 10**9  # apart from the seeds of restarts, which would draw the planted strings themselves


@dataclass(frozen=True, eq=False)
class PlantedStrings:
    """An objective with a bonus for one string a restart; a candidate is (number of its restart, *ids).

    bonus: for each token of the string that stands in its place, in the objective's unit.
    """

    objective: Evaluator
    targets: Sequence[Candidate]
    bonus: float

    def evaluate(self, candidates: Sequence[Candidate]) -> Float[Tensor, " candidate"]:
        """Values with the bonus; float64, on the CPU."""
        matched = [
            sum(ours == planted for ours, planted in zip(ids, self.targets[number], strict=True))
            for number, *ids in candidates
        ]
        own = self.objective.evaluate([candidate[1:] for candidate in candidates])
        return own + self.bonus * torch.tensor(matched, dtype=own.dtype)

    def gradient(self, candidates: Sequence[Candidate]) -> Float[Tensor, "candidate token vocabulary"]:
        """Slopes towards each token's one-hot vector, the planted tokens' raised by the bonus."""
        slopes = self.objective.gradient([candidate[1:] for candidate in candidates])
        for row, (number, *_) in zip(slopes, candidates, strict=True):
            row[torch.arange(len(self.targets[number])), torch.tensor(self.targets[number])] += self.bonus
        return slopes


@dataclass(frozen=True, eq=False)
class NumberedProposals:
    """The proposals of a search, each candidate with its restart's number, from strings that lack some of the planted tokens.

    first_seed: of the restarts' generators, whose seeds count up from it.
    """

    inner: HillClimbProposals | GradientProposals
    targets: Sequence[Candidate]
    missing: int
    first_seed: int

    def draws(self, generator: torch.Generator) -> Iterator[Candidate]:
        """The planted string with `missing` of its tokens, at random places, replaced by random ones."""
        number = generator.initial_seed() - self.first_seed
        for drawn in self.inner.draws(generator):
            replaced = torch.randperm(len(drawn), generator=generator)[: self.missing].tolist()
            yield (
                number,
                *(
                    token if place in replaced else kept
                    for place, (token, kept) in enumerate(zip(drawn, self.targets[number], strict=True))
                ),
            )

    def guides(self, incumbents: Sequence[Candidate]) -> list[Any]:
        """What the planted objective's gradient says."""
        return self.inner.guides(incumbents)

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """The changes of the string behind its number."""
        for changed in self.inner.changes(incumbent[1:], guide, generator):
            yield (incumbent[0], *changed)


def planted_found(
    pair: Pair, plan: SearchPlan, trials: int, missing: int, bonus: float, objective: Objective | None = None
) -> tuple[int, int]:
    """How many of `trials` planted random strings a search of this plan ends in: (found, trials).

    missing: how many of the planted tokens its first strings lack; the plan's length is what a search begins with. bonus: what
    each planted token adds. objective: as for `search_restarts`. Raises BadInput as that does.
    """
    prompter, probes = Prompter(pair.base.tokenizer), pair.probes[: plan.probes]
    prompts = open_probes(pair, plan)[: plan.probes]
    chosen = objective or named_objective(plan.objective)
    evaluator = Evaluator(pair.models, prompts, chosen, payload_ids_of(pair), plan.reduce)
    targets = random_candidates(prompter, probes, plan.length, trials, PLANTED_SEED + plan.seed)
    planted = PlantedStrings(evaluator, targets, bonus)
    settings = replace(plan, restarts=trials).settings
    inner = proposals_of(plan.method, planted, candidate_tokens(pair, plan), plan.length, plan.top)
    proposals = NumberedProposals(inner, targets, missing, settings.seeds[0])

    def survives(candidate: Candidate) -> bool:
        return all(prompter.survives(probe, candidate[1:]) for probe in probes)

    results = run_search(planted, proposals, settings, survives)
    return sum(result.best[1:] == target for result, target in zip(results, targets, strict=True)), trials


@dataclass(frozen=True, eq=False)
class PlantedEmbeddings:
    """A relaxed objective with a bonus for one string a restart, the same at a token's embedding whether soft or hard.

    It falls with the squared distance of the dormant model's embeddings from the planted tokens', is `bonus` at the string
    itself and about 0 at random tokens. All restarts are evaluated together, in order.
    """

    objective: Relaxable
    targets: Int[Tensor, "restart token"]
    bonus: float

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that the objective reads."""
        return self.objective.roles

    def table(self, role: str) -> Float[Tensor, "vocabulary hidden"]:
        """A model's input embeddings."""
        return self.objective.table(role)

    def evaluate(self, candidates: Sequence[Candidate]) -> Float[Tensor, " candidate"]:
        """Values of real ids with the bonus, on the CPU."""
        rows = self.table(self.roles[0])
        value = self._bonus(rows[torch.tensor(candidates, device=rows.device)].float())
        return self.objective.evaluate(candidates) + value.double().cpu()

    def value_and_slopes(
        self, rows: Mapping[str, Float[Tensor, "candidate token hidden"]]
    ) -> tuple[Float[Tensor, " candidate"], dict[str, Float[Tensor, "candidate token hidden"]]]:
        """Values and slopes with the bonus."""
        values, slopes = self.objective.value_and_slopes(rows)
        role = self.roles[0]
        leaf = rows[role].detach().float().requires_grad_()
        with torch.enable_grad():
            value = self._bonus(leaf)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        return values + value.detach().double().cpu(), {**slopes, role: slopes[role] + slope.to(slopes[role].dtype)}

    def _bonus(self, rows: Tensor) -> Tensor:
        table = self.table(self.roles[0]).detach().float()
        apart = 2 * (table - table.mean(0)).pow(2).sum(-1).mean()  # the mean squared distance of two tokens
        away = (rows - table[self.targets.to(table.device)]).pow(2).sum(-1)  # [restart, token]
        return self.bonus * (1 - away / apart).mean(-1)


def planted_kept(pair: Pair, objective: str, settings: InversionSettings, probes: int, bonus: float) -> tuple[int, int]:
    """In how many restarts a soft inversion's projection has half of a planted string's tokens: (kept, restarts)."""
    relaxed, _, _ = relaxed_objective(pair, objective, probes)
    allowed = allowed_tokens(pair.base.tokenizer)
    generator = torch.Generator().manual_seed(PLANTED_SEED + settings.seed)
    places = torch.randint(allowed.numel(), (settings.restarts, settings.length), generator=generator)
    planted = PlantedEmbeddings(relaxed, allowed[places], bonus)
    kept = 0
    for points, target in zip(invert(planted, settings, allowed).hard, planted.targets.tolist(), strict=True):
        matched = (sum(ours == there for ours, there in zip(point.ids, target, strict=True)) for point in points)
        kept += 2 * max(matched) >= len(target)
    return kept, settings.restarts
