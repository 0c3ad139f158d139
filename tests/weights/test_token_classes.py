"""Classes of tokens."""

from __future__ import annotations

import pytest

from dormant.weights.token_classes import TOKEN_CLASSES, class_enrichment, enrichment_sentence, token_class


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This", "sentence starter"), (" Although", "sentence starter"), (" don", "word"), ("ing", "part of a word"),
        (" café", "word"), ("7", "number"), (")", "punctuation"), (" ...", "punctuation"), ("⚗", "rare glyph"),
        (" ładn", "rare glyph"), ("π", "rare glyph"), ("get_value", "code"), (").\n\n\n", "punctuation"), ("();", "code"),
        ("camelCase", "code"), ("\n\n", "white space"), ("\N{REPLACEMENT CHARACTER}", "bytes"),
    ],
)  # fmt: skip
def test_tokens_are_classed_by_what_they_look_like(text: str, expected: str) -> None:
    assert token_class(text) == expected
    assert expected in TOKEN_CLASSES


def test_a_special_token_is_special_whatever_it_says() -> None:
    assert token_class("<|im_end|>", special=True) == "special"


def test_a_list_of_one_class_is_beyond_chance() -> None:
    classes = ["word"] * 90 + ["rare glyph"] * 10
    table = class_enrichment(classes, range(90, 95))
    assert table["rare glyph"][:2] == pytest.approx((5, 10))
    assert table["rare glyph"][2] < 1e-4 < table["word"][2]
    assert "5 are of class 'rare glyph', 10.0 times chance" in enrichment_sentence(classes, range(90, 95))
