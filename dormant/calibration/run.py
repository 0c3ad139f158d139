"""Run a calibration: build, hunt and judge the subjects in parallel; a killed run resumes."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from dormant.calibration.outcomes import Subject, judge, planted_firing
from dormant.errors import BadInput
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.report import write_page
from dormant.hunt.settings import HuntSettings
from dormant.organisms.build import base_folder, check_against_base, train, write_truth
from dormant.pairs import Truth, open_pair
from dormant.progress import Progress
from dormant.records import write_json


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
    folders that cannot be written.
    """
    for recipe in {subject.recipe.name: subject.recipe for subject in subjects}.values():
        check_against_base(recipe)
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the results must be writable; got {error.strerror} at {results}; name others") from error
    left = [subject for subject in subjects if not (results / f"{subject.name}.json").exists()]
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _begin_worker, (threads, os.getpid())
    ) as pool:
        running = {pool.submit(_calibrate_one, subject, work, results, minutes): subject for subject in left}
        for done, future in enumerate(as_completed(running), len(subjects) - len(left) + 1):
            future.result()
            progress(done, len(subjects), running[future].name)


def _begin_worker(threads: int, parent: int) -> None:
    """End a worker with the calibration that started it; otherwise a later run would repeat its hunts."""
    torch.set_num_threads(threads)

    def stop_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=stop_with_parent, daemon=True).start()


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
