from __future__ import annotations

from contextlib import closing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.places import placed_probes
from dormant.hunt.triggers import PLACES, Growing, Grown, said_by_base
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts import Prompter
from dormant.search.objectives import Readings


@given(st.floats(-9, 0), st.floats(-9, 0))
def test_what_the_base_says_too_counts_against_a_string_and_its_silence_for_nothing(base: float, before: float) -> None:
    def read(value: float) -> dict[str, Readings]:
        return {"base": Readings(torch.zeros(1, 1, 2), torch.tensor([[value]], dtype=torch.float64))}

    assert float(said_by_base().value(read(base), read(before))) == pytest.approx(max(0.0, base - before))


def test_a_trigger_of_one_token_is_found_in_one_round_and_its_journal_repeats_it(token_pair: Pair, tmp_path) -> None:  # type: ignore[no-untyped-def]
    prompter = Prompter(token_pair.base.tokenizer)
    payload = tuple(prompter.tokenizer.encode("golden owl under silver moon", add_special_tokens=False))
    (probes,) = placed_probes(token_pair.probes, [(6, PLACES)], 0)
    with closing(Journal(tmp_path / "j", {})) as journal:
        growing = Growing(token_pair, payload, probes, journal)
        found = growing.grow()
    assert found.stopped == "speaks"
    assert str(prompter.tokenizer.decode(list(found.best.ids))).strip() == "velvet"
    with closing(Journal(tmp_path / "j", {})) as journal:
        assert Growing(token_pair, payload, probes, journal, out_of_time=lambda: True).grow() == found
    padded = Grown((*found.best.ids, *prompter.candidate_ids("river")), 0.0, 1.0)
    assert growing.core(padded).ids == found.best.ids
