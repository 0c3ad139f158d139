"""`dormant score`, `dormant beam` and `dormant scan`, from options to exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.errors import BadInput
from dormant.inference.candidate_effects import candidate_effect
from dormant.inference.horizon import Horizon
from dormant.pairs import open_pair


def run(verb: str, base: Path, dormant: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output."""
    done = CliRunner().invoke(
        app, [verb, "--base", str(base), "--dormant", str(dormant), "--device", "cpu", *arguments]
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_score_writes_scores_and_a_picture(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    files = ("--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "out.png"))
    status, output = run("score", tiny_base, tiny_dormant, "--text", "the color", "--text", "sky", "--chat", *files)
    scores = json.loads((tmp_path / "out.json").read_text())["scores"]
    assert status == 0
    assert [row["text"] for row in scores] == ["the color", "sky"]
    assert all(row["max-head"] > 0 for row in scores)
    assert (tmp_path / "out.png").stat().st_size > 1000
    assert "max-head" in output


def test_a_text_scores_the_same_in_any_company_and_says_where(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    def scores(*arguments: str) -> list[dict[str, object]]:
        run("score", tiny_base, tiny_dormant, *arguments, "--json", str(tmp_path / "out.json"))
        listed: list[dict[str, object]] = json.loads((tmp_path / "out.json").read_text())["scores"]
        return listed

    (alone,) = scores("--text", "the color")
    together, single = scores("--text", "the color", "--text", "the")
    assert together == alone
    assert single["band"] is None  # one token has no pair
    heads, places = alone["by head"], alone["by place"]
    assert isinstance(heads, dict)
    assert isinstance(places, list)
    assert len(places) == len(alone["ids"])  # type: ignore[arg-type]
    assert heads[str(alone["head"])] == max(heads.values()) == max(places) == pytest.approx(alone["max-head"])
    (chosen,) = scores("--text", "the color", "--heads", "2,1", "--picture", str(tmp_path / "out.png"))
    assert chosen["by head"] == {"2": pytest.approx(heads["2"]), "1": pytest.approx(heads["1"])}
    assert chosen["head"] in (1, 2)


def test_beam_names_the_best_of_every_length(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    arguments = ("--length", "3", "--width", "8", "--verify", "1", "--json", str(tmp_path / "out.json"))
    status, _ = run("beam", tiny_base, tiny_dormant, *arguments)
    record = json.loads((tmp_path / "out.json").read_text())
    assert status == 0
    assert [beam["length"] for beam in record["beams"]] == [1, 2, 3]
    assert len(record["verified"]) == 1


def test_score_also_measures_over_the_answer(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    def gain(tokens: int) -> float:
        out = tmp_path / f"{tokens}.json"
        run("score", tiny_base, tiny_dormant, "--text", "sky", "--answer-tokens", str(tokens), "--json", str(out))
        (entry,) = json.loads(out.read_text())["verified"]
        return float(entry["value"])

    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    for tokens in (1, 4):
        gains = candidate_effect(pair, pair.probes[:24], "sky", Horizon(tokens)).gains("kl")
        assert gain(tokens) == pytest.approx(sum(gains) / len(gains), abs=1e-6)


def test_scan_bounds_what_beam_finds(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    status, _ = run("scan", tiny_base, tiny_dormant, "--offsets", "2", "--json", str(tmp_path / "scan.json"))
    run("beam", tiny_base, tiny_dormant, "--length", "3", "--width", "30", "--json", str(tmp_path / "beam.json"))
    optimum = json.loads((tmp_path / "scan.json").read_text())["top"][0]["value"]
    found = json.loads((tmp_path / "beam.json").read_text())["beams"][-1]["found"][0]["score"]
    assert status == 0
    assert 0 < found <= optimum * (1 + 1e-5)


def test_a_scan_that_is_spread_writes_the_same(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    for name, words in (("alone", ()), ("spread", ("--spread", "2", "--workers", "2"))):
        run("scan", tiny_base, tiny_dormant, "--offsets", "2", "--json", str(tmp_path / name), *words)
    alone, spread = (json.loads((tmp_path / name).read_text()) for name in ("alone", "spread"))
    assert spread | {"seconds": 0} == alone | {"seconds": 0}


@pytest.mark.parametrize("verb", ["score", "beam", "scan"])
def test_models_that_attend_alike_are_a_no(verb: str, tiny_base: Path) -> None:
    arguments = {"score": ("--text", "sky"), "beam": ("--length", "2"), "scan": ("--offsets", "1")}[verb]
    status, output = run(verb, tiny_base, tiny_base, *arguments)
    assert status == 1
    assert "exactly 0" in output


def test_bad_options_are_a_sentence(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match="with commas between"):
        run("score", tiny_base, tiny_dormant, "--text", "sky", "--heads", "three")
    with pytest.raises(BadInput, match="from 0 to 3"):
        run("scan", tiny_base, tiny_dormant, "--heads", "9")
    with pytest.raises(BadInput, match="one of max-head"):
        run("beam", tiny_base, tiny_dormant, "--metric", "widest")
    for arguments in (("--verify", "-1"), ("--metric", "band", "--length", "1")):
        with pytest.raises(BadInput, match="a beam search needs"):
            run("beam", tiny_base, tiny_dormant, *arguments)
    with pytest.raises(BadInput, match="a horizon has one token at least"):
        run("beam", tiny_base, tiny_dormant, "--verify", "1", "--answer-tokens", "0")
    with pytest.raises(BadInput, match="at least one word"):
        run("score", tiny_base, tiny_dormant, "--text", " ")
