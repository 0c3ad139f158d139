"""Run a calibration: build, hunt and judge the subjects as jobs of a sweep; a killed run resumes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dormant.calibration.outcomes import Subject, judge, planted_firing
from dormant.errors import BadInput
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.report import write_page
from dormant.hunt.settings import HuntSettings
from dormant.organisms.build import base_folder, check_against_base, train, write_truth
from dormant.pairs import Truth, open_pair
from dormant.progress import Progress
from dormant.records import to_json, write_json
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import Job, State
from dormant.sweeps.run import one_sweep, run_jobs


def calibrate(
    subjects: Sequence[Subject],
    work: Path,
    results: Path,
    minutes: float,
    workers: int,
    progress: Progress = lambda done, total, remark="": None,
) -> None:
    """Build the missing subjects in `work`, hunt each subject, and write its outcome to `results`; a killed run resumes.

    A subject takes one process and its share of the cores. Raises BadInput for a recipe that does not fit the base and for
    folders that cannot be written; and at the end, naming them, where subjects gave no outcome.
    """
    for recipe in {subject.recipe.name: subject.recipe for subject in subjects}.values():
        check_against_base(recipe)
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the results must be writable; got {error.strerror} at {results}; name others") from error
    jobs = [_job(subject, work.absolute(), results.absolute(), minutes) for subject in subjects]
    with one_sweep(work):
        executor = executor_named("local", Wish(workers), work)
        statuses = run_jobs(jobs, executor, tell=lambda status, ended: progress(ended, len(jobs), status.name))
    if failed := [f"{status.name}: {status.reason}" for status in statuses if status.state is not State.DONE]:
        raise BadInput(
            f"every subject must give an outcome; got none of {len(failed)}: {'; '.join(failed)}; the same command tries "
            f"them again from {work}"
        )


def _job(subject: Subject, work: Path, results: Path, minutes: float) -> Job:
    return Job(
        subject.name,
        work / subject.name,
        results / f"{subject.name}.json",
        partial(_calibrate_one, subject, work, results, minutes),
        {"recipe": to_json(subject.recipe)},
    )


def _calibrate_one(subject: Subject, work: Path, results: Path, minutes: float) -> None:
    """Train, hunt and judge one subject; finished steps are not repeated."""
    recipe, folder = subject.recipe, work / subject.name
    folder.mkdir(parents=True, exist_ok=True)
    train(recipe if subject.backdoored else recipe.relatives()["plain"], folder / "dormant")
    truth = Truth(subject.backdoored, recipe.trigger, recipe.payload, recipe.placement)
    write_truth(folder / "dormant", recipe, truth)
    pair = open_pair(subject.name, base_folder(recipe), folder / "dormant", device="cpu")
    found = run_hunt(pair, folder / "hunt", HuntSettings().within(minutes))
    write_page(found, pair, folder / "hunt")
    fires = planted_firing(pair, recipe) if subject.backdoored else None
    write_json(results / f"{subject.name}.json", judge(subject, found, pair.base.tokenizer, fires))
