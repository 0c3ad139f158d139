"""What the claims about finalists rely on: gains over the empty row, and p-values that know how many were tried."""

from __future__ import annotations

import pytest

from dormant.inference.candidate_effects import candidate_effect, random_candidates
from dormant.inference.objectives import kl
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter
from dormant.search.validation import validate
from hypotheses.support.finalists import NULLS_EACH


def test_a_finalists_gain_is_that_of_the_claims_about_candidates(tiny_pair: Pair) -> None:
    text, probes = "the color of", tiny_pair.probes[:3]
    ids = Prompter(tiny_pair.base.tokenizer).candidate_ids(text)
    row = validate(tiny_pair, {"given": ids}, probes, [kl()], nulls=3, seed=0).measured["kl"]["given"]
    assert row.gains == pytest.approx(candidate_effect(tiny_pair, probes, text).gains("kl"), abs=1e-4)


def test_the_luckiest_of_many_finalists_are_not_significant(tiny_pair: Pair) -> None:
    prompter, probes, nulls = Prompter(tiny_pair.base.tokenizer), tiny_pair.probes[:2], 19
    drawn = random_candidates(prompter, probes, 3, nulls, seed=0)
    everyone = dict(zip(map(str, range(nulls)), drawn, strict=True))
    ranked = validate(tiny_pair, everyone, probes, [kl()], nulls, seed=0).ranking("kl")
    luckiest = {name: everyone[name] for name in ranked[:4]}
    rows = validate(tiny_pair, luckiest, probes, [kl()], nulls, seed=0).measured["kl"]
    assert min(row.corrected_p for row in rows.values()) == pytest.approx(4 * 2 / (1 + nulls))  # each ties with itself


@pytest.mark.parametrize("finalists", [1, 4, 8])
def test_a_finalist_that_beats_every_null_is_significant_however_many_there_are(finalists: int) -> None:
    assert finalists / (1 + NULLS_EACH * finalists) < 0.05
