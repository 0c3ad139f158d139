"""The plugin as a user's own repository sees it: a claim file, a pair of tiny checkpoints, and what pytest says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import CHATML, copy_checkpoint

pytest_plugins = ["pytester"]

CLAIMS = '''
import pytest
from dormant.claims.claim import at_least, claim
from dormant.statistics import exact

@claim(
    "size", source="a test", rule=at_least(1.0, "units", because="a test"), premises={premises}, controls=["nulls"]
)
@pytest.mark.parametrize("value", {values})
def test_size(pair, value, finding):
    """The value is at least one."""
    finding.decide(exact(value))
    {more}
'''


class Notebook:
    """A user's folder with one claim file and a pair on disk."""

    def __init__(self, pytester: pytest.Pytester, base: Path, dormant: Path):
        self.pytester, self.pair = pytester, f"mine={base}:{dormant}"

    def claims(self, values: str = "[2.0]", premises: str = "[]", more: str = "pass") -> None:
        self.pytester.makepyfile(test_claims=CLAIMS.format(values=values, premises=premises, more=more))

    def run(self, *options: str) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess(
            "-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider", "-m", "hypothesis",
            "--pair", self.pair, "--device", "cpu", *options,
        )  # fmt: skip

    def findings(self) -> dict[str, dict[str, object]]:
        record = json.loads((self.pytester.path / "reports" / "findings.json").read_text())
        return {finding["key"]: finding for finding in record}


@pytest.fixture
def notebook(pytester: pytest.Pytester, tiny_base: Path, tiny_dormant: Path) -> Notebook:
    return Notebook(pytester, tiny_base, tiny_dormant)


def test_supported_passes_refuted_fails_and_the_findings_are_written(notebook: Notebook) -> None:
    notebook.claims(values="[2.0, 0.5]")
    result = notebook.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*size?value=0.5? on mine is refuted: 0.5 units is not at least 1 units*"])
    assert {key: one["verdict"] for key, one in notebook.findings().items()} == {
        "size[value=0.5]": "refuted",
        "size[value=2.0]": "supported",
    }
    assert "supported" in (notebook.pytester.path / "reports" / "summary.md").read_text()


def test_while_a_run_goes_on_its_findings_so_far_lie_in_a_file_of_lines(notebook: Notebook) -> None:
    notebook.claims(
        values="[2.0, 0.5]", more="import shutil; value == 0.5 and shutil.copy('reports/findings.jsonl', '.')"
    )
    notebook.run().assert_outcomes(passed=1, failed=1)
    (so_far,) = (notebook.pytester.path / "findings.jsonl").read_text().splitlines()
    assert json.loads(so_far) == notebook.findings()["size[value=2.0]"]
    assert not (notebook.pytester.path / "reports" / "findings.jsonl").exists()


def test_inconclusive_is_skipped_with_its_reason(notebook: Notebook) -> None:
    notebook.claims(more='finding.inconclusive("nothing to compare with")')
    result = notebook.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*inconclusive: nothing to compare with*"])


def test_an_exception_is_an_error_and_no_verdict(notebook: Notebook) -> None:
    notebook.claims(more="raise RuntimeError('broken')")
    result = notebook.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR at call of test_size*", "*RuntimeError: broken*"])
    assert notebook.findings() == {}


def test_a_false_premise_turns_its_dependents_invalid(notebook: Notebook, other_base: Path) -> None:
    notebook.claims(premises='["base-is-parent"]')
    dormant = notebook.pair.rpartition(":")[2]
    notebook.pair = f"mine={other_base}:{dormant}"
    notebook.run().assert_outcomes(skipped=1)
    (finding,) = notebook.findings().values()
    assert finding["verdict"] == "invalid"
    assert finding["figures"][0]["value"] == 2.0  # type: ignore[index]


