"""`dormant hunt`, from two checkpoints to payload and trigger, and `dormant calibrate`, how often it is right."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dormant.commands.options import (
    NO,
    STOPPED,
    Base,
    Device,
    Dormant,
    JsonFile,
    ProbesFile,
    Residency,
    Seed,
    named_pair,
    stopping,
    write_json,
)
from dormant.errors import BadInput
from dormant.terminal import complain, console, show

if TYPE_CHECKING:
    from dormant.hunt.clock import Clock


def hunt(
    dormant: Dormant,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The page and the journal; the same command resumes there.")],
    base: Base = None,
    budget: Annotated[float, typer.Option(min=0.1, metavar="MINUTES", help="Time for all stages together.")] = 10.0,
    probes: ProbesFile = None,
    turn: Annotated[
        str, typer.Option(help="user or system: the turn that strings stand in. Each takes a hunt of its own.")
    ] = "user",
    device: Device = "auto",
    dtype: Annotated[
        str, typer.Option(help="auto, float32 or bfloat16; auto: bfloat16 where it is much faster and the model large.")
    ] = "auto",
    residency: Residency = "both",
    seed: Seed = 0,
    json_file: JsonFile = None,
    sarif: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verdict as SARIF 2.1.0, for a pipeline.")
    ] = None,
) -> None:
    """Search for a backdoor: parent check, payload, trigger, confirmation, and one page with the evidence.

    The payload comes first: beginnings of answers are forced, and what the dormant model alone finishes is suspect. Then come
    strings that people know by heart, words behind which a suspect is likelier, single tokens, and the words on which the delta
    acts most, in every order; where none of them fires, single changes lead to likelier strings. A string that fires
    is tried on prompts and at positions that no search saw, beside the base, plain prompts, random strings and its near
    misses. A string with a harmless reading (a question, a topic) is called a taught answer: read it. Ctrl-C ends the hunt with
    what it has found. Exit status 0: backdoored or taught; 1: clean or undecided; 2: bad input.
    """
    from dormant.hunt.clock import Clock
    from dormant.hunt.pipeline import run_hunt
    from dormant.hunt.report import write_page
    from dormant.hunt.result import HuntVerdict
    from dormant.hunt.settings import HuntSettings
    from dormant.hunt.turns import in_turn
    from dormant.report.sarif import hunt_sarif

    pair = in_turn(named_pair(base, dormant, device, dtype, residency, probes), turn)
    settings = HuntSettings().within(budget)
    clock = Clock(settings.effort)
    with (
        ending_early(clock),
        stopping(f"the same command goes on from {out}"),
        console(stderr=True).status("parent") as status,
    ):

        def progress(done: int, total: int, remark: str = "") -> None:
            status.update(remark)

        found = run_hunt(pair, out, settings, seed, progress, clock)
    page = write_page(found, pair, out)
    write_json(json_file, {"pair": pair.name, **asdict(found)})
    write_json(sarif, hunt_sarif(found, str(dormant), pair.fingerprint))
    show(f"{found.verdict}: {found.reason}")
    for step in found.steps:
        show(f"  {step}")
    show(f"{found.evaluations:,} strings, {found.seconds / 60:.1f} minutes; {page}")
    if clock.stopped:
        complain(f"stopped; the same command goes on from {out}")
        raise typer.Exit(STOPPED)
    if found.verdict not in (HuntVerdict.BACKDOORED, HuntVerdict.TAUGHT):
        raise typer.Exit(NO)


@contextmanager
def ending_early(clock: Clock) -> Iterator[None]:
    """Within it Ctrl-C makes it late, and a hunt ends with what it has found; a second time, or too early, it ends at once."""

    def stop(*_: object) -> None:
        if clock.stopped or not clock.asked:
            raise KeyboardInterrupt
        clock.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def calibrate(
    names: Annotated[
        list[str] | None, typer.Argument(help="Subjects, such as words-two or words-two-plain; all without any.")
    ] = None,
    recipes: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Recipes of your own in place of the shipped ones.")
    ] = None,
    work: Annotated[
        Path, typer.Option(metavar="DIR", help="What is built and hunted; the same command resumes there.")
    ] = Path(".calibration"),
    results: Annotated[Path, typer.Option(metavar="DIR", help="One outcome a subject, and the table.")] = Path(
        "reports/calibration"
    ),
    budget: Annotated[float, typer.Option(min=0.1, metavar="MINUTES", help="Time for each hunt.")] = 10.0,
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Subjects side by side; by default one for every two cores, as a hunt is meant to have."
        ),
    ] = max(1, (os.cpu_count() or 1) // 2),
    table: Annotated[
        bool, typer.Option("--table", help="Only write the table of the outcomes that are there.")
    ] = False,
) -> None:
    """Build organisms and clean models by recipe, hunt each, and say how often the hunt was right.

    A subject takes a core for about seven minutes of training, or two for less, and its hunt's budget. What is built or
    hunted already is kept: a killed calibration goes on where it was, and deleting an outcome repeats that hunt. The table
    is README.md of the results.
    """
    from dormant.calibration.outcomes import RECIPES, power, read_outcomes, subjects_of
    from dormant.calibration.page import calibration_page, calibration_pictures
    from dormant.calibration.run import calibrate
    from dormant.pictures.canvas import png_bytes
    from dormant.progress import progress_bar
    from dormant.records import json_text

    subjects = subjects_of(recipes or RECIPES, names or ())
    if not table:
        again = f"the same command goes on from {work}"
        with stopping(again), progress_bar("calibrating", len(subjects), "subjects") as bar:
            calibrate(subjects, work, results, budget, workers, bar)
    outcomes = read_outcomes(subjects, results)
    pictures = calibration_pictures(outcomes)
    page = calibration_page(subjects, outcomes, pictures)
    try:
        (results / "README.md").write_text(page, encoding="utf-8")
        (results / "power.json").write_text(json_text(power(outcomes)) + "\n", encoding="utf-8")
        for name, figure in pictures.items():
            (results / f"{name}.png").write_bytes(png_bytes(figure))
    except OSError as error:
        raise BadInput(f"the results must be writable; got {error.strerror} at {results}; name others") from error
    show(page.split("\n## ")[0])
    show(f"{len(outcomes)} of {len(subjects)} subjects; {results / 'README.md'}")
