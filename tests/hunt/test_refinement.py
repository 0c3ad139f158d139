from __future__ import annotations

from contextlib import closing
from typing import cast

import pytest

from dormant.hunt import refinement as refinement_module
from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.context import HuntContext
from dormant.hunt.placements import placed_probes
from dormant.hunt.refinement import Refinement, breaks_a_word, refine, refined
from dormant.hunt.settings import HuntSettings
from dormant.hunt.vocabulary import Piece, Pieces
from dormant.journal import Journal
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf

WORDS = "silver lantern beneath winter candle paper violin stone".split()


SETTINGS = HuntSettings()
FEW, ALL = SETTINGS.effort.refined_few, SETTINGS.effort.refined_all


@pytest.fixture(scope="module")
def refining(circuit_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Refinement:
    assert circuit_pair.truth is not None
    (probes,) = placed_probes(circuit_pair.probes, [(10, ["start"])], 0)
    words = [Piece(f" {word}", 0.1, 0.0) for word in WORDS]
    with closing(Journal(tmp_path_factory.mktemp("hunt") / "hunt.jsonl", {})) as journal:
        clock = Clock(SETTINGS.effort)
        context = HuntContext(circuit_pair, probes, (), (), 0, SETTINGS, journal, clock, lambda *_: None)
        fragments = [Piece("ern", 0.001, 0.0), Piece(" lant", 0.001, 0.0)]
        return Refinement(context, circuit_pair.truth.payload, "start", [*words, *fragments])


def test_a_text_is_split_into_the_longest_pieces(refining: Refinement) -> None:
    assert refining.pieces("silver lantern lant?") == (" silver", " lantern", " lant", "?")


def test_of_strings_that_fire_alike_the_shorter_description_scores_higher(refining: Refinement) -> None:
    planted = refining.pieces("silver lantern beneath winter")
    alone, longer = refining.scores([planted, (*planted, "ern")])
    assert alone > longer


def test_what_a_string_can_do_without_counts_against_it(refining: Refinement) -> None:
    planted, *others = refining.scores(
        [refining.pieces(f"{more}silver lantern beneath winter") for more in ("", "paper ", "candle paper ")]
    )
    assert all(planted > other + 1 for other in others)


@pytest.mark.parametrize(
    ("text", "at", "taken"),
    [
        ("candle lantern beneath winter", 0, 1),
        ("silver lantern winter", 2, 0),
        ("silver lant ern beneath winter", 1, 2),
    ],
)
def test_with_the_others_right_the_planted_piece_is_the_best_at_its_index(
    text: str, at: int, taken: int, refining: Refinement
) -> None:
    found, _ = refining.better(refining.pieces(text), at, taken, FEW)
    assert "".join(found).strip() == "silver lantern beneath winter"


def test_what_lies_near_the_planted_trigger_leads_to_it_and_it_stays_when_it_is_late(refining: Refinement) -> None:
    near = "paper silver lantern beneath winter"
    assert refine(refining, near, refining.better)[-1] == "silver lantern beneath winter"

    def never(pieces: Pieces, at: int, taken: int, count: int) -> tuple[Pieces, float]:
        raise OutOfTime

    assert refine(refining, near, never) == ("silver lantern beneath winter",)


class Spelling:
    """Letters as pieces, each with a score at its index in a word."""

    settings = SETTINGS

    def pieces(self, text: str) -> Pieces:
        return tuple(text)

    def scores(self, strings: list[Pieces]) -> list[float]:
        return [
            3 * sum(one == two for one, two in zip(pieces, "owls", strict=False)) - 0.1 * len(pieces)
            for pieces in strings
        ]

    def minimal(self, pieces: Pieces, score: float) -> tuple[Pieces, float]:
        return pieces, score

    def better(self, pieces: Pieces, at: int, taken: int, count: int) -> tuple[Pieces, float]:
        strings = [(*pieces[:at], letter, *pieces[at + taken :]) for letter in "abcowls"[:count]]
        values = self.scores(strings)
        return strings[values.index(max(values))], max(values)


@pytest.mark.parametrize(
    "start", ["cats", "abcc", "ocals", "ols"], ids=["one right", "none right", "one letter in two", "one missing"]
)
def test_changes_follow_each_other_as_long_as_one_gains(start: str) -> None:
    spelling = Spelling()
    assert refine(cast(Refinement, spelling), start, spelling.better)[-1] == "owls"


def test_the_most_hinted_pieces_are_tried_before_all_and_alone_between_others() -> None:
    asked: list[tuple[int, int]] = []

    def none_gains(pieces: Pieces, at: int, taken: int, count: int) -> tuple[Pieces, float]:
        asked.append((count, taken))
        return pieces, -1.0

    refine(cast(Refinement, Spelling()), "ow", none_gains)
    assert asked == [(FEW, 1), (FEW, 1), (FEW, 0), (FEW, 0), (FEW, 0), (FEW, 2), (ALL, 1), (ALL, 1), (ALL, 2)]


@pytest.mark.parametrize(
    ("pieces", "at", "breaks"),
    [
        ((" moment", "ass"), 1, True),
        ((" moment", "um"), 1, False),
        ((" moment", " ass"), 1, False),
        ((" 4", "2"), 1, False),
        (("ass",), 0, False),
    ],
)
def test_letters_behind_letters_must_make_a_word_for_what_was_planted_is_text(
    pieces: Pieces, at: int, breaks: bool
) -> None:
    assert breaks_a_word(pieces, at) is breaks


def test_refinement_begins_with_the_largest_score_of_all_that_was_confirmed(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    trigger, context = circuit_pair.truth.trigger, context_of(circuit_pair)
    pieces = [Piece(f" {word}", 0.1, 0.0) for word in (*trigger.split(), "wagon", "feather")]
    monkeypatch.setattr(refinement_module, "refine", lambda _, text, *__: (text,))
    found, silent, planted = (context.confirmed(text) for text in (f"wagon {trigger} feather", "wagon", trigger))
    assert (found.confirmed, silent.confirmed, planted.confirmed) == (True, False, True)
    best = refined(context, found, pieces).confirmed
    assert best is not None
    assert best.trigger == trigger
