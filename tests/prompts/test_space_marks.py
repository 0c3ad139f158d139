from __future__ import annotations

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from dormant.prompts.space_marks import ids_behind, marks_starts


def test_a_tokenizer_that_has_no_id_for_the_letter_that_is_tried_marks_nothing() -> None:
    model = models.BPE(vocab={"a": 0, "b": 1}, merges=[])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    assert tokenizer.encode("x") == []
    assert not marks_starts(tokenizer)
    assert ids_behind(tokenizer, "b", "ab") == (0, 1)
