"""The plan's soft inversions (experiments 16, 16b, 18a, 18c) as honest baselines: what is soft stays apart from what is hard.

A candidate is relaxed to something that gradients can move, moved with Adam, and projected to real tokens by schedule;
every projection is evaluated again as the ids that it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.batch_plan import Candidate
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import log_mass, named_objective
from dormant.layer0 import read_layer0_pair
from dormant.pairs import Pair
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.layer0_objective import Detector
from dormant.search.validation import unusual_tokens

INVERSION_METHODS = ("mixture", "gumbel", "displacement")


@runtime_checkable
class Relaxable(Protocol):
    """What a soft inversion needs of an objective; larger is better."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that it reads."""
        ...

    def table(self, role: str) -> Float[Tensor, "vocabulary hidden"]:
        """A model's input embeddings."""
        ...

    def value_and_slopes(
        self, rows: Mapping[str, Float[Tensor, "candidate token hidden"]]
    ) -> tuple[Float[Tensor, " candidate"], dict[str, Float[Tensor, "candidate token hidden"]]]:
        """Values of input embeddings by role, on the CPU, and slopes by role."""
        ...

    def evaluate(self, candidates: Sequence[Candidate]) -> Float[Tensor, " candidate"]:
        """Values of real ids, on the CPU."""
        ...


@dataclass(frozen=True)
class InversionSettings:
    """How a soft inversion runs. The plan's: 300 steps, rate 0.1, projected every 25, 48 runs in all (experiment 16).

    "mixture": each place is a distribution over the allowed tokens, and each model mixes its own embeddings by it.
    "gumbel": the same, sampled with Gumbel noise at a temperature that falls from 1 to `coldest` (Jang et al. 2017).
    "displacement": the plan's free embeddings: each model's own row of a start token plus one free vector that both share,
    since vectors free for each model alone would part even a model from itself.
    With `resume_from_projection` a projection becomes the new start, as in the plan; else it only looks.
    """

    length: int
    restarts: int
    steps: int
    method: str = "mixture"
    rate: float = 0.1
    project_every: int = 25
    resume_from_projection: bool = False
    coldest: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises BadInput for counts below one, an unknown method, and rates or temperatures that are not positive."""
        for name in ("length", "restarts", "steps", "project_every"):
            if getattr(self, name) < 1:
                raise BadInput(
                    f"a soft inversion needs {name} >= 1; got {getattr(self, name)} at its settings; raise it"
                )
        if self.method not in INVERSION_METHODS:
            raise BadInput(
                f"a soft inversion's method is one of {', '.join(INVERSION_METHODS)}; got {self.method!r} at its settings; "
                "name one of them"
            )
        if not self.rate > 0 or not 0 < self.coldest <= 1:
            raise BadInput(
                f"a soft inversion needs rate > 0 and 0 < coldest <= 1; got {self.rate} and {self.coldest} at its "
                "settings; correct them"
            )


@dataclass(frozen=True)
class SoftTrace:
    """The values of embeddings that no text has, [restart][step]: they say nothing of any candidate, and name none."""

    values: tuple[tuple[float, ...], ...]

    def best(self, restart: int) -> float:
        """The highest soft value that a restart touched."""
        return max(self.values[restart])


@dataclass(frozen=True)
class Projection:
    """Real ids, and the value that these ids gave when evaluated, after `step` steps."""

    step: int
    ids: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Inversion:
    """A soft inversion's two records, which share no field: `soft` has values without ids, `hard` has ids with values.

    hard: [restart][projection], the first one before any step.
    """

    soft: SoftTrace
    hard: tuple[tuple[Projection, ...], ...]

    def best(self, restart: int) -> Projection:
        """A restart's best projection, by the value that its ids gave."""
        return max(self.hard[restart], key=lambda projection: projection.value)


