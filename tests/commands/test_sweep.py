from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dormant.cli import app
from dormant.commands.verbs import Plan
from dormant.sweeps.executor import Wish
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.outcome import outcome_of
from dormant.sweeps.pair_list import listed_pairs, read_pair_list
from dormant.sweeps.run import run_jobs
from dormant.sweeps.store import Folder
from tests.sweeps.work import Killing


def write_list(folder: Path, *names: str, more: str = "") -> Path:
    file = folder / "pairs.toml"
    file.write_text("\n".join([more, *(f'[[pairs]]\nname = "{name}"' for name in names)]))
    return file


def sweep(*words: object) -> Result:
    return CliRunner().invoke(app, ["sweep", *map(str, words)])


def test_a_sweep_gives_what_plain_runs_give_also_where_its_workers_are_killed(tmp_path: Path) -> None:
    file = write_list(tmp_path, "circuit", "token", "sham")
    listed = listed_pairs(read_pair_list(file), file)
    jobs = [Plan("diff", tmp_path / "sweep").job(one) for one in listed]
    executor = Killing(LocalExecutor(Wish(workers=2, threads=1)), jobs[:2], lambda job: True)
    assert [status.attempts for status in run_jobs(jobs, executor)] == [2, 2, 1]
    for one in listed:
        plain = tmp_path / f"{one.name}.json"
        words = ["diff", "--base", str(one.pair.base), "--dormant", str(one.pair.dormant), "--json", str(plain)]
        assert CliRunner().invoke(app, words).exit_code == 0
        assert (tmp_path / "sweep" / one.name / "result" / "delta.json").read_bytes() == plain.read_bytes()


def test_the_command_ends_with_a_table_and_the_same_command_does_nothing_again(tmp_path: Path) -> None:
    words = [write_list(tmp_path, "sham"), "--out", tmp_path / "out", "--verb", "diff", "--workers", 1]
    for _ in range(2):
        done = sweep(*words)
        assert done.exit_code == 0, done.output
        assert "1 done" in done.stdout
    assert "compared" in sweep(*words, "--table").stdout
    outcome = outcome_of(Folder(tmp_path / "out" / "sham"))
    assert outcome is not None
    assert (outcome.pair.name, outcome.status) == ("sham", 0)


def test_a_sweep_whose_folder_is_a_url_gives_the_same_and_is_reported_from_there(tmp_path: Path) -> None:
    listed, url = write_list(tmp_path, "sham"), f"file://{tmp_path}/store"
    for out in (tmp_path / "plain", url):
        assert sweep(listed, "--out", out, "--verb", "diff", "--workers", 1).exit_code == 0
    delta = Path("sham", "result", "delta.json")
    assert (tmp_path / "store" / delta).read_bytes() == (tmp_path / "plain" / delta).read_bytes()
    assert "compared" in sweep(listed, "--out", url, "--verb", "diff", "--table").stdout
    assert CliRunner().invoke(app, ["report", url, "--out", str(tmp_path / "report")]).exit_code == 0
    assert (tmp_path / "report" / "pages" / "sham-diff-delta.json").exists()


def test_claims_run_on_each_pair_with_what_pytest_is_told(tmp_path: Path) -> None:
    file = write_list(tmp_path, "warmup-vs-qwen2.5", "sham")
    words = ["--verb", "claims", "-k", "concentration", "--claims", "hypotheses/weights", "--workers", 2]
    done = sweep(file, "--out", tmp_path / "out", *words)
    assert done.exit_code == 0, done.output
    for name in ("warmup-vs-qwen2.5", "sham"):
        findings = json.loads((tmp_path / "out" / name / "result" / "findings.json").read_text())
        assert {finding["pair"] for finding in findings} == {name}


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dormant.sweeps.run.run_jobs", interrupted)
    stopped = sweep(write_list(tmp_path, "sham"), "--out", tmp_path / "out", "--verb", "diff", "--workers", 1)
    assert stopped.exit_code == 130
    assert f"the same command goes on from {tmp_path / 'out'}" in stopped.stderr


@pytest.mark.parametrize(
    ("words", "more", "sentence"),
    [
        (["--verb", "guess"], "", "a verb must be one of hunt, diff, profile, claims"),
        (["--verb", "diff"], "options = {budget = 3}", "diff must take every pair with its options; got sham: No such"),
        (["--verb", "hunt"], "options = {budget = 'long'}", "hunt must take every pair with its options; got sham: "),
        (
            ["--verb", "profile"],
            "options = {device = 'cuda:1'}",
            "profile must take every pair with its options; got sham: a",
        ),
        (["--executor", "moon"], "", "an executor must be local, ray, ray:ADDRESS, slurm or slurm:local"),
        (["--executor", "slurm"], "", "--executor slurm needs"),
        (["--out", ""], "", "a sweep needs a folder of its own; got '' at --out"),
    ],
)
def test_bad_input_is_named_before_anything_runs(words: list[str], more: str, sentence: str, tmp_path: Path) -> None:
    done = sweep(write_list(tmp_path, "sham", more=more), "--out", tmp_path / "out", *words)
    assert str(done.exception).startswith(sentence)
    assert not (tmp_path / "out" / "sham").exists()


def test_a_pair_that_does_not_suit_the_verb_is_named(tmp_path: Path) -> None:
    done = sweep(write_list(tmp_path, "warmup-vs-qwen2"), "--out", tmp_path / "out", "--verb", "diff")
    assert "warmup-vs-qwen2: published figures only, and diff needs weights" in str(done.exception)
