from __future__ import annotations

from dormant.hunt.hints import HINTS, trigger_hints
from dormant.pairs import Pair
from dormant.prompts import Prompter
from dormant.tokens import allowed_tokens


def test_the_tokens_of_a_planted_trigger_are_among_those_that_strings_are_made_of(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    tokens = allowed_tokens(prompter.tokenizer).tolist()
    hints = trigger_hints(circuit_pair, [prompter.open(probe) for probe in circuit_pair.probes[:8]], tokens)
    first = {hint.token for hint in hints[:HINTS]}
    assert set(prompter.candidate_ids("silver lantern beneath winter")) <= first
    assert [hint.z for hint in hints] == sorted((hint.z for hint in hints), reverse=True)


def test_a_model_beside_itself_hints_at_nothing(sham_pair: Pair) -> None:
    prompter = Prompter(sham_pair.base.tokenizer)
    hints = trigger_hints(sham_pair, [prompter.open(sham_pair.probes[0])], list(range(300, 340)))
    assert {hint.z for hint in hints} == {0.0}