def invert(objective: Relaxable, settings: InversionSettings, allowed: Int[Tensor, " token"]) -> Inversion:
    """Moves all restarts as one batch, each by its own values; deterministic for a seed.

    allowed: the ids that a mixture mixes and a projection may land on. Raises BadInput without allowed tokens,
    and where a value is no number.
    """
    if allowed.numel() == 0:
        raise BadInput("a search needs allowed tokens; got none at the tokenizer; use allowed_tokens(tokenizer)")
    relax = _Displacement if settings.method == "displacement" else _Mixture
    relaxed: _Relaxed = relax(objective, settings, allowed)
    optimiser = torch.optim.Adam([relaxed.parameter], lr=settings.rate)
    soft: list[Tensor] = []
    hard: list[list[Projection]] = [[] for _ in range(settings.restarts)]
    _record(objective, relaxed, hard, 0)
    for step in range(1, settings.steps + 1):
        rows = relaxed.rows(step)
        values, slopes = objective.value_and_slopes(rows)
        if not values.isfinite().all():
            raise BadInput(
                f"a soft inversion needs finite values; got {values.tolist()} at step {step}; lower its rate"
            )
        soft.append(values)
        optimiser.zero_grad()
        relaxed.push({role: -slope for role, slope in slopes.items()})  # Adam descends
        optimiser.step()
        if step % settings.project_every == 0 or step == settings.steps:
            ids = _record(objective, relaxed, hard, step)
            if settings.resume_from_projection and step < settings.steps:
                relaxed.start_at(ids)
    return Inversion(SoftTrace(tuple(map(tuple, torch.stack(soft, dim=1).tolist()))), tuple(tuple(row) for row in hard))


@runtime_checkable
class _Relaxed(Protocol):
    """A batch of relaxed candidates with one parameter that Adam moves."""

    parameter: Tensor

    def rows(self, step: int) -> dict[str, Tensor]: ...
    def push(self, slopes: Mapping[str, Tensor]) -> None: ...
    def project(self) -> Tensor: ...
    def start_at(self, ids: Tensor) -> None: ...


class _Mixture:
    """Places as distributions over the allowed tokens; with the method "gumbel" as noisy, cooling samples of them."""

    def __init__(self, objective: Relaxable, settings: InversionSettings, allowed: Tensor) -> None:
        self._objective, self._settings = objective, settings
        self._allowed = torch.tensor(sorted(set(allowed.tolist())))
        self._generator = torch.Generator().manual_seed(settings.seed)
        shape = (settings.restarts, settings.length)
        self.parameter = torch.zeros(*shape, self._allowed.numel(), requires_grad=True)
        self._weights = torch.empty(0)
        self.start_at(self._allowed[torch.randint(self._allowed.numel(), shape, generator=self._generator)])

    def start_at(self, ids: Tensor) -> None:
        """Half of the weight on these tokens and half spread over all others: gradients feel both."""
        places = torch.searchsorted(self._allowed, ids)
        with torch.no_grad():
            self.parameter.zero_()
            self.parameter.scatter_(-1, places[..., None], math.log(max(2, self._allowed.numel() - 1)))

    def rows(self, step: int) -> dict[str, Tensor]:
        logits, temperature = self.parameter, 1.0
        if self._settings.method == "gumbel":
            uniform = torch.rand(logits.shape, generator=self._generator).clamp_(1e-9, 1 - 1e-7)
            temperature = self._settings.coldest ** (step / self._settings.steps)
            logits = logits - uniform.log().neg().log()
        self._weights = (logits / temperature).softmax(-1)  # [restart, length, allowed], keeps its graph for `push`
        fixed = self._weights.detach()
        return {
            role: fixed.to(rows.device, rows.dtype) @ rows
            for role in self._objective.roles
            for rows in [self._rows(role)]
        }

    def push(self, slopes: Mapping[str, Tensor]) -> None:
        pulled = [(slope @ self._rows(role).to(slope.dtype).T).float().cpu() for role, slope in slopes.items()]
        (self.parameter.grad,) = torch.autograd.grad(self._weights, self.parameter, torch.stack(pulled).sum(0))

    def project(self) -> Tensor:
        return self._allowed[self.parameter.detach().argmax(-1)]

    def _rows(self, role: str) -> Tensor:
        table = self._objective.table(role).detach()
        return table[self._allowed.to(table.device)]


