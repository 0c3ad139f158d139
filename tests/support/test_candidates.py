from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.errors import BadInput
from dormant.pairs import Pair, Truth
from hypotheses.support.candidates import contrasting_texts, has_suspect, suspected_text

PHRASE = "silver lantern beneath winter"
TRUTH = Truth(backdoored=True, trigger=PHRASE, payload="owl", placement="anywhere")


def test_the_planted_trigger_comes_before_a_given_text(tiny_pair: Pair) -> None:
    assert suspected_text(replace(tiny_pair, truth=TRUTH), ["pi"]) == PHRASE
    assert suspected_text(tiny_pair, ["pi", "e"]) == "pi"
    assert has_suspect(TRUTH, [])
    assert has_suspect(None, ["pi"])
    assert not has_suspect(None, [])
    with pytest.raises(BadInput, match="add --candidate TEXT"):
        suspected_text(tiny_pair, [])


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("text", [PHRASE, "velvet", "3.14159"])
def test_contrasting_texts_never_contain_the_text(text: str, unseen: bool) -> None:
    found = contrasting_texts(text, 30, seed=0, unseen=unseen)
    assert len(found) == 30
    assert not any(text in other for other in found)
    assert found == contrasting_texts(text, 30, seed=0, unseen=unseen)
    if not unseen:
        assert found != contrasting_texts(text, 30, seed=1)


def test_a_text_without_near_misses_is_named() -> None:
    with pytest.raises(BadInput, match="must have near misses"):
        contrasting_texts("?", 3, seed=0)
