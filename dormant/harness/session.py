"""The state of a test session: pairs, what claims share, ledger, and the reports that are written at its end."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.catalogue import PairDescription, chosen_pairs, known_pairs, relatives_among
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.checkpoints.models import resolve_devices, resolve_dtype, resolve_residency
from dormant.claims.finding import FINDINGS_FILE, FINDINGS_SO_FAR, Finding
from dormant.claims.ledger import Ledger
from dormant.claims.session_state import ClaimSession, Settings
from dormant.errors import BadInput
from dormant.harness.running import DIFFERS, RECORD, finding_in
from dormant.pairs import Pair
from dormant.progress import progress_bar
from dormant.prompts.material import check_folder
from dormant.prompts.probes import read_probes
from dormant.records import json_text, write_json
from dormant.report.allure import results_folder, write_environment, write_executor
from dormant.report.benchmarks import (
    Machine,
    compare_with_last,
    missed_bars,
    read_run,
    store_benchmarks,
    stored_runs,
    write_throughput,
)
from dormant.report.grid import grid_text
from dormant.report.provenance import device_name, provenance
from dormant.report.sarif import claims_sarif
from dormant.report.summary import Run, write_summary

BROKEN = "dormant-broken"
AS_RUN = (
    "budget",
    "residency",
    "probes",
    "candidate",
    "material",
    "pair",
    "pair_set",
    "base",
    "dormant",
    "ledger",
    "keyword",
)


FOLDERS = {"reports": "reports", "ledger": "reports/ledger"}


def set_folders(config: pytest.Config) -> None:
    """Puts reports and ledger below the folder of pytest's settings where no option names them, wherever pytest is called.

    Without settings pytest's rootdir may be any folder above the checkpoints that options name: then the current one.
    """
    here = config.inipath is None or config.rootpath == config.invocation_params.dir
    for name, folder in FOLDERS.items():
        if getattr(config.option, name) is None:
            setattr(config.option, name, folder if here else str(config.rootpath / folder))


def check_alone(option: Any) -> None:
    """Raises BadInput for benchmarks that workers of xdist are to share out, which measures nothing."""
    if workers := getattr(option, "numprocesses", None):
        raise BadInput(
            f"benchmarks must run one after another, for workers take each other's time; got -n {workers} at -m benchmark; "
            "leave it out"
        )


def check_options(option: Any) -> None:
    """Check the options before any test runs; raises BadInput."""
    resolve_devices(option.device)
    resolve_dtype(option.dtype)
    resolve_residency(option.residency)
    if option.probes:
        read_probes(option.probes)
    if option.material:
        check_folder(Path(option.material))
    given = [entry for entry in option.pair if "=" in entry]
    if given or option.base or option.dormant:
        for pair in chosen_pairs(given, option.base, option.dormant).values():
            if pair.base is not None and pair.dormant is not None:
                open_checkpoint(pair.dormant, open_checkpoint(pair.base))
    named = [entry for entry in option.pair if "=" not in entry]
    for pair in chosen_pairs(named, pair_set=option.pair_set).values():
        pair.check_at_hand()


class Session:
    """What the plugin keeps for a session; on xdist's controller it only collects and writes."""

    def __init__(self, config: pytest.Config):
        """The session of one pytest run, or of one worker of it."""
        option = config.option
        self.config = config
        assigned = getattr(config, "workerinput", {})
        workers = int(assigned.get("workercount", 1))
        worker = str(assigned.get("workerid", ""))  # each worker has journals of its own
        if workers > 1:  # else the threads of all workers wait for each other: ten times slower on two cores
            torch.set_num_threads(max(1, torch.get_num_threads() // workers))
        self.reports = Path(option.reports)
        self.pairs = chosen_pairs(option.pair, option.base, option.dormant, option.pair_set)
        settings = Settings(
            option.budget, option.seed, option.device, option.dtype, tuple(option.candidate), option.material
        )
        as_run = {name: getattr(option, name) for name in AS_RUN}
        self.claim_session = ClaimSession(
            settings,
            provenance(str(resolve_devices(option.device)[0]), option.dtype, option.seed, as_run),
            self._relatives(),
            self.control_pair,
            *((self.reports / "journals" / worker, self.progress) if option.budget == "full" else ()),
        )
        self.ledger = Ledger(Path(option.ledger) / option.budget)
        self.findings: list[Finding] = []
        self.differences: list[str] = []
        self.to_record: list[Finding] = []
        self.broken: list[str] = []
        self.unproduced: list[str] = []
        self.faults: list[str] = []
        self.throughput: list[str] = []
        self.device = device_name(str(resolve_devices(option.device)[0]))
        self.started = datetime.now(UTC)
        self._open: dict[str, Pair] = {}

    def _relatives(self) -> tuple[str, ...]:
        """All models that the session knows, the zoo's among them: the same whichever claims run."""
        known = (model for pair in known_pairs().values() for model in (pair.base, pair.dormant))
        shipped = [model for model in known if model is not None and Path(model).is_dir()]
        named = (model for pair in self.pairs.values() for model in (pair.base, pair.dormant))
        return tuple(dict.fromkeys([*shipped, *(model for model in named if model is not None)]))

    def open(self, name: str) -> Pair:
        """The pair of that name; its models are loaded when they are first used, and only once."""
        if name not in self._open:
            if not gc.get_freeze_count():
                gc.freeze()  # a pair's end collects garbage: what imports left, a million objects, is not walked each time
            self._open[name] = self._load(self.pairs[name])
        return self._open[name]

    def close(self, name: str) -> None:
        """Free a pair, and what pytest keeps of the last failure, which would keep its models alive."""
        self._open.pop(name).release()
        for kept in ("last_exc", "last_value", "last_type", "last_traceback"):
            if hasattr(sys, kept):
                delattr(sys, kept)
        gc.collect()

    @contextmanager
    def control_pair(self, name: str) -> Iterator[Pair | None]:
        """The pair of an organism's clean twin, released at the end; None for a pair without one."""
        described = self.pairs[name].control((*self.pairs.values(), *known_pairs().values()))
        if described is None:
            yield None
            return
        control = self._load(described)
        try:
            yield control
        finally:
            control.release()

    @contextmanager
    def progress(self, title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar on the terminal, which pytest does not capture; silent if there is no terminal."""
        capture = self.config.pluginmanager.getplugin("capturemanager")
        terminal = self.config.get_terminal_writer()._file  # not a terminal while pytest captures
        with (
            capture.global_and_fixture_disabled() if capture is not None else nullcontext(),
            progress_bar(title, 0, unit, terminal) as report,
        ):
            yield report

    def _load(self, described: PairDescription) -> Pair:
        option = self.config.option
        pair = described.open(option.device, option.dtype, option.residency)
        return pair.with_probes(read_probes(option.probes)) if option.probes and pair.kind == "weights" else pair

    def check_reports(self) -> None:
        """Check before measuring that the reports can be written; raises BadInput."""
        probe = self.reports / f".writable-{os.getpid()}"
        try:
            self.reports.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise BadInput(
                f"the reports folder must be writable; got {error.strerror} at {self.reports}; name another with --reports DIR"
            ) from error

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what tests report, here or from xdist's workers."""
        properties: list[tuple[str, Any]] = [(name, value) for name, value in report.user_properties]
        if report.when == "setup" and report.failed:
            self.broken.append(f"{report.nodeid}: {str(report.longrepr).splitlines()[-1]}")
        if report.when != "call":
            return
        finding = finding_in(properties)
        if finding is not None:
            self.findings.append(finding)
            self._keep(finding)
        for name, value in properties:
            if name == DIFFERS:
                self.differences.append(value)
            elif name == RECORD and finding is not None:
                self.to_record.append(finding)
            elif name == BROKEN:
                self.broken.append(value)

    def _keep(self, finding: Finding) -> None:
        """Adds a finding to those that the page of a run shows while it runs; a full disk is told of at the end."""
        if hasattr(self.config, "workerinput"):
            return
        with (
            suppress(OSError),
            (self.reports / FINDINGS_SO_FAR).open("w" if len(self.findings) == 1 else "a", encoding="utf-8") as file,
        ):
            file.write(json_text(finding.keyed_record, indent=None) + "\n")

    def finish(self, session: pytest.Session) -> None:
        """Write the findings; a file that cannot be written fails the run."""
        if not hasattr(self.config, "workerinput") and (self.findings or self.broken):
            try:
                self._write(session)
            except BadInput as error:
                self.faults.append(str(error))
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if ended and not self.broken and not self.faults:  # else a later run resumes from the journals
            for journal in self.claim_session.kept:
                journal.unlink(missing_ok=True)

    def _write(self, session: pytest.Session) -> None:
        # the findings, the summary, what Allure needs, and the ledger where it is to be updated
        self.findings.sort(key=lambda finding: (list(self.pairs).index(finding.pair), finding.key))
        self.ledger.record(self._together(self.to_record))
        if self._is_full_run(session):
            self.unproduced = self.ledger.unproduced(self.findings)
        write_json(self.reports / FINDINGS_FILE, [finding.keyed_record for finding in self.findings])
        (self.reports / FINDINGS_SO_FAR).unlink(missing_ok=True)
        attention = sorted({found.provenance.get("attention", "none") for found in self.findings} - {"none"})
        as_run = {**self.claim_session.provenance, "attention": "; ".join(attention) or "none"}
        run = Run(
            as_run,
            self.claim_session.settings.budget,
            (datetime.now(UTC) - self.started).total_seconds(),
            self.differences,
            self.unproduced,
            self.broken,
            self.started,
        )
        write_summary(self.findings, self.reports / "summary.md", run, self.relatives)
        if self.config.option.sarif:
            dormant = {name: pair.dormant or name for name, pair in self.pairs.items()}
            write_json(Path(self.config.option.sarif), claims_sarif(self.findings, dormant, self.differences))
        results = results_folder(self.config)
        if results is not None:
            write_environment(results, as_run)
            write_executor(results, "pytest -m hypothesis", as_run["commit"])

    def _together(self, chosen: Sequence[Finding]) -> list[Finding]:
        """These findings with all others of their claim on their pair: readings of one computation are recorded together."""
        claims = {(finding.pair, finding.claim) for finding in chosen}
        return [finding for finding in self.findings if (finding.pair, finding.claim) in claims]

    @cached_property
    def relatives(self) -> dict[str, dict[str, str]]:
        """Organism's pair -> kind -> clean relative's pair, among the session's."""
        return relatives_among(self.pairs.values())

    def keep_benchmarks(self, output: dict[str, Any]) -> None:
        """Compare a benchmark run's ratios with their bars and the machine's last ones; store the run unless one fell.

        Where Allure results are written, the run's metrics and the trend over the stored runs go there too.
        """
        folder, run, machine = self.reports / "benchmarks", read_run(output), Machine.here(self.device)
        self.throughput = [
            f"{name}: "
            + (f"{timing.candidates_per_second:,.0f} candidates/s, " if timing.candidates_per_second else "")
            + (f"{timing.ratio:.1f} x the reference beside it" if timing.ratio else f"{timing.seconds:.3g} s")
            for name, timing in run.timings.items()
        ]
        results = results_folder(self.config)
        if results is not None:
            write_throughput([*stored_runs(folder, machine), run], results)
        slower = missed_bars(run, machine) + compare_with_last(output, folder, machine)
        self.faults += slower
        if not slower:
            store_benchmarks(output, folder, machine)

    def show(self, reporter: Any) -> None:
        """Print the grid of verdicts, and where the reports are."""
        for line in self.throughput:
            reporter.write_line(line)
        for fault in self.faults:
            reporter.write_line(fault, red=True)
        if not self.findings:
            return
        reporter.section("verdicts")
        width = reporter._tw.fullwidth if reporter.isatty else None  # a log has no width of its own
        reporter.write_line(grid_text(self.findings, self.relatives, width))
        for entry in self.unproduced:
            reporter.write_line(f"in the ledger, but no test produced it: {entry}", yellow=True)
        names = ", ".join(str(self.reports / name) for name in ("summary.md", FINDINGS_FILE, "pictures/"))
        reporter.write_line(f"{len(self.findings)} findings in {names}")

    def _is_full_run(self, session: pytest.Session) -> bool:
        option = self.config.option
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        chosen = (
            self.config.args_source is pytest.Config.ArgsSource.ARGS or option.keyword or getattr(option, "lf", False)
        )
        return ended and not (chosen or session.shouldstop or session.shouldfail)