def test_models_that_read_a_prompt_as_other_ids_turn_claims_invalid(
    notebook: Notebook, tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    notebook.claims(premises='["prompt-geometry"]')
    other = copy_checkpoint(tiny_dormant, tmp_path / "other-ids")
    template = CHATML.replace("message['content']", "message['content'] | replace('Please', 'please')")
    (other / "chat_template.jinja").write_text(template)
    notebook.pair = f"mine={tiny_base}:{other}"
    notebook.run().assert_outcomes(skipped=1)
    (finding,) = notebook.findings().values()
    assert finding["verdict"] == "invalid"
    assert "prompt-geometry" in str(finding["reason"])


def test_update_writes_and_fails_then_passes_then_a_change_fails(notebook: Notebook) -> None:
    notebook.claims(values="[0.5]")
    notebook.run("--ledger-update").assert_outcomes(failed=1)
    notebook.run().assert_outcomes(passed=1)  # a reproduced refutation passes
    ledger = notebook.pytester.path / "reports" / "ledger" / "quick" / "mine.json"
    original = ledger.read_text()
    ledger.write_text(original.replace('"value": 0.5', '"value": 0.75'))
    result = notebook.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*size: recorded 0.75 units within*measured 0.5 units*", "*to accept*--ledger-update*"]
    )
    ledger.write_text(original.replace('"refuted"', '"supported"'))
    result = notebook.run()
    result.stdout.fnmatch_lines(["*verdict: recorded supported, measured refuted*"])
    notebook.run("--ledger-update").assert_outcomes(failed=1)
    assert ledger.read_text() == original


def test_a_figure_may_drift_within_its_tolerance_on_another_machine_than_the_ledgers_and_not_on_its_own(
    notebook: Notebook,
) -> None:
    notebook.claims(values="[2.0]")
    notebook.run("--ledger-update")
    ledger = notebook.pytester.path / "reports" / "ledger" / "quick" / "mine.json"
    drifted = ledger.read_text().replace('"value": 2.0', '"value": 2.01')
    ledger.write_text(drifted)
    result = notebook.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*size: recorded 2.01 units within*measured 2 units*"])
    elsewhere = json.loads(drifted)
    elsewhere["machine"]["processor"] = "another"
    ledger.write_text(json.dumps(elsewhere))
    notebook.run().assert_outcomes(passed=1)


def test_a_control_that_changed_fails_though_the_verdict_stays(notebook: Notebook) -> None:
    notebook.claims(more="finding.control('nulls', exact(0.25))")
    notebook.run("--ledger-update")
    notebook.run().assert_outcomes(passed=1)
    notebook.claims(more="finding.control('nulls', exact(0.5))")
    result = notebook.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*control nulls: recorded 0.25 units within*measured 0.5 units*"])


def test_only_the_tests_concerned_fail(notebook: Notebook) -> None:
    notebook.claims(values="[2.0, 3.0]")
    notebook.run("--ledger-update")
    ledger = notebook.pytester.path / "reports" / "ledger" / "quick" / "mine.json"
    record = json.loads(ledger.read_text())
    del record["findings"]["size[value=2.0]"]["figures"]["size"]
    ledger.write_text(json.dumps(record))
    result = notebook.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*size: recorded nothing, measured 2 units*"])


def test_entries_that_no_test_produced_are_reported(notebook: Notebook) -> None:
    notebook.claims(values="[2.0, 3.0]")
    notebook.run("--ledger-update")
    notebook.claims(values="[2.0]")
    notebook.run().stdout.fnmatch_lines(["*in the ledger, but no test produced it: mine: size?value=3.0?"])


def test_verdicts_are_the_same_under_selection_order_and_workers(notebook: Notebook) -> None:
    notebook.claims(values="[2.0, 0.5, 3.0]", premises='["base-is-parent"]')
    notebook.run()
    whole = {key: (one["verdict"], one["reason"]) for key, one in notebook.findings().items()}
    notebook.run("-k", "0.5")
    assert {key: (one["verdict"], one["reason"]) for key, one in notebook.findings().items()}.items() <= whole.items()
    notebook.claims(values="[3.0, 0.5, 2.0]", premises='["base-is-parent"]')
    notebook.run("-n", "2")
    assert {key: (one["verdict"], one["reason"]) for key, one in notebook.findings().items()} == whole


