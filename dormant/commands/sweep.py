"""`dormant sweep`: a verb on every pair of a list, on this machine, a Ray cluster or SLURM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dormant.commands.options import NO, stopping
from dormant.errors import BadInput
from dormant.terminal import Table, complain, show

if TYPE_CHECKING:
    from dormant.sweeps.job import Job, JobStatus

GIGABYTE = 10**9


def sweep(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.toml", help="The list of pairs; see the page on sweeps.")],
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="A folder for each pair, or a URL as s3://...; the same command resumes there."
        ),
    ],
    verb: Annotated[str, typer.Option(help="hunt, diff, profile or claims.")] = "hunt",
    executor: Annotated[str, typer.Option(help="local, ray, ray:ADDRESS, slurm or slurm:local.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pairs side by side on this machine, by default one a GPU or one for every two cores; of slurm, jobs in the "
            "queue at a time, by default all.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Cores for each pair; by default the machine's by the workers, else 1.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a pair whose process died is tried again.")] = 2,
    gpu_gigabytes: Annotated[
        float, typer.Option(min=0, help="Memory of one GPU of the cluster, which pairs then share; 0: a GPU for each.")
    ] = 0.0,
    mark: Annotated[str, typer.Option("-m", metavar="EXPRESSION", help="Of claims: pytest's -m.")] = "hypothesis",
    keyword: Annotated[str, typer.Option("-k", metavar="EXPRESSION", help="Of claims: pytest's -k.")] = "",
    claims: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Files or folders of claims; by default pytest's own.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Only show what is done, open and failed.")] = False,
) -> None:
    """Run a verb on each pair of a list, one process and one folder a pair.

    What is done stays done: the same command goes on where it was, and tries again what failed. A pair whose process was
    killed, or ran out of memory, goes on from its journal. A pair that fails does not stop the others. Ctrl-C ends all.

    Exit status 0: every pair is done; 1: some are not; 2: bad input.

    Example: dormant sweep pairs.toml --out sweep --verb diff
    """
    from dormant.commands.verbs import Plan
    from dormant.progress import progress_bar
    from dormant.sweeps.executor import Wish, executor_named
    from dormant.sweeps.job import State, status_of
    from dormant.sweeps.needs import needs_of
    from dormant.sweeps.pair_list import listed_pairs, open_each, read_pair_list
    from dormant.sweeps.run import check_fits, one_sweep, run_jobs
    from dormant.sweeps.store import scratch, store_of

    if not out:
        raise BadInput("a sweep needs a folder of its own; got '' at --out; name one")
    found = read_pair_list(pairs)
    listed = listed_pairs(found, pairs)
    store = store_of(out)
    folder = scratch(store) if store else Path(out).absolute()
    plan = Plan(verb, folder, ("-m", mark, *(["-k", keyword] if keyword else []), *(claims or [])), store)
    plan.check(listed)
    if table:
        jobs = [plan.job(one) for one in listed]
        _show(jobs, [status_of(job) for job in jobs], out)
        return
    with one_sweep(folder, store):
        wish = Wish(workers, threads, int(gpu_gigabytes * GIGABYTE), found.slurm)
        runs_on = executor_named(executor, wish, Path.cwd() if store else folder)
        room = runs_on.resources()
        with progress_bar("opening", len(listed), "pairs") as bar:
            jobs = open_each(
                listed, lambda one, opened: plan.job(one, needs_of(verb, opened, one.options, room.gpus)), bar
            )
        check_fits([job for job in jobs if not job.done], room)
        with stopping(f"the same command goes on from {out}"), progress_bar("sweep", len(jobs), "pairs") as bar:

            def tell(status: JobStatus, ended: int) -> None:
                bar(ended, len(jobs), f"running: {', '.join(sorted(runs_on.running()))}")
                complain(
                    f"{ended} of {len(jobs)}: {status.name} {status.state}{f': {status.reason}' * bool(status.reason)}"
                )

            statuses = run_jobs(jobs, runs_on, retries, tell)
    _show(jobs, statuses, out)
    if any(status.state is not State.DONE for status in statuses):
        raise typer.Exit(NO)


def _show(jobs: Sequence[Job], statuses: Sequence[JobStatus], out: str) -> None:
    from dormant.sweeps.outcome import outcome_of

    table = Table("pair", "state", "attempts", "seconds", "")
    for job, status in zip(jobs, statuses, strict=True):
        outcome = outcome_of(job.place)
        seconds = "-" if status.seconds is None else f"{status.seconds:.1f}"
        table.add_row(
            status.name, status.state, str(status.attempts), seconds, outcome.meaning if outcome else status.reason
        )
    show(table)
    counts = Counter(status.state for status in statuses)
    show(f"{', '.join(f'{count} {state}' for state, count in counts.items())}; {out}")
