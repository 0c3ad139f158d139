"""GCG and random search on objectives whose optimum is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.search import SearchResult, SearchSettings, allowed_tokens, gcg, random_search
from tests.builders import build_tokenizer

VOCABULARY = 50
ALLOWED = torch.arange(10, VOCABULARY)
SETTINGS = SearchSettings(length=3, steps=30, candidates=16, top=8, seed=1)


@dataclass
class Linear:
    """A sum of one weight per place and token; the optimum is each place's largest allowed weight."""

    weights: Tensor = field(
        default_factory=lambda: torch.randn(
            3, VOCABULARY, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
    )
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def evaluate(self, candidates: Tensor) -> Tensor:
        self.asked += map(tuple, candidates.tolist())
        return self.weights[torch.arange(3), candidates].sum(-1)

    def gradient(self, ids: Tensor) -> Tensor:
        return self.weights.float()

    @property
    def optimum(self) -> tuple[int, ...]:
        return tuple(ALLOWED[self.weights[:, ALLOWED].argmax(1)].tolist())


def test_gcg_reaches_the_optimum_of_a_linear_objective() -> None:
    objective = Linear()
    result = gcg(objective, SETTINGS, ALLOWED)
    assert result.best == objective.optimum
    assert result.value == pytest.approx(float(objective.weights[:, ALLOWED].amax(1).sum()))


def test_a_curve_never_falls_and_no_candidate_is_asked_twice() -> None:
    objective, steps = Linear(), list[int]()
    result = gcg(objective, SETTINGS, ALLOWED, progress=lambda step, value: steps.append(step))
    assert [result.start, *result.curve] == sorted([result.start, *result.curve])
    assert len(result.curve) == SETTINGS.steps == steps[-1]
    assert result.evaluations == len(objective.asked) == len(set(objective.asked))


def test_a_seed_decides_the_whole_run() -> None:
    first, second = Linear(), Linear()
    torch.rand(1)  # the global generator plays no part
    assert gcg(first, SETTINGS, ALLOWED).curve == gcg(second, SETTINGS, ALLOWED).curve
    assert first.asked == second.asked
    gcg(other := Linear(), SearchSettings(3, 30, 16, 8, seed=2), ALLOWED)
    assert other.asked != first.asked


def test_random_search_spends_exactly_the_evaluations_it_is_given() -> None:
    objective = Linear()
    result = random_search(objective, SETTINGS, ALLOWED, evaluations=100)
    assert result.evaluations == len(set(objective.asked)) == 100
    assert result.value == max(result.curve) == pytest.approx(float(objective.evaluate(torch.tensor([result.best]))))
    assert result.value < gcg(Linear(), SETTINGS, ALLOWED).value


def test_random_search_stops_where_no_candidate_is_left() -> None:
    result = random_search(Linear(), SETTINGS, ALLOWED[:2], evaluations=100)
    assert result.evaluations == 2**3


@pytest.mark.parametrize("search", [gcg, partial(random_search, evaluations=40)], ids=["gcg", "random"])
def test_only_admitted_and_allowed_candidates_are_asked(search: Callable[..., SearchResult]) -> None:
    objective = Linear()
    search(objective, SETTINGS, ALLOWED, admit=lambda candidate: sum(candidate) % 2 == 0)
    assert all(sum(candidate) % 2 == 0 and min(candidate) >= 10 for candidate in objective.asked)


def test_a_search_that_cannot_start_is_refused() -> None:
    with pytest.raises(BadInput, match="got none in"):
        gcg(Linear(), SETTINGS, ALLOWED, admit=lambda candidate: False)
    with pytest.raises(BadInput, match="allowed tokens"):
        gcg(Linear(), SETTINGS, ALLOWED[:0])
    with pytest.raises(BadInput, match="steps >= 1"):
        SearchSettings(length=3, steps=0)
    with pytest.raises(BadInput, match="evaluations >= 1"):
        random_search(Linear(), SETTINGS, ALLOWED, evaluations=0)


def test_allowed_tokens_print_and_survive_alone() -> None:
    tokenizer = build_tokenizer()
    allowed = allowed_tokens(tokenizer).tolist()
    texts = [str(tokenizer.decode([token])) for token in allowed]
    assert all(text.isprintable() and text.strip() for text in texts)
    assert all(tokenizer.encode(text) == [token] for token, text in zip(allowed, texts, strict=True))
    assert not set(allowed) & set(tokenizer.all_special_ids)
    assert "a" in texts
