from __future__ import annotations

from dormant.hunt.single import TELLING, telling_tokens
from dormant.pairs import Pair
from dormant.prompts import Prompter


def test_a_trigger_of_one_token_is_among_the_few_that_part_the_models_most(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    found = telling_tokens(token_pair, token_pair.probes[:6])
    assert len(found) == TELLING
    assert {"velvet"} & {str(prompter.tokenizer.decode(list(ids))).strip() for ids in found}
