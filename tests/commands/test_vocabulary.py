from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from dormant.behaviour.scan_finalists import Confirmed
from dormant.behaviour.vocabulary_sweep import Sweep, SweepPlan, sweep_vocabulary, vocabulary_coverage
from dormant.catalogue import pairs_of_set
from dormant.cli import app
from dormant.commands.vocabulary import _ending
from dormant.errors import BadInput
from dormant.inference.candidate_effects import SCANNED
from dormant.pairs import open_pair
from dormant.statistics import proportion_interval
from dormant.sweeps.executor import Wish
from dormant.sweeps.vocabulary_parts import EFFECTS_RESULT
from tests.builders import build_tokenizer

SMALL = ("--searched", "1", "--held-out", "2", "--top", "2", "--device", "cpu")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["vocabulary", *map(str, arguments)], catch_exceptions=False)


def test_the_one_token_trigger_of_an_organism_is_found_among_others_on_fresh_prompts(tmp_path: Path) -> None:
    known = pairs_of_set("all")["token"]
    assert known.base is not None
    pair = open_pair("token", known.base, str(known.dormant), device="cpu")
    assert pair.truth is not None
    (trigger,) = pair.prompter.candidate_ids(pair.truth.trigger)
    tokenizer = pair.base.tokenizer
    drawn = next(seed for seed in range(1000) if trigger in vocabulary_coverage(tokenizer, 60, seed).tokens)
    asked = ("--base", known.base, "--dormant", known.dormant, "--sample", "60", "--seed", drawn, "--device", "cpu")
    done = run(*asked, "--json", tmp_path / "it.json")
    assert done.exit_code == 0
    assert "Found: the models diverge with" in done.stdout
    assert "60 printable tokens of 1864, drawn with seed" in done.stdout
    found = json.loads((tmp_path / "it.json").read_text())
    assert {entry["text"].strip() for entry in found["best"].values()} == {pair.truth.trigger}
    assert run(*asked[:2], "--dormant", Path(str(known.dormant)).parent / "token-plain", *asked[4:]).exit_code == 1


def test_the_command_finds_what_the_claim_finds_and_removes_its_journal(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    where = (
        "--base",
        tiny_base,
        "--dormant",
        tiny_dormant,
        "--json",
        tmp_path / "it",
        "--journal",
        tmp_path / "journal",
    )
    run(*where, *SMALL)
    found = json.loads((tmp_path / "it").read_text())
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    sweep = sweep_vocabulary(pair, SweepPlan(searched=1, held_out=2, finalists=2))
    assert found["effects"] == {metric: list(values) for metric, values in sweep.effects.items()}
    assert [entry["text"] for entry in found["finalists"]] == [each.text for each in sweep.finalists]
    assert found["coverage"]["share"] == 1.0
    assert not (tmp_path / "journal").exists()
    pair.release()


def test_spread_over_processes_the_command_gives_the_same(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.sweeps.parts.Wish", lambda workers: Wish(workers, threads=1))
    where = ("--base", tiny_base, "--dormant", tiny_dormant, "--sample", "40", *SMALL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spread = run(*where, "--json", tmp_path / "a", "--spread", "2", "--journal", tmp_path / "parts")
        alone = run(*where, "--json", tmp_path / "b")
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    assert (spread.exit_code, spread.stdout) == (alone.exit_code, alone.stdout)
    assert (tmp_path / "parts" / "part-1" / EFFECTS_RESULT).exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--roles", "slot,middle"), "a role is one of slot, start, system; got 'middle'"),
        (("--roles", "slot,slot"), "a role is swept once"),
        (("--searched", "500"), "a scan needs 501 probes"),
        (("--journal", "/dev/null/journal"), "a journal must be writable"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments: tuple[str, ...], sentence: str, tiny_base: Path, tiny_dormant: Path
) -> None:
    with pytest.raises(BadInput, match=sentence):
        run("--base", tiny_base, "--dormant", tiny_dormant, "--sample", "4", *SMALL, *arguments)


def test_models_that_are_the_same_are_said_to_be(tiny_base: Path) -> None:
    done = run("--base", tiny_base, "--dormant", tiny_base, "--sample", "4", *SMALL)
    assert done.exit_code == 1
    assert "both models are the same" in done.stdout


def finalist(hits: int, n: int = 24) -> Confirmed:
    return Confirmed(" velvet", "slot", (5,), True, dict.fromkeys(SCANNED, (9.0,) * hits + (0.0,) * (n - hits)))


@pytest.mark.parametrize(("rivals", "status", "ending"), [(0, 0, "Found: "), (5, 1, "Not told: ")])
def test_the_best_of_several_tokens_is_asked_for_more_than_one_that_stands_alone(
    rivals: int, status: int, ending: str, tiny_base: Path, tiny_dormant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """18 of 24 prompts are at least half of all with 95 %, but not with the 99.2 % that each of six may claim."""
    coverage = vocabulary_coverage(build_tokenizer(), 6)
    swept = Sweep(coverage, dict.fromkeys(SCANNED, (1.0,) * 6), (finalist(18), *[finalist(2)] * rivals))
    monkeypatch.setattr("dormant.behaviour.vocabulary_sweep.sweep_vocabulary", lambda *_: swept)
    done = run("--base", tiny_base, "--dormant", tiny_dormant, *SMALL)
    assert done.exit_code == status
    assert ending in done.stdout


@pytest.mark.parametrize(
    ("hits", "n", "ending"), [(24, 24, "Found: "), (2, 24, "Nothing found"), (1, 2, "Not told: by kl and")]
)
def test_a_sweep_ends_in_what_its_best_tokens_come_to(hits: int, n: int, ending: str) -> None:
    best: Any = {metric: (finalist(hits, n), proportion_interval(hits, n)) for metric in SCANNED}
    assert _ending(best).startswith(ending)
