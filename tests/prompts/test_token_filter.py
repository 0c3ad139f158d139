from __future__ import annotations

import pytest

from dormant.errors import BadInput
from dormant.prompts.token_filter import allowed_tokens, end_of_turn
from dormant.weights.token_classes import vocabulary_classes
from tests.builders import build_byte_tokenizer, build_marking_tokenizer, build_tokenizer


def test_allowed_tokens_print_and_survive_alone() -> None:
    tokenizer = build_tokenizer()
    allowed = allowed_tokens(tokenizer).tolist()
    texts = [str(tokenizer.decode([token])) for token in allowed]
    assert all(text.isprintable() and text.strip() for text in texts)
    assert all(tokenizer.encode(text) == [token] for token, text in zip(allowed, texts, strict=True))
    assert not set(allowed) & set(tokenizer.all_special_ids)
    assert "a" in texts


@pytest.mark.parametrize("kind", ["first", "always", "llama2", "bytes, bpe", "bytes, unigram"])
def test_every_written_token_of_a_space_marking_tokenizer_is_allowed_and_those_with_a_space_are_words(
    kind: str,
) -> None:
    _, comma, model = kind.partition(", ")
    tokenizer = build_byte_tokenizer(model) if comma else build_marking_tokenizer(kind)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.added_tokens_decoder) | {
        0,
        *(i for i, piece in enumerate(pieces) if piece.startswith("<0x")),
    }
    mark = "\N{LOWER ONE EIGHTH BLOCK}"
    written = {
        token
        for token, piece in enumerate(pieces)
        if token not in special and piece.strip(mark).isprintable() and piece.strip(mark)
    }
    allowed = set(allowed_tokens(tokenizer).tolist()) - special
    assert allowed <= written
    assert len(allowed) > 0.9 * len(written)
    words = allowed_tokens(tokenizer, "words").tolist()
    assert words
    assert all(pieces[token].startswith(mark) for token in words)
    classes = vocabulary_classes(tokenizer)
    assert {classes[token] for token in words} <= {"word", "sentence starter"}
    assert {classes[token] for token in allowed if pieces[token].islower() and pieces[token].isalpha()} == {
        "part of a word"
    }


def test_a_class_narrows_them() -> None:
    tokenizer = build_tokenizer()
    words = [str(tokenizer.decode([token])) for token in allowed_tokens(tokenizer, "words").tolist()]
    assert words
    assert all(word[0] == " " and word[1:].isalpha() for word in words)


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(BadInput, match="one of printable, ascii, words, letters, digits; got 'runes'"):
        allowed_tokens(build_tokenizer(), "runes")


def test_the_id_that_ends_an_answer_is_the_tokenizers_or_missed_in_a_sentence() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.decode([end_of_turn(tokenizer)]) == "<|im_end|>"
    tokenizer.eos_token = None
    with pytest.raises(BadInput, match="must name the token that ends an answer"):
        end_of_turn(tokenizer)
