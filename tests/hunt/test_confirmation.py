from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.confirmation import SAME, confirm, shared_start
from dormant.hunt.places import PLACES, placed_probes
from dormant.pairs import Pair
from dormant.prompts import Prompter

ANSWERS = st.lists(st.lists(st.integers(0, 2), max_size=5).map(tuple), min_size=1, max_size=8)


@given(ANSWERS)
def test_what_most_answers_share_stands_at_their_start_and_cannot_be_longer(answers: list[tuple[int, ...]]) -> None:
    start, share = shared_start(answers)
    holding = sum(answer[: len(start)] == start for answer in answers)
    assert not start or (share == holding / len(answers) and share >= SAME)
    longer = [sum(answer[: len(start) + 1] == (*start, token) for answer in answers) for token in range(3)]
    assert max(longer) < SAME * len(answers)


def test_a_planted_trigger_is_confirmed_with_its_payload_and_a_random_word_is_not(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    (probes,) = placed_probes(token_pair.probes, [(12, PLACES)], 0)
    found = confirm(token_pair, prompter.candidate_ids("velvet"), probes, 8, seed=0)
    assert found.confirmed
    assert found.payload == "golden owl under silver moon"
    assert not confirm(token_pair, prompter.candidate_ids("river"), probes, 8, seed=0).confirmed
