"""The pytest plugin: options, fixtures and hooks; the work is done in the packages that it calls.

Load it with `-p dormant.plugin` (in `addopts`), not as an entry point: it removes the `hypothesis` mark of the Hypothesis
plugin, and for this it must be registered after the built-in plugins and before Hypothesis.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.session_state import ClaimSession
from dormant.errors import BadInput, NotServed
from dormant.gpus import take_gpu
from dormant.harness.groups import PairGroups
from dormant.harness.running import claim_parameters, run_claim
from dormant.harness.session import BROKEN, Session, check_alone, check_options, set_folders
from dormant.pairs import Pair

SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options of claims."""
    group = parser.getgroup("dormant", "claims about a dormant model")
    group.addoption(
        "--pair",
        action="append",
        default=[],
        metavar="NAME[=BASE:DORMANT]",
        help="a pair to test: a known name, or two checkpoints (folders or hub ids) or a delta report (NAME=REPORT.json, from "
        "`dormant diff --json`) under a new name; repeatable",
    )
    group.addoption(
        "--pair-set",
        default="zoo",
        metavar="SET",
        help="zoo, real (on a real language model, which needs the extra `real`) or all: the pairs where none is named "
        "(default: %(default)s)",
    )
    group.addoption("--base", metavar="CHECKPOINT", help="the model that the dormant one was fine-tuned from")
    group.addoption(
        "--dormant", metavar="CHECKPOINT", help="the suspect model, with --base, or an adapter, which names its own"
    )
    group.addoption("--probes", metavar="FILE", help="a file of prompts, one a line, each with one {slot}")
    group.addoption(
        "--material",
        default="",
        metavar="DIR",
        help="a folder whose ordinary.toml, triggers.toml, templates.toml or phrases.toml replaces the shipped prompts",
    )
    group.addoption(
        "--candidate",
        action="append",
        default=[],
        metavar="TEXT",
        help="a suspected trigger, for a pair whose truth is unknown; repeatable",
    )
    group.addoption("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps, or several GPUs: cuda:0,cuda:1")
    group.addoption("--dtype", default="float32", help="float32, bfloat16, 8bit or 4bit (default: %(default)s)")
    group.addoption(
        "--residency",
        default="both",
        help="both: both models on the device; shared: one base, its adapter off and on; swap: one at a time "
        "(default: %(default)s)",
    )
    group.addoption(
        "--budget",
        default="quick",
        choices=("quick", "full"),
        help="quick: minutes on two cores; full: the plan's own amounts (default: %(default)s)",
    )
    group.addoption(
        "--ledger", metavar="DIR", help="recorded findings (default: reports/ledger beside pytest's settings)"
    )
    group.addoption(
        "--ledger-update",
        action="store_true",
        help="record what differs; the tests with a changed record still fail",
    )
    group.addoption("--sarif", default="", metavar="FILE", help="write the findings there as SARIF 2.1.0 as well")
    group.addoption("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    group.addoption("--reports", metavar="DIR", help="the folder for findings.json, summary.md and pictures "
                    "(default: reports beside pytest's settings)")  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Declares the marks and refuses what could only fail later."""
    config.addinivalue_line("markers", "hypothesis(id): a research claim about a pair of models")
    config.addinivalue_line("markers", "benchmark: a throughput measurement, run with `pytest -m benchmark`")
    config.addinivalue_line("markers", "slow: a test that takes more than a few seconds")
    share_gpus(config)
    if getattr(config, "workerinput", {}).get("loadgroup"):
        config.option.loadgroup = True
    set_folders(config)
    option = config.option
    claims, benchmarks = (_selects(option.markexpr, mark) for mark in ("hypothesis", "benchmark"))
    try:
        check_options(option)
        if benchmarks:
            check_alone(option)
    except BadInput as error:
        raise pytest.UsageError(str(error)) from error
    if (claims or benchmarks) and not getattr(option, "allure_report_dir", "absent"):
        option.allure_report_dir = str(Path(option.reports) / "allure-results")
        option.clean_alluredir = claims  # throughput is added to the last report of the claims
    if benchmarks and getattr(option, "benchmark_json", "absent") is None:
        option.benchmark_json = os.devnull  # pytest-benchmark hands out its results only where it writes them


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Has `-n` alone share claims out by group, before xdist takes it for `--dist load`."""
    option = config.option
    if getattr(option, "numprocesses", None) and option.dist == "no" and _selects(option.markexpr, "hypothesis"):
        option.dist = "loadgroup"
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of xdist, which reads the command line anew, how claims are shared out."""
    node.workerinput["loadgroup"] = node.config.option.dist == "loadgroup"


def share_gpus(config: pytest.Config) -> None:
    """Gives a worker of xdist one of the GPUs; call it before anything asks CUDA."""
    worker = str(getattr(config, "workerinput", {}).get("workerid", ""))
    if worker and config.option.device in ("auto", "cuda"):
        take_gpu(int(worker.removeprefix("gw")))


def _selects(expression: str | None, mark: str) -> bool:
    return re.search(rf"(?<!not )\b{mark}\b", expression or "") is not None


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Opens the session that all claims of the run share."""
    active = Session(session.config)
    session.config.stash[SESSION] = active
    session.config.pluginmanager.register(active, "dormant-session")
    if session.config.pluginmanager.hasplugin("xdist"):
        session.config.pluginmanager.register(PairGroups(), "dormant-groups")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each claim on every pair that was asked for."""
    declared = claim_of(metafunc.function)
    if declared is None or "pair" not in metafunc.fixturenames:
        return
    pairs = [pair for pair in _session(metafunc.config).pairs.values() if declared.needs in pair.offers]
    metafunc.parametrize("pair", [pair.name for pair in pairs], indirect=True, scope="session")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what does not apply and frees the mark `hypothesis` from the package of that name."""
    items[:] = [item for item in items if _applies(config, item)]
    if any(claim_of(getattr(item, "function", None)) for item in items) and not config.option.collectonly:
        try:
            _session(config).check_reports()
        except BadInput as error:
            raise pytest.UsageError(str(error)) from error
    for item in items:
        function = getattr(item, "function", None)
        if getattr(function, "is_hypothesis_test", False):  # Hypothesis marks its tests with our mark's name
            own = [index for index, mark in enumerate(item.own_markers) if mark.name == "hypothesis"]
            if own:
                del item.own_markers[own[-1]]


