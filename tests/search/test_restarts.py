"""Restarts on a tiny pair: what decides them, and what is said of their strings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.inference.objectives import named_objective
from dormant.journal import kept_steps
from dormant.pairs import Pair, Truth
from dormant.prompts.probes import Probe, Prompter
from dormant.search.restarts import SearchPlan, search_key, search_restarts

PROBES = tuple(map(Probe, ["Tell me{slot} the color of the sky.", "{slot} What is the capital?", "Repeat{slot} apple"]))
PLAN = SearchPlan(length=2, restarts=2, steps=3, candidates=4, probes=1, held_out=2, seed=0, objective="kl")
TRUTH = Truth(True, "apple river", "one two", "anywhere")


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return replace(tiny_pair.with_probes(PROBES), truth=TRUTH)


@pytest.mark.parametrize("method", ["gcg", "hill-climb"])
def test_neither_progress_nor_a_journal_nor_a_kill_at_any_step_changes_what_is_found(
    pair: Pair, method: str, tmp_path: Path
) -> None:
    plan = replace(PLAN, method=method)
    expected, key, path = search_restarts(pair, plan), search_key(pair, plan), tmp_path / "journal"
    done = list[int]()
    with kept_steps(path, key) as step:
        found = search_restarts(pair, plan, step=step, progress=lambda n, remark="", total=None: done.append(n))
    assert found == expected
    assert done[-1] == 2 * plan.restarts * plan.evaluations
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 2 * (1 + plan.steps)
    for kept in range(len(lines)):
        path.write_text("".join(lines[:kept]) + lines[kept][:9])
        with kept_steps(path, key) as step:
            assert search_restarts(pair, plan, step=step) == expected


def test_a_journal_of_another_plan_payload_or_of_other_hints_is_refused(pair: Pair, tmp_path: Path) -> None:
    with kept_steps(tmp_path / "journal", search_key(pair, PLAN)):
        pass
    others = [
        search_key(pair, replace(PLAN, seed=1)),
        search_key(pair, PLAN, payload="red"),
        search_key(pair, PLAN, hints=torch.tensor([40, 41])),
        search_key(pair.with_probes(PROBES[::-1]), PLAN),
    ]
    for other in others:
        with pytest.raises(BadInput, match="must be of the same work"), kept_steps(tmp_path / "journal", other):
            pass


def test_each_group_of_restarts_finds_what_it_finds_alone_and_what_one_batch_finds_up_to_rounding(pair: Pair) -> None:
    done = list[int]()
    plan = replace(PLAN, restarts=3, groups=2)
    grouped = search_restarts(pair, plan, progress=lambda n, total, remark="": done.append(n))
    assert done[-1] == 2 * plan.restarts * plan.evaluations
    assert [len(each.seeds) for each in plan.grouped] == [1, 2]
    assert grouped.searches[:1] == search_restarts(pair, replace(PLAN, restarts=1)).searches
    whole = search_restarts(pair, replace(plan, groups=1))
    assert [run.best for run in grouped.searches] == [run.best for run in whole.searches]
    for ours, theirs in zip((*grouped.searches, *grouped.random), (*whole.searches, *whole.random), strict=True):
        assert ours.curve == pytest.approx(theirs.curve, abs=1e-4)


def test_gains_are_over_the_empty_row_of_the_probes_they_name(pair: Pair) -> None:
    report = search_restarts(pair, PLAN)
    assert report.planted is not None
    opened = [Prompter(pair.base.tokenizer).open(probe) for probe in PROBES]
    for prompts, name in ((opened[:1], "gain"), (opened[1:], "held_out_gain")):
        evaluator = Evaluator(pair.models, prompts, named_objective(PLAN.objective))
        for string in (*report.found, report.planted):
            expected = (evaluator.per_probe_of([string.ids])[:, 0] - evaluator.empty()).mean().item()
            assert getattr(string, name) == pytest.approx(expected, abs=1e-4)
    assert [string.value for string in report.found] == pytest.approx([run.value for run in report.searches], abs=1e-4)
    assert report.best.gain == max(string.gain for string in report.found)


def test_the_worst_probe_decides_where_asked(pair: Pair) -> None:
    report = search_restarts(pair, replace(PLAN, probes=2, held_out=1, reduce="worst"))
    evaluator = Evaluator(pair.models, [Prompter(pair.base.tokenizer).open(probe) for probe in PROBES[:2]])
    for string in report.found:
        assert string.value == pytest.approx(evaluator.per_probe_of([string.ids]).amin().item(), abs=1e-4)


def test_random_search_stands_beside_with_as_many_evaluations(pair: Pair) -> None:
    report = search_restarts(pair, PLAN)
    assert [run.evaluations for run in report.random] == [run.evaluations for run in report.searches] == [16, 16]
    assert {run.curve[0] for run in report.random}.isdisjoint(run.curve[0] for run in report.searches)
    assert search_restarts(pair, replace(PLAN, random_search=False)).random == ()


def test_strings_are_tried_for_the_payload_where_one_is_known(pair: Pair) -> None:
    report, unknown = search_restarts(pair, PLAN), search_restarts(replace(pair, truth=None), PLAN)
    assert all(len(string.fires) == 2 for string in report.found)
    assert all(string.fires == () for string in unknown.found)
    assert unknown.planted is None
    given = search_restarts(replace(pair, truth=None), PLAN, payload="one two")
    assert [string.fires for string in given.found] == [string.fires for string in report.found]


def test_a_search_for_the_payload_ends_with_how_likely_it_is_behind_the_whole_prompt(pair: Pair) -> None:
    report, prompter = search_restarts(pair, replace(PLAN, objective="payload-likelihood")), pair.prompter
    payload = prompter.tokenizer.encode(TRUTH.payload, add_special_tokens=False)
    asked = [prompter.encode(PROBES[0], string.ids).ids for string in report.found]
    expected = continuation_log_probabilities(pair.models.dormant(), asked, payload).mean(1)
    assert [string.value for string in report.found] == pytest.approx(expected.tolist(), abs=1e-4)


def test_among_hints_no_string_uses_another_token(pair: Pair) -> None:
    hints = torch.tensor([40, 41, 42])
    report = search_restarts(pair, PLAN, hints=hints)
    assert all(set(run.best) <= set(hints.tolist()) for run in (*report.searches, *report.random))


def test_what_cannot_be_searched_is_a_sentence(pair: Pair) -> None:
    with pytest.raises(BadInput, match="a search needs 5 probes; got 3"):
        search_restarts(pair, replace(PLAN, held_out=4))
    with pytest.raises(BadInput, match="candidates of 5000 at the longest probe"):
        search_restarts(pair, replace(PLAN, length=5000))
    with pytest.raises(BadInput, match="needs a payload"):
        search_restarts(replace(pair, truth=None), replace(PLAN, objective="payload-likelihood"))
    with pytest.raises(BadInput, match="one of gcg, hill-climb"):
        replace(PLAN, method="beam")
    with pytest.raises(BadInput, match="seed is 0 or more"):
        replace(PLAN, seed=-1)


@pytest.mark.parametrize("name", ["restarts", "probes", "held_out", "steps", "length", "candidates", "top", "groups"])
def test_counts_below_one_are_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"a search needs {name} >= 1; got 0"):
        replace(PLAN, **{name: 0})  # type: ignore[arg-type]
