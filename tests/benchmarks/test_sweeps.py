"""What a sweep adds to the work of its jobs."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.report.benchmarks import AVX512_BFLOAT16
from dormant.sweeps.executor import Wish
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.run import run_jobs
from tests.benchmarks.conftest import median_seconds
from tests.sweeps.work import counted_job

JOBS, SECONDS, WORKERS = 12, 1.0, 2
AT_LEAST = 1 / 1.3  # of the works' sum by the workers: what a job costs beside its work stays below a third of a second


@pytest.mark.benchmark(group="sweeps")
def test_twelve_jobs_of_a_second_take_at_most_a_third_more_than_their_work(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    executor, rounds = LocalExecutor(Wish(WORKERS, threads=1)), count()
    run_jobs([counted_job("start", tmp_path)], executor)  # the server's imports, as the start of a cluster, stand aside

    def sweep() -> None:
        folder = tmp_path / str(next(rounds))
        run_jobs([counted_job(f"job-{number}", folder, SECONDS) for number in range(JOBS)], executor)

    benchmark.pedantic(sweep, rounds=2)
    ratio = JOBS * SECONDS / WORKERS / median_seconds(benchmark)
    benchmark.extra_info.update(
        ratio=ratio,
        at_least=AT_LEAST,
        holds_on=AVX512_BFLOAT16,
        reference="the works' sum divided by the workers",
    )
