"""Throughput over time: one record for each device, compared by ratios to a reference measured in the same run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.report.provenance import git_commit, package_version

THROUGHPUT_FILE = "throughput.json"
KEPT_RUNS = 100


@dataclass(frozen=True)
class Timing:
    """One benchmark of one run: seconds a round, candidates/s, and the ratio to the naive reference beside it."""

    seconds: float
    candidates_per_second: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class BenchmarkRun:
    """All benchmarks of one run on one device."""

    commit: str
    date: str
    torch: str
    timings: Mapping[str, Timing] = field(default_factory=dict)


def read_run(output: Mapping[str, Any]) -> BenchmarkRun:
    """A run from pytest-benchmark's JSON; `ratio` and `candidates_per_second` come from each benchmark's extra_info."""
    if not isinstance(output.get("benchmarks"), list):
        raise BadInput(
            "results must be pytest-benchmark's JSON; got no list 'benchmarks' at its top; use --benchmark-json FILE"
        )
    timings = {
        benchmark["name"]: Timing(
            seconds=float(benchmark["stats"]["median"]),
            candidates_per_second=benchmark.get("extra_info", {}).get("candidates_per_second"),
            ratio=benchmark.get("extra_info", {}).get("ratio"),
        )
        for benchmark in output["benchmarks"]
    }
    return BenchmarkRun(git_commit(), str(output.get("datetime", "")), package_version("torch"), timings)


def store_benchmarks(output: Mapping[str, Any], folder: Path, device: str) -> Path:
    """Append a run to the device's record (`<folder>/<device>/throughput.json`), which keeps the last 100 runs."""
    path = record_path(folder, device)
    runs = [*stored_runs(folder, device), read_run(output)][-KEPT_RUNS:]
    text = json.dumps({"device": device, "runs": [asdict(run) for run in runs]}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"benchmarks must be storable; got {error.strerror} at {path}; name another folder") from error
    return path


def stored_runs(folder: Path, device: str) -> list[BenchmarkRun]:
    """The device's runs, oldest first; none where nothing was stored."""
    path = record_path(folder, device)
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["runs"]
        return [
            BenchmarkRun(**{**run, "timings": {name: Timing(**timing) for name, timing in run["timings"].items()}})
            for run in records
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"stored benchmarks must be readable; got {error!r} at {path}; restore or delete it") from error


def compare_with_last(output: Mapping[str, Any], folder: Path, device: str, slack: float = 0.3) -> list[str]:
    """A sentence for each benchmark whose ratio fell by more than `slack` of the last stored run's, or that is gone.

    Seconds are not compared: machines are noisy, and the reference of the same run carries the same noise. Compare
    before storing. Without a stored run there is nothing to fall behind, and the list is empty.
    """
    runs = stored_runs(folder, device)
    if not runs:
        return []
    last, now = runs[-1], read_run(output)
    sentences = []
    for name, before in last.timings.items():
        if before.ratio is None:
            continue
        timing = now.timings.get(name)
        if timing is None or timing.ratio is None:
            sentences.append(
                f"{name} must still be measured; got no ratio now, {before.ratio:.2f} at {last.commit}; run it"
            )
        elif timing.ratio < before.ratio * (1 - slack):
            sentences.append(
                f"{name} must stay within {slack:.0%} of its last ratio to the reference; got {timing.ratio:.2f}, "
                f"{before.ratio:.2f} at {last.commit}; find the slowdown, or store this run to accept it"
            )
    return sentences


def write_allure_metrics(output: Mapping[str, Any], results: Path) -> Path:
    """The run as `dormant-perf.json`, which Allure reads for its metrics page and its trend over runs."""
    run = read_run(output)
    milliseconds = _timestamp(run.date)
    metrics = []
    for name, timing in run.timings.items():
        measured = (
            ("candidates per second", timing.candidates_per_second, "candidates/s", "higher"),
            ("ratio to the reference", timing.ratio, "x", "higher"),
            ("seconds", timing.seconds, "s", "lower"),
        )
        for what, value, unit, better in measured:
            if value is not None:
                shown = {"title": f"{name}: {what}", "unit": unit, "group": "throughput", "groupTitle": "Throughput"}
                key = re.sub(r"\W+", ".", f"{name}.{what}").strip(".")
                times = {"start": milliseconds, "stop": milliseconds}
                metrics.append({"id": key, "key": key, "value": value, "better": better, **times, **shown})
    path = results / "dormant-perf.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return path


def record_path(folder: Path, device: str) -> Path:
    """Where a device's record lies; the device's name in lower case, with dashes for everything odd."""
    return folder / (re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "unnamed") / THROUGHPUT_FILE


def _timestamp(date: str) -> int:
    try:
        return int(datetime.fromisoformat(date).timestamp() * 1000)
    except ValueError:
        return 0
