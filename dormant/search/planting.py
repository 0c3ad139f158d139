"""Could a search have found a string? The same search for strings that are known to be there.

A planted string is its own objective: each of its tokens in its place counts one, and the gradient points to it. No objective
of a model leads so directly to a trigger. A search that misses planted strings would miss any trigger, so its power here is an
upper bound; it needs no truth about the pair and runs no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.inference.batch_plan import Candidate
from dormant.inference.candidate_effects import random_candidates
from dormant.pairs import Pair
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.proposals import GradientProposals, HillClimbProposals, proposals_of
from dormant.search.restarts import SearchPlan, candidate_tokens
from dormant.search.run import run_search
from dormant.search.soft_inversion import InversionSettings, invert

PLANTED_SEED = 10**9  # apart from the seeds of restarts, which would draw the planted strings themselves


@dataclass(frozen=True)
class PlantedStrings:
    """One string a restart as what it searches for; a candidate is (number of its restart, *ids)."""

    targets: tuple[Candidate, ...]
    vocabulary: int

    def evaluate(self, candidates: Sequence[Candidate]) -> Float[Tensor, " candidate"]:
        """How many of the string's tokens stand in their places."""
        matched = [
            sum(ours == planted for ours, planted in zip(ids, self.targets[number], strict=True))
            for number, *ids in candidates
        ]
        return torch.tensor(matched, dtype=torch.float64)

    def gradient(self, candidates: Sequence[Candidate]) -> Float[Tensor, "candidate token vocabulary"]:
        """Slopes towards each token's one-hot vector: one for the planted token of each place."""
        planted = torch.tensor([self.targets[number] for number, *_ in candidates])
        slopes = torch.zeros(*planted.shape, self.vocabulary)
        return slopes.scatter_(-1, planted[..., None], 1.0)


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
            both = enumerate(zip(drawn, self.targets[number], strict=True))
            yield (number, *(token if place in replaced else kept for place, (token, kept) in both))

    def guides(self, incumbents: Sequence[Candidate]) -> list[Any]:
        """What the planted strings' gradient says."""
        return self.inner.guides(incumbents)

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """The changes of the string behind its number."""
        for changed in self.inner.changes(incumbent[1:], guide, generator):
            yield (incumbent[0], *changed)


def planted_found(pair: Pair, plan: SearchPlan, trials: int, missing: int) -> tuple[int, int]:
    """How many of `trials` planted random strings a search of this plan ends in: (found, trials).

    missing: how many of the planted tokens its first strings lack; a search begins with all of them missing. Strings are of the
    pair's allowed tokens and survive in its probes, as those of a search do. Raises BadInput where too few survive.
    """
    prompter, probes = pair.prompter, pair.probes[: plan.probes]
    targets = tuple(random_candidates(prompter, probes, plan.length, trials, PLANTED_SEED + plan.seed))
    allowed = candidate_tokens(pair, plan)
    planted = PlantedStrings(targets, 1 + max(int(allowed.max()), *map(max, targets)))
    settings = replace(plan, restarts=trials, groups=1).grouped[0]
    inner = proposals_of(plan.method, planted, allowed, plan.length, plan.top)
    proposals = NumberedProposals(inner, targets, missing, settings.seeds[0])

    def survives(candidate: Candidate) -> bool:
        return all(prompter.survives(probe, candidate[1:]) for probe in probes)

    results = run_search(planted, proposals, settings, survives)
    return sum(result.best[1:] == target for result, target in zip(results, targets, strict=True)), trials


@dataclass(frozen=True, eq=False)
class PlantedEmbeddings:
    """One string a restart as what a soft inversion looks for: minus the mean squared distance from its tokens' embeddings.

    All restarts are evaluated together, in order.
    """

    embeddings: Float[Tensor, "vocabulary hidden"]
    targets: Int[Tensor, "restart token"]
    roles: tuple[str, ...] = ("dormant",)

    def table(self, role: str) -> Float[Tensor, "vocabulary hidden"]:
        """The embeddings."""
        return self.embeddings

    def evaluate(self, candidates: Sequence[Candidate]) -> Float[Tensor, " candidate"]:
        """Values of real ids, on the CPU."""
        return self._value(self.embeddings[torch.tensor(candidates)]).double()

    def value_and_slopes(
        self, rows: Mapping[str, Float[Tensor, "candidate token hidden"]]
    ) -> tuple[Float[Tensor, " candidate"], dict[str, Float[Tensor, "candidate token hidden"]]]:
        """Values and slopes of embeddings that need be no token's."""
        (role,) = self.roles
        leaf = rows[role].detach().requires_grad_()
        with torch.enable_grad():
            value = self._value(leaf)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach().double(), {role: slope}

    def _value(self, rows: Tensor) -> Tensor:
        return -(rows - self.embeddings[self.targets]).pow(2).mean((1, 2))


def planted_kept(pair: Pair, settings: InversionSettings, trials: int) -> tuple[int, int]:
    """In how many of `trials` restarts a soft inversion's projection has half of a planted string's tokens: (kept, trials)."""
    allowed = allowed_tokens(pair.base.tokenizer)
    generator = torch.Generator().manual_seed(PLANTED_SEED + settings.seed)
    targets = allowed[torch.randint(allowed.numel(), (trials, settings.length), generator=generator)]
    table = cast(Tensor, pair.models.dormant().get_input_embeddings().weight).detach().float().cpu()
    inversion = invert(PlantedEmbeddings(table, targets), replace(settings, restarts=trials), allowed)
    matched = [
        max(sum(ours == there for ours, there in zip(point.ids, target, strict=True)) for point in points)
        for points, target in zip(inversion.hard, targets.tolist(), strict=True)
    ]
    return sum(2 * count >= settings.length for count in matched), trials