def _pair_name(item: pytest.Function) -> object:
    return item.callspec.params.get("pair")


def _applies(config: pytest.Config, item: pytest.Item) -> bool:
    declared = claim_of(getattr(item, "function", None))
    if declared is None or not isinstance(item, pytest.Function) or "pair" not in item.fixturenames:
        return True
    active = _session(config)
    described = active.pairs.get(str(_pair_name(item)))
    if described is None:  # pytest's stand-in where no pair offers what the claim needs
        return False
    return declared.applies is None or declared.applies(
        described, active.claim_session.settings, **claim_parameters(item)
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Hands the claim to the report."""
    declared = claim_of(getattr(item, "function", None))
    if declared is not None and isinstance(item, pytest.Function):
        from dormant.report.allure import describe_item, label_item

        label_item(item, declared.id, declared.family, tags=[declared.source])
        describe_item(item)


@pytest.fixture(scope="session")
def claim_session(request: pytest.FixtureRequest) -> ClaimSession:
    """What the claims of a session share."""
    return _session(request.config).claim_session


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The pair under test, opened once for all tests that use it in a row, and really freed after them."""
    active, fault = _session(request.config), ""
    try:
        opened = active.open(request.param)
    except BadInput as error:
        fault = str(error)
    if fault:  # outside the handler, so that pytest shows the sentence and no chain of exceptions
        pytest.fail(fault, pytrace=False)
    yield opened
    active.close(request.param)


@pytest.fixture
def finding(request: pytest.FixtureRequest, pair: Pair, claim_session: ClaimSession) -> FindingBuilder:
    """What the claim's body writes its figures, controls and pictures on."""
    declared = claim_of(request.function)
    if declared is None:
        raise pytest.UsageError(f"`finding` belongs to claims; {request.node.name} has no @claim")
    return FindingBuilder(declared, pair, claim_parameters(request.node), claim_session)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Runs a claim and decides it."""
    declared = claim_of(pyfuncitem.function)
    if declared is None:
        return None
    active, option = _session(pyfuncitem.config), pyfuncitem.config.option
    unserved = ""
    try:
        run_claim(pyfuncitem, declared, active.claim_session, active.ledger, option.ledger_update, active.reports)
    except NotServed as error:
        unserved = str(error)
    if unserved:  # outside the handler, as for `pair`
        pytest.skip(f"does not apply: {unserved}")
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tells a broken measurement from a refuted claim."""
    report = yield
    if claim_of(getattr(item, "function", None)) and call.when == "call" and call.excinfo is not None:
        outcome = isinstance(call.excinfo.value, (pytest.fail.Exception, pytest.skip.Exception))
        if not outcome:
            report.user_properties.append((BROKEN, f"{item.name}: {call.excinfo.exconly()}"))
    return report


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """A broken measurement counts as an error."""
    broken = any(name == BROKEN for name, _ in getattr(report, "user_properties", []))
    return ("error", "E", "ERROR") if broken and report.when == "call" else None


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Writes findings and reports."""
    active = session.config.stash.get(SESSION, None)
    if active is not None:
        active.finish(session)
    yield
    if active is not None and active.faults:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Adds device and torch version to what a benchmark ran on."""
    machine_info["device"] = _session(config).device
    machine_info["torch"] = torch.__version__


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Keeps the throughput of this run."""
    _session(config).keep_benchmarks(output_json)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Shows the grid of verdicts."""
    active = config.stash.get(SESSION, None)
    if active is not None:
        active.show(terminalreporter)


def _session(config: pytest.Config) -> Session:
    return config.stash[SESSION]
