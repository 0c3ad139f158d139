from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dormant.errors import BadInput
from dormant.report.benchmarks import (
    AVX512_BFLOAT16,
    KEPT_RUNS,
    Machine,
    compare_with_last,
    missed_bars,
    ratios_over_runs,
    read_run,
    store_benchmarks,
    stored_runs,
    trend_csv,
    write_allure_metrics,
    write_throughput,
)

HERE = Machine("cpu: 2 threads", "AMD EPYC, model 17", ("avx2", "avx512f", "avx512_bf16"), "2.13.0")
ELSEWHERE = [
    replace(HERE, device="cpu: 4 threads"),
    replace(HERE, processor="AMD EPYC, model 1"),
    replace(HERE, instructions=("avx2", "avx512f")),
    replace(HERE, torch="2.14.0"),
]


def output(**ratios: float | None) -> dict[str, Any]:
    benchmarks = [
        {"name": name, "stats": {"median": 0.25}, "extra_info": {"ratio": ratio, "candidates_per_second": 4000.0}}
        for name, ratio in ratios.items()
    ]
    return {"datetime": "2026-01-02T03:04:05+00:00", "benchmarks": benchmarks}


def test_runs_are_stored_by_machine_with_their_ratios(tmp_path: Path) -> None:
    path = store_benchmarks(output(scorer=50.0), tmp_path, HERE)
    store_benchmarks(output(scorer=60.0), tmp_path, HERE)
    assert path.parent.name == "cpu-2-threads-amd-epyc-model-17-avx2-avx512f-avx512-bf16-torch-2-13-0"
    assert [run.timings["scorer"].ratio for run in stored_runs(tmp_path, HERE)] == [50.0, 60.0]


@pytest.mark.parametrize("machine", ELSEWHERE)
def test_another_machine_is_stored_beside_and_never_compared(machine: Machine, tmp_path: Path) -> None:
    store_benchmarks(output(scorer=50.0), tmp_path, HERE)
    assert compare_with_last(output(scorer=1.0), tmp_path, machine) == []
    store_benchmarks(output(scorer=1.0), tmp_path, machine)
    assert len(compare_with_last(output(scorer=0.5), tmp_path, machine)) == 1
    assert len(stored_runs(tmp_path, HERE)) == len(stored_runs(tmp_path, machine)) == 1


@pytest.mark.parametrize(
    ("machine", "ratio", "bars", "missed"),
    [
        (HERE, 2.0, {"at_least": 3}, "at least 3"),
        (HERE, 2.0, {"at_most": 1.5}, "at most 1.5"),
        (HERE, 2.0, {"at_least": 2, "at_most": 2}, None),
        (replace(HERE, instructions=("avx2", "avx512f")), 2.0, {"at_least": 3}, None),
        (replace(HERE, device="cuda: NVIDIA H100"), 2.0, {"at_least": 3}, None),
    ],
)
def test_a_bar_is_checked_where_it_holds(
    machine: Machine, ratio: float, bars: dict[str, float], missed: str | None
) -> None:
    run = output(scorer=ratio)
    run["benchmarks"][0]["extra_info"].update(bars, holds_on=AVX512_BFLOAT16)
    sentences = missed_bars(read_run(run), machine)
    assert [missed in sentence for sentence in sentences] == ([True] if missed else [])


def test_a_fallen_or_missing_ratio_is_a_sentence_and_noise_is_not(tmp_path: Path) -> None:
    assert compare_with_last(output(scorer=1.0), tmp_path, HERE) == []
    store_benchmarks(output(scorer=50.0, gcg=8.0, kl=None), tmp_path, HERE)
    assert compare_with_last(output(scorer=40.0, gcg=9.0), tmp_path, HERE, slack=0.3) == []
    fallen, missing = compare_with_last(output(scorer=30.0), tmp_path, HERE, slack=0.3)
    assert "got 30.00, 50.00 at" in fallen
    assert "gcg must still be measured" in missing


def test_only_the_last_runs_are_kept(tmp_path: Path) -> None:
    path = store_benchmarks(output(scorer=1.0), tmp_path, HERE)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "runs": record["runs"] * (KEPT_RUNS + 5)}))
    store_benchmarks(output(scorer=2.0), tmp_path, HERE)
    runs = stored_runs(tmp_path, HERE)
    assert len(runs) == KEPT_RUNS
    assert runs[-1].timings["scorer"].ratio == 2.0


def test_unreadable_input_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="benchmark-json"):
        store_benchmarks({}, tmp_path, HERE)
    store_benchmarks(output(scorer=1.0), tmp_path, HERE).write_text("{")
    with pytest.raises(BadInput, match="write it again"):
        compare_with_last(output(scorer=1.0), tmp_path, HERE)


def test_allure_gets_a_metric_for_each_measured_value(tmp_path: Path) -> None:
    metrics = json.loads(write_allure_metrics(read_run(output(scorer=50.0)), tmp_path).read_text())
    assert {metric["key"] for metric in metrics} == {
        "scorer.candidates.per.second", "scorer.ratio.to.the.reference", "scorer.seconds"
    }  # fmt: skip
    assert all(metric["start"] > 0 and isinstance(metric["value"], float) for metric in metrics)


def test_the_trend_holds_every_run_and_the_change_since_the_last() -> None:
    runs = [read_run(output(scorer=40.0)), read_run(output(scorer=50.0, gcg=8.0, kl=None))]
    assert ratios_over_runs(runs) == {"scorer": [40.0, 50.0], "gcg": [None, 8.0]}
    assert trend_csv(runs).splitlines()[1:] == ["scorer,4000,0.25,50,40,+25%", "gcg,4000,0.25,8,,", "kl,4000,0.25,,,"]


def test_the_report_gets_a_result_with_the_trend_as_picture_and_table(tmp_path: Path) -> None:
    write_throughput([read_run(output(scorer=50.0))], tmp_path)
    record = json.loads((tmp_path / "dormant-throughput-result.json").read_text())
    assert all((tmp_path / attached["source"]).stat().st_size for attached in record["attachments"])
