"""Strings at whose ends the models part."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dormant.hunt.scorers import DivergenceScorer
from dormant.hunt.stage import StageResult, run_stage
from dormant.hunt.stages import delta_beam
from dormant.hunt.stages.delta_beam import DeltaBeam, beyond_usual
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, with_effort

PLANTED = "silver lantern beneath winter"
WORDS = tuple(pieces("river winter color silver garden beneath paper lantern window"))
SMALL = with_effort(delta_beam=(5, 9, 4, 5), first_words=9)


def known_where(pair: Pair, planted: str, measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one measure a word stands out as much more as words of the planted string stand before it; the other sees noise."""
    words, tokenizer, noise = planted.split(), pair.base.tokenizer, torch.Generator().manual_seed(0)

    def known(before: Sequence[int], rows: Sequence[Sequence[int]]) -> Tensor:
        texts = [str(tokenizer.decode([*before, *row])) for row in rows]
        found = (max(n for n in range(len(words) + 1) if text.endswith(" ".join(words[:n]))) for text in texts)
        return torch.tensor([10.0 * max(0, n - 1) for n in found])

    def acts(_: Pair, blocks: Sequence[int], before: Sequence[int], rows: Sequence[Sequence[int]]) -> Tensor:
        found = 1 + 0.1 * torch.rand(len(blocks), len(rows), generator=noise)
        return found + known(before, rows) * (measure == "acts")

    def states(_: Pair, blocks: Sequence[int], before: Sequence[int], rows: Sequence[Sequence[int]]) -> Tensor:
        found = 0.1 * torch.rand(len(blocks), len(rows), 2, generator=noise)
        found[:, :, 0] += known(before, rows) * (measure == "states")
        return found

    def ids_as_prefix(*asked: Sequence[int] | Pair | None) -> Sequence[int]:
        return (*(asked[-1] or ()), *asked[-2])  # type: ignore[misc]

    monkeypatch.setattr(delta_beam, "prefixes_of_blocks", ids_as_prefix)
    monkeypatch.setattr(delta_beam, "own_prefixes", ids_as_prefix)
    monkeypatch.setattr(delta_beam, "delta_acts_at_ends", acts)
    monkeypatch.setattr(delta_beam, "state_differences", states)


@pytest.mark.parametrize("measure", ["acts", "states"])
def test_a_string_is_found_word_by_word_by_either_measure(
    measure: str, circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_where(circuit_pair, PLANTED, measure, monkeypatch)
    found, _ = run_stage(DeltaBeam(), context_of(circuit_pair, SMALL), [], Vocabulary(WORDS, WORDS))
    assert found.confirmed is not None
    assert found.confirmed.trigger == PLANTED


def test_a_trigger_is_seen_though_the_first_token_of_its_answer_parts_no_models(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_where(circuit_pair, PLANTED, "states", monkeypatch)
    monkeypatch.setattr(DivergenceScorer, "mean", lambda self, texts: torch.full((len(texts),), self.plain()).double())
    found, _ = run_stage(DeltaBeam(), context_of(circuit_pair, SMALL), [], Vocabulary(WORDS, WORDS))
    assert found.confirmed is not None
    assert found.confirmed.trigger == PLANTED


def test_of_strings_that_diverge_alike_the_first_of_the_beam_is_named(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_where(circuit_pair, "river winter", "states", monkeypatch)
    named = list[str]()

    def confirmed(_: object, stage: str, texts: Sequence[str], what: str) -> StageResult:
        named.extend(texts)
        return StageResult(None)

    values = [7.9, 8.0, 0.1]  # nats
    monkeypatch.setattr(delta_beam, "_divergences", lambda _, texts: list(zip(values, texts, strict=False)))
    monkeypatch.setattr(delta_beam, "confirmed_string", confirmed)
    two_words = with_effort(delta_beam=(5, 9, 4, 2), first_words=9)
    run_stage(DeltaBeam(), context_of(circuit_pair, two_words), [], Vocabulary(WORDS, WORDS))
    assert (named[2], len(named)) == ("river winter", 4)  # of the measure that knows it, which comes second


def test_where_the_models_do_not_diverge_nothing_is_confirmed(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_where(circuit_pair, "paper garden color window", "states", monkeypatch)
    found, finished = run_stage(DeltaBeam(), context_of(circuit_pair, SMALL), [], Vocabulary(WORDS, WORDS))
    assert (finished, found.confirmed) == (True, None)
    assert found.evaluations <= 2 * ((5 + 1) * 9 + 3 * (4 + 2) * 9)  # pairs, then of three lengths four strings and two


def test_without_words_there_is_nothing_to_try(circuit_pair: Pair, context_of: ContextOf) -> None:
    assert run_stage(DeltaBeam(), context_of(circuit_pair), [], Vocabulary()) == (StageResult(None), True)


def test_what_is_beyond_usual_is_a_share_of_the_usual_and_of_how_it_varies() -> None:
    values = beyond_usual(torch.tensor([[1.0, 2.0, 3.0, 4.0, 13.0]], dtype=torch.float64))
    assert values[0, 2] == 0
    assert values[0, 4] == pytest.approx(10 / (3 + 1.4826))
    assert beyond_usual(torch.zeros(1, 3, dtype=torch.float64)).tolist() == [[0.0, 0.0, 0.0]]
