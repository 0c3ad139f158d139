from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dormant.hunt.clock import OutOfTime
from dormant.hunt.scorers import PayloadScorer
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import ScoredPieces, run_stage
from dormant.hunt.stages.coordinate_ascent import Ascent, CoordinateAscent, Edits, ascend
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, planted, with_effort

PIECES = pieces("silver paper winter candle beneath color violin lantern wagon feather")
EFFORT = HuntSettings().effort


def test_a_beam_of_pieces_among_which_the_trigger_is_ends_at_it(circuit_pair: Pair, context_of: ContextOf) -> None:
    assert circuit_pair.truth is not None
    ascent = Ascent(context_of(circuit_pair), planted(circuit_pair).ids, "start", PIECES)
    found = ascent.beginning()
    assert set(circuit_pair.truth.trigger.split()) <= set(found.text.split())
    assert found.certain == 1.0
    assert ascent.tried > len(PIECES) ** 2


def test_a_step_brings_the_piece_that_is_missing_and_none_where_none_gains(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    assert circuit_pair.truth is not None
    trigger = tuple(f" {word}" for word in circuit_pair.truth.trigger.split())
    ascent = Ascent(context_of(circuit_pair), planted(circuit_pair).ids, "start", PIECES)
    found = ascent.step(ScoredPieces((" wagon", *trigger[1:]), -99.0, 0.0), ((0, 1),), 10)
    assert (found.pieces, found.certain) == (trigger, 1.0)
    assert ascent.step(ScoredPieces(trigger[1:], -99.0, 0.0), ((0, 1), (0, 0)), 10).pieces == trigger
    assert ascent.step(found, ((0, 1),), 10) == found


def test_a_payload_each_of_whose_tokens_is_likely_is_not_certain_as_a_whole(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    likely = lambda _, texts, *__: torch.full((4, len(texts)), math.log(0.75))  # noqa: E731
    monkeypatch.setattr(PayloadScorer, "_per_token", likely)
    (found,) = Ascent(context_of(circuit_pair), planted(circuit_pair).ids, "start", PIECES).best([(" silver",)])
    assert found.odds == pytest.approx(math.log(0.75**3 / (1 - 0.75**3)), abs=1e-4)
    assert found.certain == 0.0


def test_near_pieces_are_tried_anywhere_and_then_far_ones_index_by_index_from_where_one_helped() -> None:
    near, far = EFFORT.near_pieces, EFFORT.far_pieces

    def step(here: ScoredPieces, edits: Edits, count: int) -> ScoredPieces:
        asked.append((edits, count))
        gains = here.odds < 0 and (edits, count) == (((0, 1),), far)
        return ScoredPieces(("b", "a"), 0.0, 0.5) if gains else here

    asked: list[tuple[Edits, int]] = []
    begin = ScoredPieces(("a", "a"), -1.0, 0.0)
    path = ascend(begin, step, lambda: False, EFFORT)
    assert [one.pieces for one in path] == [("a", "a"), ("b", "a")]
    assert asked[:2] == [(((0, 1), (1, 1), (0, 0), (1, 0), (2, 0)), near), (((0, 1),), far)]
    assert asked[2][1] == near
    assert asked[3:] == [(((at, taken),), far) for at, taken in ((1, 1), (0, 1), (0, 0), (1, 0), (2, 0))]


def test_ascent_ends_where_the_payload_is_certain_on_all_prompts_or_where_it_is_late() -> None:
    def never(*_: object) -> ScoredPieces:
        raise AssertionError

    begin, certain = ScoredPieces(("a", "a"), -1.0, 0.0), ScoredPieces(("a",), 3.0, 1.0)
    assert ascend(begin, never, lambda: True, EFFORT) == (begin,)
    assert ascend(certain, never, lambda: False, EFFORT) == (certain,)


def test_only_the_most_hinted_pieces_are_tried(circuit_pair: Pair, context_of: ContextOf) -> None:
    few = context_of(circuit_pair, with_effort(far_pieces=2))
    found = Ascent(few, planted(circuit_pair).ids, "start", PIECES).beginning()
    assert set(found.pieces) <= {" silver", " paper"}


def test_ascent_ends_in_a_string_that_unseen_prompts_confirm_and_is_read_from_the_journal(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    suspect, vocabulary = planted(circuit_pair), Vocabulary((), pieces(f"{circuit_pair.truth.trigger} wagon feather"))
    first = run_stage(CoordinateAscent(), context_of(circuit_pair), [suspect], vocabulary)[0]
    assert first.confirmed is not None
    assert first.confirmed.payload == suspect.text
    for name in ("beginning", "step"):
        monkeypatch.setattr(Ascent, name, lambda *_: pytest.fail("this is in the journal"))
    assert run_stage(CoordinateAscent(), context_of(circuit_pair), [suspect], vocabulary)[0] == first


def test_ascent_that_ended_because_it_was_late_goes_on_where_a_larger_budget_resumes_it(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = replace(planted(circuit_pair), ids=(1, 2), text="a b")
    monkeypatch.setattr(Ascent, "beginning", lambda _: ScoredPieces((" wagon",), -9.0, 0.0))
    monkeypatch.setattr(Ascent, "step", lambda _, here, *__: replace(here, odds=5.0, certain=1.0, pieces=(" feather",)))
    lengths = []
    for share in (0.0, 0.9):
        context = context_of(circuit_pair, with_effort(ascent_share=share))
        found, _ = run_stage(CoordinateAscent(), context, [suspect], Vocabulary((), pieces("wagon feather")))
        lengths.append([len(one.path) for one in found.record])
    assert lengths == [[1, 1], [2, 2]]


def test_the_way_to_where_the_time_ended_is_kept() -> None:
    def ending(here: ScoredPieces, *_: object) -> ScoredPieces:
        if here.odds > -3.0:
            raise OutOfTime
        return replace(here, odds=here.odds + 1)

    path = ascend(ScoredPieces(("a", "a"), -5.0, 0.0), ending, lambda: False, EFFORT)
    assert [one.odds for one in path] == [-5.0, -4.0, -3.0, -2.0]
