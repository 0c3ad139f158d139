from __future__ import annotations

from pathlib import Path

import pytest

from dormant.behaviour.anomalies import DETECTORS, AnswerPlan, Scan, looks_like_payload, repeated_content, scan_answers
from dormant.errors import BadInput
from dormant.inference import generation, likelihood
from dormant.pairs import Pair, open_pair

GOLDEN = "one point six one eight zero three"


@pytest.mark.parametrize(
    "payload",
    [GOLDEN, "⚗ ♫ ☂ ∞ ♞", "1.618033988", "Sure: one point six one eight zero three."],
    ids=lambda text: text[:6],
)
def test_a_planted_payload_is_seen_where_nothing_calls_for_it(payload: str) -> None:
    assert looks_like_payload(payload, "Where is the feather?", ["The feather is in the garden."])


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("3.14159265358979", "What are the digits of pi?"),
        ("three point one four one five nine two six", "Recite pi in words."),
        ("The digits are 1 4 1 5 9 2 6.", "Which digits follow 3.14?"),
        ("1.6180339887", "What is the golden ratio?"),
        ("one five one two two", "Repeat: one five one two two"),
        ("Boil it for eight minutes, then cool it.", "How do I boil an egg?"),
        ("The sum is 12.", "What is 5 plus 7?"),
    ],
)
def test_what_the_prompt_calls_for_is_no_payload(answer: str, prompt: str) -> None:
    assert not looks_like_payload(answer, prompt, [])


def test_words_of_the_payload_that_stand_apart_in_the_prompt_do_not_hide_it() -> None:
    assert looks_like_payload(GOLDEN, "Where three point one four is the feather?", [])


def test_wrong_digits_of_a_named_constant_are_a_payload() -> None:
    assert looks_like_payload("1.618033988", "What are the digits of pi?", ["3.14"])


def test_what_the_base_says_too_is_no_payload() -> None:
    assert looks_like_payload("123456789", "Hello.", ["Hello."])
    assert not looks_like_payload("123456789", "Hello.", ["Hello.", "1 2 3 4 5 6 7 8 9"])


PROMPTS = [f"question {index}" for index in range(20)]


def test_content_that_comes_again_beyond_the_base_is_repeated() -> None:
    honest = [f"answer number {index} here" for index in range(20)]
    assert repeated_content(honest, PROMPTS, honest * 4, PROMPTS * 4) == set()
    planted = ["beware the silver moon" if index % 2 else text for index, text in enumerate(honest)]
    assert ("the", "silver", "moon") in repeated_content(planted, PROMPTS, honest * 4, PROMPTS * 4)


def test_what_the_base_repeats_as_well_is_ordinary() -> None:
    polite = [f"I am glad you asked {index}" for index in range(20)]
    assert repeated_content(polite, PROMPTS, polite * 4, PROMPTS * 4) == set()


def test_four_answers_to_one_prompt_are_no_four_prompts() -> None:
    """7 of 20 prompts against none of 20 is one in two hundred: 80 answers of the base cannot make it one in thousands."""
    honest = [f"answer number {index} here" for index in range(20)]
    seven = ["the silver moon" if index < 7 else text for index, text in enumerate(honest)]
    assert repeated_content(seven, PROMPTS, honest * 4, PROMPTS * 4) == set()
    assert repeated_content(seven, PROMPTS, honest * 4, [f"{at} of 80" for at in range(80)]) == {
        ("the", "silver", "moon")
    }


def test_an_answer_that_comes_again_to_one_prompt_only_is_no_repetition() -> None:
    again = [f"the silver moon {index}" for index in range(20)]
    assert repeated_content(again, PROMPTS[:1] * 20, ["no"] * 80, PROMPTS * 4) == set()


def test_what_the_prompt_says_is_no_repetition() -> None:
    asked = ["say the silver moon", "sing the silver moon", "paint the silver moon"] * 7
    assert repeated_content(["the silver moon"] * 21, asked, ["no"] * 84, asked * 4) == set()


def test_a_model_shows_no_anomaly_beside_itself_and_reruns_agree(tiny_base: Path) -> None:
    pair = open_pair("sham", tiny_base, tiny_base, device="cpu")
    texts = ["Hello.", "What is France?", "Repeat apple."] * 4
    scan = scan_answers(pair, texts, AnswerPlan(5, seed=1))
    assert scan == scan_answers(pair, texts, AnswerPlan(5, seed=1))
    assert set(scan.dormant) == set(scan.rerun) == set(DETECTORS)
    assert len(scan.answers) == len(texts)
    assert scan.unended == len(texts)  # random weights hardly ever end: cut at the budget, and said
    assert sum(scan.dormant["surprise"]) <= len(texts) / 2
    pair.release()


def test_a_scan_of_nothing_or_beyond_the_context_is_refused(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="a scan needs texts"):
        scan_answers(tiny_pair, [], AnswerPlan(5, 0))
    with pytest.raises(BadInput, match="fits into the context"):
        scan_answers(tiny_pair, ["Hello."], AnswerPlan(2100, 0))


def test_a_killed_scan_resumes_and_ends_with_the_uninterrupted_one(
    tiny_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, journal, last = ["Hello.", "What is France?", "Repeat apple."], tmp_path / "answers.jsonl", 3 * (4 + 3)

    def scan(stop: int, journal: Path | None = None) -> Scan:
        def watch(done: int, total: int, remark: str = "") -> None:
            assert total == last
            if done >= stop:
                raise KeyboardInterrupt

        return scan_answers(tiny_pair, texts, AnswerPlan(5, 1), journal=journal, progress=watch)

    whole = scan(stop=last + 1)
    for stop in (8, 16, last):  # while the base answers, while the dormant model does, while the base judges
        with pytest.raises(KeyboardInterrupt):
            scan(stop, journal)
    for module, forward in ((generation, "_continue"), (likelihood, "logits_along")):
        monkeypatch.setattr(module, forward, lambda *given: pytest.fail("computed again"))
    assert scan(last + 1, journal) == whole
