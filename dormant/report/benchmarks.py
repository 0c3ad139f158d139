"""Throughput over time: one record for each machine, compared by ratios to a reference measured in the same run.

Another machine's record is never compared with: what a ratio comes to is a matter of caches and instruction sets.
Allure gets it twice: as metrics, whose trend is in its own history, and as one result with the trend over the stored runs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.pictures.canvas import png_bytes
from dormant.pictures.throughput import throughput_trend
from dormant.records import from_json, json_text, read_json, write_json
from dormant.report.provenance import git_commit, instruction_sets, package_version, processor_name

THROUGHPUT_FILE = "throughput.json"
KEPT_RUNS = 100
AVX512_BFLOAT16 = "AVX-512 with bfloat16 products"
# Classes of processors for which bars hold, by the instruction sets that all of a class have.
MACHINE_CLASSES = {AVX512_BFLOAT16: frozenset({"avx512f", "avx512_bf16"})}


@dataclass(frozen=True)
class Machine:
    """What a record belongs to: the device with its threads, the processor with its instruction sets, and torch."""

    device: str
    processor: str
    instructions: tuple[str, ...]
    torch: str

    @classmethod
    def here(cls, device: str) -> Machine:
        """This machine, with a device of `device_name`."""
        return cls(device, processor_name(), instruction_sets(), package_version("torch"))

    def is_of(self, kind: str) -> bool:
        """Whether it runs on a processor of one of `MACHINE_CLASSES`; never on another device."""
        return self.device.startswith("cpu") and MACHINE_CLASSES[kind] <= set(self.instructions)


@dataclass(frozen=True)
class Timing:
    """One benchmark of one run: seconds a round, candidates/s, and the ratio to the plain reference in the same run.

    The ratio has a bar, `at_least` or `at_most`, for the class of machines `holds_on`.
    """

    seconds: float
    candidates_per_second: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    holds_on: str | None = None


@dataclass(frozen=True)
class BenchmarkRun:
    """All benchmarks of one run on one machine."""

    commit: str
    date: str
    torch: str
    timings: Mapping[str, Timing] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredRuns:
    """A machine's record: its runs, oldest first."""

    machine: Machine
    runs: tuple[BenchmarkRun, ...]


FROM_EXTRA_INFO = ("candidates_per_second", "ratio", "at_least", "at_most", "holds_on")


def read_run(output: Mapping[str, Any]) -> BenchmarkRun:
    """A run from pytest-benchmark's JSON; all but the seconds comes from each benchmark's extra_info."""
    if not isinstance(output.get("benchmarks"), list):
        raise BadInput(
            "results must be pytest-benchmark's JSON; got no list 'benchmarks' at its top; use --benchmark-json FILE"
        )
    timings = {
        benchmark["name"]: Timing(
            seconds=float(benchmark["stats"]["median"]),
            **{name: benchmark.get("extra_info", {}).get(name) for name in FROM_EXTRA_INFO},
        )
        for benchmark in output["benchmarks"]
    }
    return BenchmarkRun(git_commit(), str(output.get("datetime", "")), package_version("torch"), timings)


def store_benchmarks(output: Mapping[str, Any], folder: Path, machine: Machine) -> Path:
    """Append a run to the machine's record, which keeps the last 100 runs."""
    path = record_path(folder, machine)
    runs = [*stored_runs(folder, machine), read_run(output)][-KEPT_RUNS:]
    write_json(path, StoredRuns(machine, tuple(runs)))
    return path


def stored_runs(folder: Path, machine: Machine) -> list[BenchmarkRun]:
    """The machine's runs, oldest first; none where nothing was stored."""
    path = record_path(folder, machine)
    return list(from_json(StoredRuns, read_json(path), path).runs) if path.exists() else []


def missed_bars(run: BenchmarkRun, machine: Machine) -> list[str]:
    """A sentence for each ratio that misses its bar, of those bars that hold on machines of this class."""
    sentences = []
    for name, timing in run.timings.items():
        if timing.ratio is None or timing.holds_on is None or not machine.is_of(timing.holds_on):
            continue
        least, most = timing.at_least, timing.at_most
        for bar, missed in (
            (f"at least {least}", least is not None and timing.ratio < least),
            (f"at most {most}", most is not None and timing.ratio > most),
        ):
            if missed:
                sentences.append(
                    f"{name}'s ratio must be {bar} on a machine with {timing.holds_on}; got {timing.ratio:.2f} on "
                    f"{machine.processor}; find the slowdown"
                )
    return sentences


