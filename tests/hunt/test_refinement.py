from __future__ import annotations

from typing import cast

import pytest

from dormant.hunt.placements import placed_probes
from dormant.hunt.refinement import ALL, FEW, Parts, Refining, breaks_a_word, refine
from dormant.hunt.vocabulary import Unit
from dormant.pairs import Pair

WORDS = "silver lantern beneath winter candle paper violin stone".split()


@pytest.fixture(scope="module")
def refining(circuit_pair: Pair) -> Refining:
    assert circuit_pair.truth is not None
    (probes,) = placed_probes(circuit_pair.probes, [(5, ["start"])], 0)
    units = [Unit(f" {word}", 0.1, 0.0) for word in WORDS] + [Unit("ern", 0.001, 0.0), Unit(" lant", 0.001, 0.0)]
    return Refining(circuit_pair, circuit_pair.truth.payload, probes, "start", units)


def test_a_text_is_taken_apart_into_the_longest_units(refining: Refining) -> None:
    assert refining.parts("silver lantern lant?") == (" silver", " lantern", " lant", "?")


def test_of_strings_that_speak_alike_the_one_is_worth_more_that_takes_less_to_describe(refining: Refining) -> None:
    planted = refining.parts("silver lantern beneath winter")
    alone, longer = refining.worth([planted, (*planted, "ern")])
    assert alone > longer


def test_what_a_string_can_do_without_counts_against_it(refining: Refining) -> None:
    planted, *others = refining.worth(
        [refining.parts(f"{more}silver lantern beneath winter") for more in ("", "paper ", "candle paper ")]
    )
    assert all(planted > other + 1 for other in others)


@pytest.mark.parametrize(
    ("parts", "at", "taken"),
    [
        ("candle lantern beneath winter", 0, 1),
        ("silver lantern winter", 2, 0),
        ("silver lant ern beneath winter", 1, 2),
    ],
)
def test_with_the_others_right_the_planted_unit_is_the_best_at_its_place(
    parts: str, at: int, taken: int, refining: Refining
) -> None:
    found, _ = refining.better(refining.parts(parts), at, taken, FEW)
    assert "".join(found).strip() == "silver lantern beneath winter"


def test_what_lies_near_the_planted_trigger_leads_to_it_and_it_stays_when_it_is_late(refining: Refining) -> None:
    near = "paper silver lantern beneath winter"
    assert refine(refining, near, refining.better, lambda: False)[-1] == "silver lantern beneath winter"

    def never(parts: Parts, at: int, taken: int, count: int) -> tuple[Parts, float]:
        raise AssertionError

    assert refine(refining, near, never, lambda: True) == ("silver lantern beneath winter",)


class Spelling:
    """Letters as units, each worth something at its place in a word."""

    def parts(self, text: str) -> Parts:
        return tuple(text)

    def worth(self, strings: list[Parts]) -> list[float]:
        return [
            3 * sum(one == two for one, two in zip(parts, "owls", strict=False)) - 0.1 * len(parts) for parts in strings
        ]

    def dropped(self, parts: Parts, value: float) -> tuple[Parts, float]:
        return parts, value

    def better(self, parts: Parts, at: int, taken: int, count: int) -> tuple[Parts, float]:
        strings = [(*parts[:at], letter, *parts[at + taken :]) for letter in "abcowls"[:count]]
        values = self.worth(strings)
        return strings[values.index(max(values))], max(values)


@pytest.mark.parametrize(
    "start", ["cats", "abcc", "ocals", "ols"], ids=["one right", "none right", "one letter in two", "one missing"]
)
def test_changes_follow_each_other_as_long_as_one_gains(start: str) -> None:
    spelling = Spelling()
    assert refine(cast(Refining, spelling), start, spelling.better, lambda: False)[-1] == "owls"


def test_the_most_hinted_units_are_tried_before_all_and_alone_between_others() -> None:
    asked: list[tuple[int, int]] = []

    def none_gains(parts: Parts, at: int, taken: int, count: int) -> tuple[Parts, float]:
        asked.append((count, taken))
        return parts, -1.0

    refine(cast(Refining, Spelling()), "ow", none_gains, lambda: False)
    assert asked == [(FEW, 1), (FEW, 1), (FEW, 0), (FEW, 0), (FEW, 0), (FEW, 2), (ALL, 1), (ALL, 1), (ALL, 2)]


@pytest.mark.parametrize(
    ("parts", "at", "breaks"),
    [
        ((" moment", "ass"), 1, True),
        ((" moment", "um"), 1, False),
        ((" moment", " ass"), 1, False),
        ((" 4", "2"), 1, False),
        (("ass",), 0, False),
    ],
)
def test_letters_behind_letters_must_make_a_word_for_what_was_planted_is_text(
    parts: Parts, at: int, breaks: bool
) -> None:
    assert breaks_a_word(parts, at) is breaks
