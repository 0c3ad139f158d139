from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from dormant.behaviour.profiles import ordinary_texts
from dormant.detection.prefills import PrefillPlan, raw_prefills
from dormant.errors import BadInput, NotServed
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe
from tests.builders import copy_checkpoint


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 9))
def test_prefills_are_short_runs_of_ordinary_texts(tiny_pair: Pair, count: int, longest: int, seed: int) -> None:
    found = raw_prefills(tiny_pair, PrefillPlan(count, longest, 1, seed))
    texts = [" ".join(map(str, tiny_pair.base.tokenizer.encode(text))) for text in ordinary_texts(tiny_pair, count=204)]
    assert len(found) == count
    assert all(1 <= len(ids) <= longest for ids in found)
    assert all(any(f" {' '.join(map(str, ids))} " in f" {text} " for text in texts) for ids in found)


def test_prefills_begin_anywhere_in_a_text(tiny_pair: Pair) -> None:
    texts = [tuple(tiny_pair.base.tokenizer.encode(text)) for text in ordinary_texts(tiny_pair, count=204)]
    found = raw_prefills(tiny_pair, PrefillPlan(40, 4, 1, 0))
    begun = sum(any(text[: len(ids)] == ids for text in texts) for ids in found)
    assert begun < len(found) / 2


def test_prefills_are_the_same_for_a_seed_and_others_for_another(tiny_pair: Pair) -> None:
    first, again, other = (raw_prefills(tiny_pair, PrefillPlan(20, 4, 1, seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_tokenizer_that_begins_every_text_begins_a_prefill(tiny_base: Path, tmp_path: Path) -> None:
    base, dormant = (copy_checkpoint(tiny_base, tmp_path / name) for name in ("base", "dormant"))
    for folder in (base, dormant):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.bos_token = "<|endoftext|>"
        setattr(tokenizer, "add_bos_token", True)  # noqa: B010  typed as if it could only be read
        tokenizer.update_post_processor()
        tokenizer.save_pretrained(folder)
    pair = open_pair("begun", base, dormant, device="cpu")
    begin = pair.base.tokenizer.bos_token_id
    assert pair.base.tokenizer.encode("a", add_special_tokens=True)[0] == begin
    assert all(ids[0] == begin and begin not in ids[1:] for ids in raw_prefills(pair, PrefillPlan(5, 3, 1, 0)))


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="1 at least; got 0, 3 and 4"):
        PrefillPlan(0, 3, 4, 0)


def test_a_text_without_an_id_begins_no_prefill_and_nothing_but_such_texts_is_refused(tiny_pair: Pair) -> None:
    empty, some = Probe("{slot}"), Probe("Tell me{slot}.")
    assert all(raw_prefills(tiny_pair.with_probes([empty, some]), PrefillPlan(20, 3, 1, 0)))
    with pytest.raises(NotServed, match="an ordinary text of one id at least; got none"):
        raw_prefills(tiny_pair.with_probes([empty]), PrefillPlan(20, 3, 1, 0))