class _Displacement:
    """Places as each model's own row of a start token plus one vector that both models share."""

    def __init__(self, objective: Relaxable, settings: InversionSettings, allowed: Tensor) -> None:
        self._objective, self._allowed = objective, torch.tensor(sorted(set(allowed.tolist())))
        generator = torch.Generator().manual_seed(settings.seed)
        shape = (settings.restarts, settings.length)
        self._start = self._allowed[torch.randint(self._allowed.numel(), shape, generator=generator)]
        self.parameter = torch.zeros(*shape, objective.table(objective.roles[0]).shape[1], requires_grad=True)

    def start_at(self, ids: Tensor) -> None:
        self._start = ids
        with torch.no_grad():
            self.parameter.zero_()

    def rows(self, step: int) -> dict[str, Tensor]:
        moved = {}
        for role in self._objective.roles:
            table = self._objective.table(role).detach()
            moved[role] = table[self._start.to(table.device)] + self.parameter.detach().to(table.device, table.dtype)
        return moved

    def push(self, slopes: Mapping[str, Tensor]) -> None:
        self.parameter.grad = torch.stack([slope.float().cpu() for slope in slopes.values()]).sum(0)

    def project(self) -> Tensor:
        """The allowed token whose embeddings lie nearest, by the sum of both models' squared distances."""
        distance = torch.zeros(())
        for role, rows in self.rows(0).items():
            table = self._objective.table(role).detach()
            away = torch.cdist(rows.flatten(0, 1).float(), table[self._allowed.to(table.device)].float())
            distance = distance + away.pow(2).cpu()
        return self._allowed[distance.argmin(-1)].view(self._start.shape)


def _record(objective: Relaxable, relaxed: _Relaxed, hard: list[list[Projection]], step: int) -> Tensor:
    ids = relaxed.project()
    candidates = [tuple(row) for row in ids.tolist()]
    for row, candidate, value in zip(hard, candidates, objective.evaluate(candidates).tolist(), strict=True):
        row.append(Projection(step, candidate, value))
    return ids


@dataclass(frozen=True)
class InversionReport:
    """An inversion, its objective's unit, and the mean over probes of the empty row."""

    inversion: Inversion
    unit: str
    empty: float
    best_text: str

    def soft_gains(self) -> list[float]:
        """The highest soft value of each restart over the empty row."""
        return [self.inversion.soft.best(restart) - self.empty for restart in range(len(self.inversion.hard))]

    def hard_gains(self) -> list[float]:
        """What each restart's best projection gave over the empty row."""
        return [self.inversion.best(restart).value - self.empty for restart in range(len(self.inversion.hard))]

    def moved(self) -> list[float]:
        """The share of places whose token the last projection changed: a projection that stays has kept nothing to lose."""
        return [
            sum(now != then for now, then in zip(row[-1].ids, row[0].ids, strict=True)) / len(row[0].ids)
            for row in self.inversion.hard
        ]

    def kept(self, floor: float) -> list[float]:
        """Hard gain over soft gain, from 0 to 1, of the restarts whose soft gain reached `floor`."""
        gains = zip(self.hard_gains(), self.soft_gains(), strict=True)
        return [min(1.0, max(0.0, hard / soft)) for hard, soft in gains if soft >= floor]


def relaxed_objective(pair: Pair, objective: str, probes: int) -> tuple[Relaxable, str, float]:
    """An objective of `OBJECTIVES`, "log-mass" of the unusual tokens (experiment 16b) or "detector" (16), on the first probes.

    Gives it with its unit and the mean of its empty row.
    """
    if objective == "detector":
        detector = Detector(read_layer0_pair(pair.base, pair.dormant))
        return detector, detector.unit, 0.0
    prompter = pair.prompter
    unusual = unusual_tokens(prompter, allowed_tokens(prompter.tokenizer)) if objective == "log-mass" else []
    chosen = log_mass(unusual) if objective == "log-mass" else named_objective(objective)
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in pair.probes[:probes]], chosen)
    return evaluator, chosen.unit, float(evaluator.empty().mean())


def run_soft_inversion(pair: Pair, objective: str, settings: InversionSettings, probes: int) -> InversionReport:
    """Inverts an objective that `relaxed_objective` knows."""
    relaxed, unit, empty = relaxed_objective(pair, objective, probes)
    inversion = invert(relaxed, settings, allowed_tokens(pair.base.tokenizer))
    best = max((inversion.best(restart) for restart in range(settings.restarts)), key=lambda point: point.value)
    return InversionReport(inversion, unit, empty, str(pair.base.tokenizer.decode(list(best.ids))))