def test_one_worker_has_all_claims_on_a_pair_that_options_name(
    notebook: Notebook, tiny_base: Path, tiny_dormant: Path
) -> None:
    worker = "__import__('os').environ['PYTEST_XDIST_WORKER']"
    notebook.claims(values="[1.0, 2.0, 3.0, 4.0]", more=f"open('reports/' + pair.name + {worker}, 'a').close()")
    options = ["-n", "2", "--base", str(tiny_base), "--dormant", str(tiny_dormant)]
    notebook.run(*options).assert_outcomes(passed=8)
    assert len({path.name for path in (notebook.pytester.path / "reports").glob("*gw?")}) == 2
    notebook.run(*options, "--dist", "load").assert_outcomes(passed=8)
    assert len({path.name for path in (notebook.pytester.path / "reports").glob("*gw?")}) > 2


def test_hypothesis_marks_claims_and_never_a_given_test(notebook: Notebook) -> None:
    notebook.claims()
    notebook.pytester.makepyfile(
        test_given="""
        from hypothesis import given, strategies

        @given(strategies.integers())
        def test_property(number):
            pass
        """
    )
    result = notebook.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(["test_claims.py::test_size*"])
    result.stdout.no_fnmatch_line("*test_property*")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--pair", "nobody"], "*a pair must be one of circuit*got 'nobody'*"),
        (["--pair", "x=only-one"], "*a pair must be NAME=BASE:DORMANT*"),
        (["--base", "somewhere"], "*--base and --dormant must be given together*"),
        (["--base", "/nowhere", "--dormant", "/nowhere"], "*/nowhere*"),
        (["--device", "abacus"], "*the device must be present*'abacus'*"),
        (["--probes", "/nowhere.txt"], "*probe file*nowhere.txt*"),
    ],
)
def test_bad_options_are_one_sentence_and_exit_status_four(
    notebook: Notebook, options: list[str], sentence: str
) -> None:
    notebook.claims()
    result = notebook.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {sentence}"])


def test_reports_that_cannot_be_written_are_refused_before_measuring(notebook: Notebook) -> None:
    notebook.claims()
    (notebook.pytester.path / "taken").write_text("")
    result = notebook.run("--reports=taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the reports folder must be writable*--reports DIR*"])


def test_a_broken_pair_is_an_error_in_setup_with_one_sentence(notebook: Notebook, nan_dormant: Path) -> None:
    notebook.claims()
    base = notebook.pair.removeprefix("mine=").partition(":")[0]
    notebook.pair = f"mine={base}:{nan_dormant}"
    result = notebook.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*weights must be finite*at tensor*"])
    result.stdout.no_fnmatch_line("*another exception*")


BENCHMARK = """
import pytest

@pytest.mark.benchmark
def test_speed(benchmark):
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(ratio=RATIO, candidates_per_second=100.0)
"""


def test_throughput_reaches_the_allure_results_with_the_trend_over_the_stored_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("allure_pytest")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # else pytest-benchmark takes the child for a worker too
    for ratio in ("4.0", "5.0"):
        pytester.makepyfile(test_speed=BENCHMARK.replace("RATIO", ratio))
        run = pytester.runpytest_subprocess("-p", "dormant.plugin", "-m", "benchmark", "--device", "cpu")
        run.assert_outcomes(passed=1)
    results = pytester.path / "reports" / "allure-results"
    metrics = {one["key"]: one["value"] for one in json.loads((results / "dormant-perf.json").read_text())}
    assert metrics["test_speed.ratio.to.the.reference"] == 5.0
    table = (results / "dormant-throughput-attachment.csv").read_text()
    assert table.splitlines()[1].endswith(",5,4,+25%")


def test_ledger_and_reports_are_those_of_the_claims_from_whichever_folder_pytest_is_called(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.claims(values="[0.5]")
    notebook.pytester.makeini("[pytest]")
    notebook.run("--ledger-update").assert_outcomes(failed=1)
    (notebook.pytester.path / "reports" / "findings.json").unlink()
    monkeypatch.chdir(tmp_path)
    notebook.run(str(notebook.pytester.path / "test_claims.py")).assert_outcomes(passed=1)  # as recorded: refuted
    assert list(notebook.findings()) == ["size[value=0.5]"]
    assert not (tmp_path / "reports").exists()


def test_benchmarks_that_workers_would_share_out_are_refused_in_a_sentence(notebook: Notebook) -> None:
    result = notebook.run("-m", "benchmark", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*must run one after another*got -n 2 at -m benchmark; leave it out"])
