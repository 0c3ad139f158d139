"""What a sweep adds to the work of its jobs: twelve jobs of a second each beside that work divided by the workers.

    python scripts/sweep_overhead.py --json sweep-overhead.json

The start of the executor stands aside: a first round of short jobs. A job's work is a second's sleep, so that other work of the
machine delays it only where a sweep's own steps wait for a core. The script exits with 1 unless the median round takes at most
1.3 times as long. Processor seconds a job are those of its process and of the command, without what forking costs the server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bounded import tell

from dormant.records import write_json
from dormant.sweeps.executor import Executor, Wish, executor_named
from dormant.sweeps.job import Job
from dormant.sweeps.run import run_jobs

SHORT_JOBS, SIDE_BY_SIDE = 12, 2
OVERHEAD_AT_MOST = 1.3


def work(result: Path, seconds: float) -> None:
    """Sleep, and say so."""
    time.sleep(seconds)
    write_json(result, seconds)


def job(folder: Path, seconds: float) -> Job:
    """A job of so many seconds."""
    result = folder / "result.json"
    return Job(folder.name, folder, result, partial(work, result, seconds))


def measured_round(executor: Executor, folder: Path, seconds: float) -> dict[str, float]:
    """The ratio of one round, the processor seconds of a job, and the load of the machine at its end."""
    jobs = [job(folder / f"job-{number}", seconds) for number in range(SHORT_JOBS)]
    began, used = time.perf_counter(), time.process_time()
    run_jobs(jobs, executor)
    clock, command = time.perf_counter() - began, time.process_time() - used
    ends = [json.loads(one.attempts.read_text(encoding="utf-8").splitlines()[-1]) for one in jobs]
    return {
        "ratio": clock * SIDE_BY_SIDE / (seconds * SHORT_JOBS),
        "processor_seconds_a_job": (command + sum(end["cpu_seconds"] for end in ends)) / SHORT_JOBS,
        "load": os.getloadavg()[0],
    }


def main() -> int:
    """Prints the figures as JSON; the exit status says whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", default="local")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        executor = executor_named(options.executor, Wish(SIDE_BY_SIDE, threads=1), Path(made))
        measured_round(executor, Path(made, "start"), 0.1)
        rounds = [measured_round(executor, Path(made, str(number)), 1.0) for number in range(options.rounds)]
    ratio = statistics.median(one["ratio"] for one in rounds)
    record = {
        "executor": options.executor,
        "jobs": SHORT_JOBS,
        "workers": SIDE_BY_SIDE,
        "niceness": os.nice(0),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "ratio": ratio,
        "holds": ratio <= OVERHEAD_AT_MOST,
    }
    return tell(record, options.json)


if __name__ == "__main__":
    sys.exit(main())
