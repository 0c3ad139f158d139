"""The engine on objectives whose optimum is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dormant.errors import BadInput
from dormant.journal import kept_steps
from dormant.search.proposals import GradientProposals, RandomProposals
from dormant.search.run import SearchResult, SearchSettings, run_search
from tests.search.linear import ALLOWED, Linear

SETTINGS = SearchSettings(seeds=(3, 4, 5), steps=12, candidates=6)
Results = tuple[SearchResult[tuple[int, ...]], ...]


def search(objective: Linear, how: SearchSettings = SETTINGS, allowed: Tensor = ALLOWED, **options: Any) -> Results:
    return run_search(objective, GradientProposals(allowed, 3, objective, top=8), how, **options)


def test_every_restart_reaches_the_optimum_of_a_linear_objective() -> None:
    objective = Linear()
    assert {result.best for result in search(objective, replace(SETTINGS, steps=30))} == {objective.optimum}


def test_the_best_so_far_never_falls_and_is_the_value_of_its_string() -> None:
    objective = Linear()
    for result in search(objective):
        assert list(result.curve) == sorted(result.curve)
        assert len(result.curve) == SETTINGS.steps + 1
        assert result.value == objective.evaluate([result.best]).item()


def test_no_candidate_is_evaluated_twice_whichever_restart_offers_it() -> None:
    objective = Linear()
    results = search(objective)
    assert len(objective.asked) == len(set(objective.asked)) <= sum(result.evaluations for result in results)


def test_a_restart_does_not_depend_on_the_others() -> None:
    assert search(Linear(), replace(SETTINGS, seeds=(4,))) == search(Linear())[1:2]


def test_a_value_that_is_enough_in_one_restart_ends_the_search() -> None:
    whole = search(Linear())
    enough = max(result.curve[3] for result in whole)
    ended = search(Linear(), replace(SETTINGS, enough=enough))
    assert [result.curve for result in ended] == [result.curve[: len(ended[0].curve)] for result in whole]
    assert max(result.value for result in ended) >= enough > max(result.curve[-2] for result in ended)


def test_only_admitted_candidates_are_kept() -> None:
    assert all(result.best[0] % 2 == 0 for result in search(Linear(), admit=lambda candidate: candidate[0] % 2 == 0))


def test_a_search_without_an_admitted_start_is_refused() -> None:
    with pytest.raises(BadInput, match="got none in 120 random ones"):
        search(Linear(), admit=lambda candidate: False)
    with pytest.raises(BadInput, match="steps >= 1"):
        SearchSettings((0,), steps=0, candidates=1)


def test_a_restart_whose_changes_are_spent_begins_again() -> None:
    few, objective = ALLOWED[:4], Linear()
    best = float(objective.weights[:, few].amax(1).sum())
    for result in run_search(objective, GradientProposals(few, 3, objective, top=1), replace(SETTINGS, steps=60)):
        assert result.value == pytest.approx(best)


def test_a_search_that_has_seen_every_string_stops_evaluating() -> None:
    objective = Linear()
    (result,) = run_search(objective, RandomProposals(ALLOWED[:2], 3), SearchSettings((0,), steps=40, candidates=1))
    assert result.evaluations == len(objective.asked) == 2**3


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("journal") / "whole"
    with kept_steps(path, {"search": "test"}) as step:
        search(Linear(), step=step)
    return path.read_bytes()


def test_a_journal_has_a_line_a_step_and_one_that_names_the_work(journal: bytes) -> None:
    assert len(journal.splitlines()) == 1 + 1 + SETTINGS.steps


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1))
def test_a_search_killed_at_any_byte_resumes_to_the_same_end(journal: bytes, part: float, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(journal[: round(part * len(journal))])
    seen, whole, resumed = list[int](), Linear(), Linear()
    expected = search(whole)
    with kept_steps(tmp_path / "cut", {"search": "test"}) as step:
        found = search(resumed, step=step, progress=lambda done, remark="", total=None: seen.append(done))
    assert found == expected
    assert seen == sorted(seen)
    assert (
        resumed.asked == whole.asked[len(whole.asked) - len(resumed.asked) :]
    )  # what the journal holds is not asked again


Pieces = tuple[str, ...]


@dataclass
class Spelling:
    """Minus the number of letters by which a string's pieces miss a word."""

    word: str

    def evaluate(self, candidates: Sequence[Pieces]) -> Tensor:
        texts = ["".join(pieces).ljust(len(self.word)) for pieces in candidates]
        return -torch.tensor([float(sum(map(str.__ne__, text, self.word))) + len(text) for text in texts])


@dataclass
class Spelled:
    """Strings of pieces that grow and change, from the empty one."""

    pieces: Sequence[str]

    def draws(self, generator: torch.Generator) -> Iterator[Pieces]:
        return ((piece,) for piece in self.pieces)

    def guides(self, incumbents: Sequence[Pieces]) -> list[Any]:
        return [None] * len(incumbents)

    def changes(self, incumbent: Pieces, guide: Any, generator: torch.Generator) -> Iterator[Pieces]:
        for place in range(len(incumbent) + 1):
            for piece in self.pieces:
                yield (*incumbent[:place], piece, *incumbent[place:])
                yield (*incumbent[:place], piece, *incumbent[place + 1 :])


def test_candidates_may_be_strings_of_pieces_of_any_length() -> None:
    (result,) = run_search(Spelling("owlet"), Spelled(["ow", "l", "et", "a"]), SearchSettings((0,), 5, candidates=100))
    assert result.best == ("ow", "l", "et")


def test_all_randomness_comes_from_the_seeds() -> None:
    torch.rand(1)
    run: Callable[[], Results] = lambda: search(Linear(), replace(SETTINGS, seeds=(9,)))  # noqa: E731
    assert run() == run() != search(Linear(), replace(SETTINGS, seeds=(8,)))
