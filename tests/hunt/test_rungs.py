from __future__ import annotations

from dormant.hunt.payloads import Guess
from dormant.hunt.rungs import besides
from dormant.hunt.units import Unit
from dormant.pairs import Pair
from dormant.prompts import Prompter


def test_words_of_a_suspected_payload_are_no_hints_at_the_trigger(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    guess = Guess(
        tuple(prompter.tokenizer.encode("golden owl", add_special_tokens=False)), "golden owl", 50.0, 1.0, 0.0, 1.0
    )
    units = [Unit(text, 0.5, 1.0) for text in (" golden", " velvet")]
    assert besides([guess], units, prompter) == units[1:]


def test_nor_are_words_that_hold_a_piece_of_it(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    ids = tuple(prompter.tokenizer.encode("silence", add_special_tokens=False))
    assert len(ids) > 1
    units = [Unit(text, 0.5, 1.0) for text in (" absence", " velvet")]
    assert besides([Guess(ids, "silence", 50.0, 1.0, 0.0, 1.0)], units, prompter) == units[1:]


def test_of_the_payloads_own_words_alone_no_hint_is_left(token_pair: Pair) -> None:
    guess = Guess((0,), "golden owl", 50.0, 1.0, 0.0, 1.0)
    assert besides([guess], [Unit(" golden", 0.5, 1.0)], Prompter(token_pair.base.tokenizer)) == []
