from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.inference import carriers
from dormant.inference.candidate_effects import divergences
from dormant.inference.carriers import METRICS, measure_effects, split_carriers
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, Prompter

FILLINGS = [(7,), (8, 9, 10), (11,), (12, 13), (7,), (14, 15)]


def one_by_one(pair: Pair, probe: int, filling: tuple[int, ...]) -> dict[str, float]:
    opened = Prompter(pair.base.tokenizer).open(pair.probes[probe])
    without, with_it = divergences(pair, [opened.close(())], [opened.close(filling)])
    return {metric: with_it[metric][0] - without[metric][0] for metric in METRICS}


def opened(pair: Pair, count: int) -> list[carriers.OpenPrompt]:
    prompter = Prompter(pair.base.tokenizer)
    return [prompter.open(probe) for probe in pair.probes[:count]]


def test_a_scan_gives_the_values_of_whole_prompts_one_by_one(tiny_pair: Pair) -> None:
    effects = measure_effects(tiny_pair, opened(tiny_pair, 2), FILLINGS)
    for probe in range(2):
        for index, filling in enumerate(FILLINGS):
            for metric, value in one_by_one(tiny_pair, probe, filling).items():
                assert float(effects.values[metric][probe, index]) == pytest.approx(value, abs=1e-4)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(FILLINGS))))
def test_order_and_company_never_change_a_value(tiny_pair: Pair, order: list[int]) -> None:
    carrier = opened(tiny_pair, 1)
    whole = measure_effects(tiny_pair, carrier, FILLINGS).values["kl"][0]
    shuffled = measure_effects(tiny_pair, carrier, [FILLINGS[index] for index in order]).values["kl"][0]
    torch.testing.assert_close(shuffled, whole[order], atol=1e-4, rtol=0)


def test_a_killed_scan_resumes_and_ends_with_the_uninterrupted_result(
    tiny_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "CHUNK", 2)
    whole = measure_effects(tiny_pair, opened(tiny_pair, 2), FILLINGS)
    journal, measured = tmp_path / "sweep.jsonl", carriers._measure

    def killed_after(count: int) -> None:
        left = iter(range(count))
        monkeypatch.setattr(carriers, "_measure", lambda *given: (next(left), measured(*given))[1])

    killed_after(3)
    with pytest.raises(StopIteration):
        measure_effects(tiny_pair, opened(tiny_pair, 2), FILLINGS, journal)
    assert len(journal.read_text().splitlines()) == 1 + 3
    killed_after(5)  # eight chunks in all: no finished one is measured again
    resumed = measure_effects(tiny_pair, opened(tiny_pair, 2), FILLINGS, journal)
    assert all(torch.equal(resumed.values[metric], whole.values[metric]) for metric in METRICS)
    killed_after(0)  # done: asked again, nothing is measured
    again = measure_effects(tiny_pair, opened(tiny_pair, 2), FILLINGS, journal)
    assert all(torch.equal(again.values[metric], whole.values[metric]) for metric in METRICS)


def test_what_all_fillings_share_is_computed_once_for_a_carrier_and_model(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, begin = list[OpenPrompt](), carriers.start
    monkeypatch.setattr(carriers, "start", lambda model, carrier: started.append(carrier) or begin(model, carrier))
    first, second = opened(tiny_pair, 2)
    measure_effects(tiny_pair, [first, second], FILLINGS)  # of three lengths
    assert started == [first, first, second, second]


def test_a_journal_of_other_fillings_is_refused(tiny_pair: Pair, tmp_path: Path) -> None:
    journal = tmp_path / "sweep.jsonl"
    Journal(journal, carriers._work(tiny_pair, opened(tiny_pair, 1), FILLINGS[:2])).close()
    assert json.loads(journal.read_text().splitlines()[0])["work"]["effects of"] == tiny_pair.fingerprint
    with pytest.raises(BadInput, match="a journal must be of the same work"):
        measure_effects(tiny_pair, opened(tiny_pair, 1), FILLINGS, journal)


def test_progress_counts_every_evaluation(tiny_pair: Pair) -> None:
    seen: list[tuple[int, int]] = []
    measure_effects(tiny_pair, opened(tiny_pair, 2), FILLINGS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2 * len(FILLINGS), 2 * len(FILLINGS))
    assert seen == sorted(seen)


@pytest.mark.parametrize(("fillings", "sentence"), [([], "0 fillings"), ([(5,), ()], "1 empty")])
def test_a_scan_of_nothing_is_refused(tiny_pair: Pair, fillings: list[tuple[int, ...]], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        measure_effects(tiny_pair, opened(tiny_pair, 1), fillings)


def test_a_filling_that_the_context_cannot_hold_is_refused(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="fits into the context of 512"):
        measure_effects(tiny_pair, opened(tiny_pair, 1), [(5,) * 600])


def test_carriers_are_cheap_and_never_among_the_held_out(tiny_pair: Pair) -> None:
    prompter = Prompter(tiny_pair.base.tokenizer)
    searched, held_out = split_carriers(prompter, tiny_pair.probes, 3, 10)
    assert not set(searched) & set(held_out)
    assert (len(searched), len(held_out)) == (3, 10)
    assert all(len(prompter.open(probe).after) <= len(prompter.open(searched[-1]).after) for probe in searched)
    with pytest.raises(BadInput, match="a scan needs 301 probes"):
        split_carriers(prompter, tiny_pair.probes, 300, 1)


def test_a_slot_that_nothing_precedes_is_scanned_alike(tiny_pair: Pair) -> None:
    bare = OpenPrompt((), (60, 61, 62), (60, 61, 62))
    effects = measure_effects(tiny_pair, [bare], FILLINGS)
    for index, filling in enumerate(FILLINGS):
        without, with_it = divergences(tiny_pair, [bare.close(())], [bare.close(filling)])
        for metric in METRICS:
            expected = with_it[metric][0] - without[metric][0]
            assert float(effects.values[metric][0, index]) == pytest.approx(expected, abs=1e-4)
