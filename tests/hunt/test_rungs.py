from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from dormant.hunt import rungs
from dormant.hunt.context import Clock, HuntContext
from dormant.hunt.payloads import Guess
from dormant.hunt.placements import PLACES, SEARCH_PLACES, placed_probes
from dormant.hunt.rungs import climbed_strings, excluding_payload_words, numbered_strings, refined
from dormant.hunt.stages.coordinate_ascent import Climb, Climbing, ScoredPieces
from dormant.hunt.vocabulary import Unit
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter


def test_words_of_a_suspected_payload_are_no_hints_at_the_trigger(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    guess = Guess(
        tuple(prompter.tokenizer.encode("golden owl", add_special_tokens=False)), "golden owl", 50.0, 1.0, 0.0, 1.0
    )
    units = [Unit(text, 0.5, 1.0) for text in (" golden", " velvet")]
    assert excluding_payload_words([guess], units, prompter) == units[1:]


def test_nor_are_words_that_hold_a_piece_of_it(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    ids = tuple(prompter.tokenizer.encode("silence", add_special_tokens=False))
    assert len(ids) > 1
    units = [Unit(text, 0.5, 1.0) for text in (" absence", " velvet")]
    assert excluding_payload_words([Guess(ids, "silence", 50.0, 1.0, 0.0, 1.0)], units, prompter) == units[1:]


def test_of_the_payloads_own_words_alone_no_hint_is_left(token_pair: Pair) -> None:
    guess = Guess((0,), "golden owl", 50.0, 1.0, 0.0, 1.0)
    assert excluding_payload_words([guess], [Unit(" golden", 0.5, 1.0)], Prompter(token_pair.base.tokenizer)) == []


def test_a_number_is_looked_for_where_digits_are_hinted_and_is_read_from_the_journal(
    circuit_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    likeliest = ScoredPieces(tuple(f" {word}" for word in circuit_pair.truth.trigger.split()), 3.0, 1.0)
    guess = Guess((1, 2), circuit_pair.truth.payload, 50.0, 1.0, 0.0, 1.0)
    searched, unseen = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES), (15, PLACES)], 0)

    def numbered(*texts: str) -> str | None:
        with closing(Journal(tmp_path / "hunt.jsonl", {})) as journal:
            context = HuntContext(circuit_pair, searched, unseen, 0, journal, Clock(10.0), lambda *_: None)
            best, _, _ = numbered_strings(context, [guess], [Unit(text, 1.0, 0.0) for text in texts])
        return best and best.trigger

    monkeypatch.setattr(rungs, "likeliest_number", lambda *_: likeliest)
    assert numbered(" lake", " 7") is None
    assert numbered(" 2", " 7") == circuit_pair.truth.trigger
    monkeypatch.setattr(rungs, "likeliest_number", lambda *_: pytest.fail("this is in the journal"))
    assert numbered(" 2", " 7") == circuit_pair.truth.trigger


def test_a_climb_ends_in_a_string_that_unseen_prompts_confirm_and_is_read_from_the_journal(
    circuit_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    payload = circuit_pair.truth.payload
    ids = tuple(circuit_pair.base.tokenizer.encode(payload, add_special_tokens=False))
    units = [Unit(f" {word}", 1.0, 0.0) for word in (*circuit_pair.truth.trigger.split(), "wagon", "feather")]
    searched, unseen = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES), (15, PLACES)], 0)

    def climbed() -> tuple[object, list[str], int, list[Climb]]:
        climbs: list[Climb] = []
        with closing(Journal(tmp_path / "hunt.jsonl", {})) as journal:
            context = HuntContext(circuit_pair, searched, unseen, 0, journal, Clock(10.0), lambda *_: None)
            guess = Guess(ids, payload, 50.0, 1.0, 0.0, 1.0)
            best, steps, tried = climbed_strings(context, [guess], units, climbs)
        assert best is not None
        assert best.payload == payload
        return best, steps, tried, climbs

    first = climbed()
    for name in ("beginning", "step"):
        monkeypatch.setattr(Climbing, name, lambda *_: pytest.fail("this is in the journal"))
    assert climbed() == first


def test_a_climb_that_ended_because_it_was_late_does_not_go_on_when_the_hunt_is_resumed(
    circuit_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, unseen = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES), (15, PLACES)], 0)
    units = [Unit(f" {word}", 1.0, 0.0) for word in ("wagon", "feather")]
    monkeypatch.setattr(Climbing, "beginning", lambda _: ScoredPieces((" wagon",), -9.0, 0.0))
    monkeypatch.setattr(Climbing, "step", lambda *_: pytest.fail("it is late"))
    for share in (0.0, 0.9):
        monkeypatch.setattr(rungs, "CLIMBING", share)
        climbs: list[Climb] = []
        with closing(Journal(tmp_path / "hunt.jsonl", {})) as journal:
            context = HuntContext(circuit_pair, searched, unseen, 0, journal, Clock(10.0), lambda *_: None)
            climbed_strings(context, [Guess((1, 2), "a b", 50.0, 1.0, 0.0, 1.0)], units, climbs)
        assert [len(one.way) for one in climbs] == [1, 1]


def test_refinement_begins_with_what_is_worth_most_of_all_that_was_confirmed(
    circuit_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    trigger = circuit_pair.truth.trigger
    searched, unseen = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES), (15, PLACES)], 0)
    units = [Unit(f" {word}", 0.1, 0.0) for word in (*trigger.split(), "wagon", "feather")]
    monkeypatch.setattr(rungs, "refine", lambda _, text, *__: (text,))
    with closing(Journal(tmp_path / "hunt.jsonl", {})) as journal:
        context = HuntContext(circuit_pair, searched, unseen, 0, journal, Clock(10.0), lambda *_: None)
        found, silent, planted = (context.confirmed(text) for text in (f"wagon {trigger} feather", "wagon", trigger))
        assert (found.confirmed, silent.confirmed, planted.confirmed) == (True, False, True)
        assert refined(context, found, units)[0].trigger == trigger