def compare_with_last(output: Mapping[str, Any], folder: Path, machine: Machine, slack: float = 0.3) -> list[str]:
    """A sentence for each benchmark whose ratio fell by more than `slack` of the last stored run's, or that is gone.

    Seconds are not compared: machines are noisy, and the reference of the same run carries the same noise. Compare
    before storing. Without a run of this machine there is nothing to fall behind, and the list is empty.
    """
    runs = stored_runs(folder, machine)
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


def write_throughput(runs: Sequence[BenchmarkRun], results: Path) -> None:
    """Write the last run's metrics and the trend over all runs, oldest first, to a folder of Allure results."""
    results.mkdir(parents=True, exist_ok=True)
    write_allure_metrics(runs[-1], results)
    picture, table = "dormant-throughput-attachment.png", "dormant-throughput-attachment.csv"
    (results / picture).write_bytes(png_bytes(throughput_trend(ratios_over_runs(runs))))
    (results / table).write_text(trend_csv(runs), encoding="utf-8")
    milliseconds = _timestamp(runs[-1].date)
    record = {
        "uuid": "dormant-throughput", "historyId": "dormant-throughput", "testCaseId": "dormant-throughput",
        "fullName": "dormant.throughput", "name": "Throughput and its trend", "status": "passed", "stage": "finished",
        "description": f"Ratios to a plain reference in the same run, over {len(runs)} runs on this machine.",
        "start": milliseconds, "stop": milliseconds,
        "labels": [{"name": "feature", "value": "throughput"}, {"name": "story", "value": "trend"}],
        "attachments": [
            {"name": "ratios over runs", "source": picture, "type": "image/png"},
            {"name": "last run and the one before", "source": table, "type": "text/csv"},
        ],
    }  # fmt: skip
    (results / "dormant-throughput-result.json").write_text(json_text(record) + "\n", encoding="utf-8")


def ratios_over_runs(runs: Sequence[BenchmarkRun]) -> dict[str, list[float | None]]:
    """Each of the last run's benchmarks that has a reference: its ratio in every run, None where it was not measured."""
    measured = [name for name, timing in runs[-1].timings.items() if timing.ratio is not None]
    return {
        name: [run.timings[name].ratio if name in run.timings else None for run in runs]
        for name in measured
    }  # fmt: skip


def trend_csv(runs: Sequence[BenchmarkRun]) -> str:
    """The last run beside the one before, as CSV, which Allure shows as a table."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["benchmark", "candidates/s", "seconds", "ratio", "ratio before", "change"])
    before = runs[-2].timings if len(runs) > 1 else {}
    for name, timing in runs[-1].timings.items():
        last = before[name].ratio if name in before else None
        change = f"{timing.ratio / last - 1:+.0%}" if timing.ratio and last else ""
        rate, ratio, earlier = (
            f"{value:.4g}" if value else "" for value in (timing.candidates_per_second, timing.ratio, last)
        )
        writer.writerow([name, rate, f"{timing.seconds:.4g}", ratio, earlier, change])
    return text.getvalue()


def write_allure_metrics(run: BenchmarkRun, results: Path) -> Path:
    """Write the run as `dormant-perf.json`, which Allure reads for its metrics page and their trend."""
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
    path.write_text(json_text(metrics) + "\n", encoding="utf-8")
    return path


def record_path(folder: Path, machine: Machine) -> Path:
    """The path of a machine's record: all that it belongs to in lower case, with dashes for other characters."""
    named = " ".join((machine.device, machine.processor, *machine.instructions, "torch", machine.torch))
    return folder / re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-") / THROUGHPUT_FILE


def _timestamp(date: str) -> int:
    try:
        return int(datetime.fromisoformat(date).timestamp() * 1000)
    except ValueError:
        return 0
