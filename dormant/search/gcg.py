"""Greedy coordinate gradient (Zou et al. 2023) over a two-model objective, and random search at equal evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput
from dormant.search.objective import Objective

PATIENCE = 10_000
Candidate = tuple[int, ...]
Progress = Callable[[int, float], None]  # called with steps done and the best value so far
Admit = Callable[[Candidate], bool]  # whether a candidate may be tried, say whether it survives in its probes


@dataclass(frozen=True)
class SearchSettings:
    """How long a search runs: candidate length, steps, candidates a step, top tokens per place, seed."""

    length: int
    steps: int
    candidates: int = 64
    top: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises BadInput unless all counts are at least one."""
        for name in ("length", "steps", "candidates", "top"):
            if getattr(self, name) < 1:
                raise BadInput(f"a search needs {name} >= 1; got {getattr(self, name)} at its settings; raise it")


@dataclass(frozen=True)
class SearchResult:
    """The best candidate and its value; the first one's value, the best after every step, evaluations and seconds."""

    best: Candidate
    value: float
    start: float
    curve: tuple[float, ...]
    evaluations: int
    seconds: float


def gcg(
    objective: Objective,
    settings: SearchSettings,
    allowed: Tensor,
    progress: Progress | None = None,
    admit: Admit | None = None,
) -> SearchResult:
    """Swaps one token a step for the best of the candidates that the gradient proposes; never accepts a loss.

    It starts from the best of a first batch of random candidates: a trigger is a needle, and around most single random
    strings the objective is flat and its gradient says nothing. The batch counts as evaluations, not as a step.

    allowed [tokens]: the ids that may be used. Proposals are drawn without replacement over (place, token) and never
    repeat a candidate of this run. `curve` has one value a step. Deterministic for a seed. Raises BadInput without
    allowed tokens or where no admitted start is found.
    """
    started = time.perf_counter()
    allowed = _distinct(allowed)
    generator = torch.Generator().manual_seed(settings.seed)
    batch = list(islice(_random_candidates(allowed, settings.length, generator, admit), settings.candidates))
    values = objective.evaluate(torch.tensor(batch))
    best, value = batch[int(values.argmax())], float(values.max())
    start, seen, curve = value, set(batch), list[float]()
    swaps: Tensor | None = None
    for step in range(settings.steps):
        if swaps is None:  # the gradient of an unchanged incumbent is unchanged too
            swaps = _best_swaps(objective.gradient(torch.tensor(best)), allowed, settings.top)
        proposals = _propose(best, swaps, settings.candidates, generator, seen, admit)
        if proposals:
            values = objective.evaluate(torch.tensor(proposals))
            winner = int(values.argmax())
            if float(values[winner]) > value:
                best, value, swaps = proposals[winner], float(values[winner]), None
        curve.append(value)
        if progress:
            progress(step + 1, value)
    return SearchResult(best, value, start, tuple(curve), len(seen), time.perf_counter() - started)


def random_search(
    objective: Objective,
    settings: SearchSettings,
    allowed: Tensor,
    evaluations: int,
    progress: Progress | None = None,
    admit: Admit | None = None,
) -> SearchResult:
    """The best of `evaluations` distinct random candidates, the null of every guided search.

    `curve` has one value per batch of `settings.candidates`; `settings.steps` and `top` play no part. Fewer are tried
    where fewer exist. Raises BadInput as `gcg` does, and for less than one evaluation.
    """
    if evaluations < 1:
        raise BadInput(f"a random search needs evaluations >= 1; got {evaluations} at its settings; raise it")
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(settings.seed)
    source = _random_candidates(_distinct(allowed), settings.length, generator, admit)
    best, value, start, seen, curve = Candidate(), -float("inf"), -float("inf"), 0, list[float]()
    while batch := list(islice(source, min(settings.candidates, evaluations - seen))):
        values = objective.evaluate(torch.tensor(batch))
        start = float(values[0]) if seen == 0 else start
        winner = int(values.argmax())
        if float(values[winner]) > value:
            best, value = batch[winner], float(values[winner])
        seen += len(batch)
        curve.append(value)
        if progress:
            progress(len(curve), value)
    return SearchResult(best, value, start, tuple(curve), seen, time.perf_counter() - started)


def allowed_tokens(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """The ids that a search may use: printable, neither special nor added, and kept when decoded and encoded alone."""
    ids = [token for token in range(len(tokenizer)) if token not in tokenizer.added_tokens_decoder]
    texts = [str(tokenizer.decode([token], clean_up_tokenization_spaces=False)) for token in ids]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    kept = [
        token
        for token, text, back in zip(ids, texts, encoded, strict=True)
        if text.strip() and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text and list(back) == [token]
    ]
    return torch.tensor(kept, dtype=torch.long)


def _distinct(allowed: Tensor) -> Tensor:
    if allowed.numel() == 0:
        raise BadInput("a search needs allowed tokens; got none at the tokenizer; use allowed_tokens(tokenizer)")
    return allowed.unique()


def _best_swaps(gradient: Tensor, allowed: Tensor, top: int) -> Tensor:
    """The steepest tokens of every place: gradient [length, vocabulary] -> (place, token) [length * top, 2]."""
    tokens = allowed[gradient[:, allowed].topk(min(top, allowed.numel()), dim=1).indices]
    places = torch.arange(gradient.shape[0])[:, None].expand_as(tokens)
    return torch.stack((places, tokens), dim=-1).flatten(0, 1)


def _propose(
    incumbent: Candidate,
    swaps: Tensor,
    count: int,
    generator: torch.Generator,
    seen: set[Candidate],
    admit: Admit | None,
) -> list[Candidate]:
    """Up to `count` new one-token changes of the incumbent, marked as seen."""
    proposals: list[Candidate] = []
    for place, token in swaps[torch.randperm(len(swaps), generator=generator)].tolist():
        candidate = (*incumbent[:place], token, *incumbent[place + 1 :])
        if candidate not in seen and (admit is None or admit(candidate)):
            seen.add(candidate)
            proposals.append(candidate)
            if len(proposals) == count:
                break
    return proposals


def _random_candidates(
    allowed: Tensor, length: int, generator: torch.Generator, admit: Admit | None
) -> Iterator[Candidate]:
    """Distinct random candidates, until the space is spent or nothing new has been admitted for `PATIENCE` draws."""
    seen: set[Candidate] = set()
    admitted = refused = 0
    while len(seen) < allowed.numel() ** length and refused < PATIENCE:
        rows = allowed[torch.randint(allowed.numel(), (64, length), generator=generator)]
        for candidate in map(tuple, rows.tolist()):
            if candidate in seen or (admit is not None and not admit(candidate)):
                refused += 1
            else:
                admitted, refused = admitted + 1, 0
                yield candidate
            seen.add(candidate)
    if not admitted:
        raise BadInput(
            f"a search needs an admitted candidate; got none in {refused} random ones at length {length}; "
            "allow more tokens or another length"
        )
