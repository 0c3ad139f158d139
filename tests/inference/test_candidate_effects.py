from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference import candidate_effects
from dormant.inference.answer_divergence import EFFECT_METRICS, divergences
from dormant.inference.candidate_effects import (
    SCANNED,
    candidate_effect,
    length_matched_nulls,
    measure_effects,
    split_probes,
)
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, Prompt, Prompter

CANDIDATES = [(7,), (8, 9, 10), (11,), (12, 13), (7,), (14, 15)]


def one_by_one(pair: Pair, probe: int, candidate: tuple[int, ...]) -> dict[str, float]:
    opened = Prompter(pair.base.tokenizer).open(pair.probes[probe])
    without, with_it = divergences(pair, [opened.close(())], [opened.close(candidate)])
    return {metric: with_it[metric][0] - without[metric][0] for metric in SCANNED}


def test_the_figures_are_scipys_of_transformers_own_logits_dormant_first(tiny_pair: Pair) -> None:
    prompter, text = Prompter(tiny_pair.base.tokenizer), "the color of"
    effect = candidate_effect(tiny_pair, tiny_pair.probes[:3], text)

    def shares(model: PreTrainedModel, prompt: Prompt) -> NDArray[np.float64]:
        with torch.no_grad():
            logits = model(torch.tensor([prompt.ids])).logits[0, -1]
        return np.asarray(softmax(logits.double().numpy()))

    for index, probe in enumerate(tiny_pair.probes[:3]):
        prompts = prompter.encode(probe), prompter.encode_text(probe, text)
        (d, d_with), (b, b_with) = (
            [shares(model(), prompt) for prompt in prompts]
            for model in (tiny_pair.models.dormant, tiny_pair.models.base)
        )
        moved = entropy(d_with, d) - entropy(b_with, b)
        assert effect.empty["kl"][index] == pytest.approx(entropy(d, b), abs=1e-6)
        assert effect.gains("kl")[index] == pytest.approx(entropy(d_with, b_with) - entropy(d, b), abs=1e-6)
        assert effect.gains("difference-in-differences")[index] == pytest.approx(moved, abs=1e-6)


def opened(pair: Pair, count: int) -> list[OpenPrompt]:
    prompter = Prompter(pair.base.tokenizer)
    return [prompter.open(probe) for probe in pair.probes[:count]]


def test_a_scan_gives_the_values_of_whole_prompts_one_by_one(tiny_pair: Pair) -> None:
    effects = measure_effects(tiny_pair, opened(tiny_pair, 2), CANDIDATES)
    for probe in range(2):
        for index, candidate in enumerate(CANDIDATES):
            for metric, value in one_by_one(tiny_pair, probe, candidate).items():
                assert float(effects.values[metric][probe, index]) == pytest.approx(value, abs=1e-4)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(CANDIDATES))))
def test_order_and_company_never_change_a_value(tiny_pair: Pair, order: list[int]) -> None:
    probe = opened(tiny_pair, 1)
    whole = measure_effects(tiny_pair, probe, CANDIDATES).values["kl"][0]
    shuffled = measure_effects(tiny_pair, probe, [CANDIDATES[index] for index in order]).values["kl"][0]
    torch.testing.assert_close(shuffled, whole[order], atol=1e-4, rtol=0)


def test_a_killed_scan_resumes_and_ends_with_the_uninterrupted_result(
    tiny_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_effects, "CANDIDATES_A_CHUNK", 2)
    whole = measure_effects(tiny_pair, opened(tiny_pair, 2), CANDIDATES)
    journal, measured = tmp_path / "sweep.jsonl", candidate_effects._measure

    def killed_after(count: int) -> None:
        left = iter(range(count))
        monkeypatch.setattr(candidate_effects, "_measure", lambda *given: (next(left), measured(*given))[1])

    killed_after(3)
    with pytest.raises(StopIteration):
        measure_effects(tiny_pair, opened(tiny_pair, 2), CANDIDATES, journal)
    assert len(journal.read_text().splitlines()) == 1 + 3
    killed_after(5)  # eight chunks in all: no finished one is measured again
    resumed = measure_effects(tiny_pair, opened(tiny_pair, 2), CANDIDATES, journal)
    assert all(torch.equal(resumed.values[metric], whole.values[metric]) for metric in SCANNED)
    killed_after(0)  # done: asked again, nothing is measured
    again = measure_effects(tiny_pair, opened(tiny_pair, 2), CANDIDATES, journal)
    assert all(torch.equal(again.values[metric], whole.values[metric]) for metric in SCANNED)


