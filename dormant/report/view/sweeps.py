"""What the page of a sweep shows: a row a pair, each with a page of its own, and of claims one grid of all pairs."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dormant.claims.finding import FINDINGS_FILE
from dormant.errors import BadInput
from dormant.hunt.confirmation import read_confirmation
from dormant.records import from_json, read_json
from dormant.report.view.folder import SO_FAR, placed
from dormant.report.view.hunts import JOURNAL_FILE, REPORT_FILE, hunt_data
from dormant.sweeps.job import Failure
from dormant.sweeps.outcome import OUTCOME, RESULT, Outcome

ATTEMPTS_FILE, FAILURE_FILE = "attempts.jsonl", "failure.json"


def sweep_data(folder: Path, ledger: Path) -> dict[str, Any]:
    """The data of a sweep's page: its pairs as far as they are, and a grid where any has findings."""
    rows = [_row(job) for job in _jobs_in(folder)]
    if not rows:
        raise BadInput(
            f"a view must be of a hunt's folder, a sweep's, a job's of one, or one with {FINDINGS_FILE}; got none at {folder}; "
            "correct it"
        )
    named = {"kind": "sweep", "name": folder.resolve().name, "running": _is_held(folder)}
    grid = _grid(folder, ledger)
    return named | {"rows": rows, "grid": grid, "packs": grid.pop("packs") if grid else []}


def write_pairs(data: dict[str, Any], folder: Path, out: Path, write: Callable[[Path, Path], object]) -> None:
    """Writes the page of each pair that has one into its folder, and notes in its row where that lies as seen from `out`."""
    for row in data["rows"]:
        job = folder / row["pair"]
        if row["shown"]:
            write(job, job / "view.html")
            row["page"] = Path(os.path.relpath(job / "view.html", out.parent)).as_posix()


def _jobs_in(folder: Path) -> Iterator[Path]:
    for job in sorted(folder.iterdir() if folder.is_dir() else ()):
        if (job / ATTEMPTS_FILE).exists():
            yield job


def _is_held(folder: Path) -> bool:
    """Whether a sweep runs in it, by the lock that it holds."""
    if not (folder / ".lock").exists():
        return False
    with (folder / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _row(job: Path) -> dict[str, Any]:
    """A pair's row. state: done, failed, or begun, for a folder does not say whether a process still works in it."""
    attempts, failure, outcome = _attempts(job), job / FAILURE_FILE, job / RESULT / OUTCOME
    identity = attempts[0].get("work", {}) if attempts else {}
    ended: dict[str, Any] = next((entry for entry in reversed(attempts) if "seconds" in entry), {})
    row = {
        "pair": job.name, "verb": identity.get("verb", ""),
        "state": "begun", "said": "", "attempts": sum("began" in entry for entry in attempts),
        "seconds": ended.get("seconds"), "memory": ended.get("memory"), "shown": False, "page": "",
    }  # fmt: skip
    if outcome.exists():
        found = from_json(Outcome, read_json(outcome), outcome)
        row |= {"state": "done", "verb": found.verb, "said": found.meaning}
    elif failure.exists():
        row |= {"state": "failed", "said": from_json(Failure, read_json(failure), failure).reason}
    file = placed(job)
    return row | _of_result(row, file) if file is not None else row


def _of_result(row: dict[str, Any], file: Path) -> dict[str, Any]:
    """What the result of a pair says, whole or so far."""
    if file.name in (REPORT_FILE, JOURNAL_FILE):
        report = hunt_data(file.parent)["report"]
        found = report["confirmation"] and read_confirmation(report["confirmation"])
        payload = found.payload if found and found.fires else next((one["text"] for one in report["suspects"]), None)
        return {
            "shown": True, "verdict": report["verdict"], "said": report["reason"], "payload": payload,
            "trigger": found.trigger if found else None, "rate": found.best.value if found else None,
            "evidence": report["suspects"][0]["evidence"] if report["suspects"] else None,
            "strings": report["evaluations"], "minutes": report["seconds"] / 60,
        }  # fmt: skip
    from dormant.report.view.runs import read_run

    counts: dict[str, int] = {}
    for finding in read_run(file.parent):
        counts[finding.verdict.value] = counts.get(finding.verdict.value, 0) + 1
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return {"shown": True, "said": f"{said}{' so far' if file.name in SO_FAR else ''}"}


def _attempts(job: Path) -> list[dict[str, Any]]:
    whole, _, _ = (job / ATTEMPTS_FILE).read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _grid(folder: Path, ledger: Path) -> dict[str, Any] | None:
    """Of a sweep of claims, all pairs' findings in one grid; None of any other."""
    files = [
        file
        for job in _jobs_in(folder)
        if (file := placed(job)) is not None and file.name not in (REPORT_FILE, JOURNAL_FILE)
    ]
    if not files:
        return None
    from dormant.report.view.runs import grid_data, read_run

    return grid_data(
        folder.name, [(file.parent, finding) for file in files for finding in read_run(file.parent)], ledger
    )