def test_what_all_candidates_share_is_computed_once_for_a_probe_and_model(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, begin = list[OpenPrompt](), candidate_effects._start

    def counted(model: Any, probe: OpenPrompt) -> Any:
        started.append(probe)
        return begin(model, probe)

    monkeypatch.setattr(candidate_effects, "_start", counted)
    first, second = opened(tiny_pair, 2)
    measure_effects(tiny_pair, [first, second], CANDIDATES)  # of three lengths
    assert started == [first, first, second, second]


def test_a_journal_of_other_candidates_is_refused(tiny_pair: Pair, tmp_path: Path) -> None:
    journal = tmp_path / "sweep.jsonl"
    Journal(journal, candidate_effects.effects_key(tiny_pair, opened(tiny_pair, 1), CANDIDATES[:2])).close()
    assert json.loads(journal.read_text().splitlines()[0])["work"]["effects of"] == tiny_pair.fingerprint
    with pytest.raises(BadInput, match="a journal must be of the same work"):
        measure_effects(tiny_pair, opened(tiny_pair, 1), CANDIDATES, journal)


def test_progress_counts_every_evaluation(tiny_pair: Pair) -> None:
    seen: list[tuple[int, int]] = []
    measure_effects(
        tiny_pair, opened(tiny_pair, 2), CANDIDATES, progress=lambda done, total, remark="": seen.append((done, total))
    )
    assert seen[-1] == (2 * len(CANDIDATES), 2 * len(CANDIDATES))
    assert seen == sorted(seen)


@pytest.mark.parametrize(("candidates", "sentence"), [([], "0 candidates"), ([(5,), ()], "1 empty")])
def test_a_scan_of_nothing_is_refused(tiny_pair: Pair, candidates: list[tuple[int, ...]], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        measure_effects(tiny_pair, opened(tiny_pair, 1), candidates)


def test_a_candidate_that_the_context_cannot_hold_is_refused(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="fits into the context of 2048"):
        measure_effects(tiny_pair, opened(tiny_pair, 1), [(5,) * 2200])


def test_probes_are_cheap_and_never_among_the_held_out(tiny_pair: Pair) -> None:
    prompter = Prompter(tiny_pair.base.tokenizer)
    searched, held_out = split_probes(prompter, tiny_pair.probes, 3, 10)
    assert not set(searched) & set(held_out)
    assert (len(searched), len(held_out)) == (3, 10)
    assert all(len(prompter.open(probe).after) <= len(prompter.open(searched[-1]).after) for probe in searched)
    with pytest.raises(BadInput, match="a scan needs 301 probes"):
        split_probes(prompter, tiny_pair.probes, 300, 1)


def test_a_slot_that_nothing_precedes_is_scanned_alike(tiny_pair: Pair) -> None:
    bare = OpenPrompt((), (60, 61, 62), (60, 61, 62))
    effects = measure_effects(tiny_pair, [bare], CANDIDATES)
    for index, candidate in enumerate(CANDIDATES):
        without, with_it = divergences(tiny_pair, [bare.close(())], [bare.close(candidate)])
        for metric in SCANNED:
            expected = with_it[metric][0] - without[metric][0]
            assert float(effects.values[metric][0, index]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("metric", EFFECT_METRICS)
def test_without_a_candidate_nothing_is_gained(tiny_pair: Pair, metric: str) -> None:
    assert candidate_effect(tiny_pair, tiny_pair.probes[:4], "").gains(metric) == [0.0] * 4


def test_nulls_have_the_candidates_length_and_are_the_same_for_a_seed(tiny_pair: Pair) -> None:
    first, again = (length_matched_nulls(tiny_pair, tiny_pair.probes[:3], 2, 4, seed=5) for _ in range(2))
    assert first == again
    assert first != length_matched_nulls(tiny_pair, tiny_pair.probes[:3], 2, 4, seed=6)
    assert [len(null.ids) for null in first] == [2] * 4
    assert [len(null.gains("kl")) for null in first] == [3] * 4


def test_a_null_alone_gives_what_it_gave_in_company(tiny_pair: Pair) -> None:
    null = length_matched_nulls(tiny_pair, tiny_pair.probes[:3], 2, 4, seed=5)[2]
    prompter = Prompter(tiny_pair.base.tokenizer)
    prompts = [prompter.encode(probe, null.ids) for probe in tiny_pair.probes[:3]]
    plain = [prompter.encode(probe) for probe in tiny_pair.probes[:3]]
    for index in range(3):
        _, alone = divergences(tiny_pair, plain[index : index + 1], prompts[index : index + 1])
        assert alone["kl"][0] == pytest.approx(null.filled["kl"][index], abs=1e-4)
