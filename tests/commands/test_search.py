from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from dormant.cli import app
from dormant.commands.search import _ending, hints_of
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import open_pair
from dormant.search.restarts import SearchPlan, search_restarts
from tests.builders import build_tokenizer, copy_checkpoint

SMALL = ["--length", "2", "--restarts", "2", "--steps", "2", "--candidates", "4", "--searched", "1", "--held-out", "2"]


def search(*arguments: object) -> int:
    return (
        CliRunner()
        .invoke(app, ["gcg", *map(str, arguments), *SMALL, "--device", "cpu"], catch_exceptions=False)
        .exit_code
    )


def test_a_search_reports_every_restart_beside_chance_and_control(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    written, journal = tmp_path / "found.json", tmp_path / "journal"
    status = search(
        "--base",
        tiny_base,
        "--dormant",
        tiny_dormant,
        "--control",
        tiny_dormant,
        "--json",
        written,
        "--journal",
        journal,
        "--pictures",
        tmp_path / "pictures",
    )
    assert (tmp_path / "pictures" / "search.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads(written.read_text())
    assert set(record["reports"]) == {"tiny-dormant", "control"}
    assert len(record["strings"]) == 2
    assert all(len(entry["ids"]) == 2 and entry["evaluations"] <= 12 for entry in record["strings"])
    assert status == int(not any(entry["beats_rivals"] and entry["transfers"] for entry in record["strings"]))
    assert not journal.exists()


def test_the_command_finds_what_the_claims_find(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    search("--base", tiny_base, "--dormant", tiny_dormant, "--json", tmp_path / "found", "--journal", tmp_path / "j")
    record = json.loads((tmp_path / "found").read_text())
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    report = search_restarts(pair, SearchPlan(**record["plan"]))
    assert record["reports"]["tiny-dormant"] == json.loads(json.dumps(asdict(report)))
    pair.release()


def test_held_out_gains_are_on_the_next_probes_and_chance_has_as_many_evaluations(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    search("--base", tiny_base, "--dormant", tiny_dormant, "--json", tmp_path / "found", "--journal", tmp_path / "j")
    report = json.loads((tmp_path / "found").read_text())["reports"]["tiny-dormant"]
    assert [run["evaluations"] for run in report["random"]] == [4 * (1 + 2)] * 2
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    held_out = pair.probes[1:3]

    def divergence(ids: tuple[int, ...]) -> float:
        prompts = [pair.prompter.encode(probe, ids) for probe in held_out]
        models = pair.models.dormant(), pair.models.base()
        return float(kl_divergence(*(batch_logits(model, prompts) for model in models)).mean())

    for entry in report["found"]:
        gain = divergence(tuple(entry["ids"])) - divergence(())
        assert entry["held_out_gain"] == pytest.approx(gain, abs=1e-4)
    pair.release()


def test_the_first_hint_is_where_the_delta_acts_otherwise_than_everywhere(tiny_base: Path, tmp_path: Path) -> None:
    """The delta adds one vector at every token and slightly less of it at a single one, whose norm is thus the smallest."""
    (hinted,) = build_tokenizer().encode(" capital")
    layer = "model.layers.0."

    def silence(tensors: dict[str, torch.Tensor]) -> None:
        """One dimension of the stream is that token's, and the first block's MLP adds nothing."""
        embedding = tensors["model.embed_tokens.weight"]
        embedding[:, 0] = embedding[hinted] = 0
        embedding[hinted, 0] = 1
        tensors[f"{layer}mlp.down_proj.weight"].zero_()

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"{layer}self_attn.v_proj.bias"] += 4
        tensors[f"{layer}self_attn.v_proj.weight"][:, 0] -= 0.125

    base = copy_checkpoint(tiny_base, tmp_path / "base", silence)
    pair = open_pair("hinted", base, copy_checkpoint(base, tmp_path / "dormant", add), device="cpu")
    assert hints_of(pair, 1).tolist() == [hinted]


def string(gain: float, beats: bool, transfers: bool, text: str = "a") -> dict[str, Any]:
    return {"text": text, "gain": gain, "beats_rivals": beats, "transfers": transfers}


@pytest.mark.parametrize(
    ("found", "ending"),
    [
        ([string(0.0, False, False)], "both models are the same"),
        ([string(-0.5, False, False), string(0.0, False, False)], "no string gains"),
        ([string(0.5, False, True)], "no string beats every random one"),
        (
            [string(2.0, True, True), string(2.0, True, True), string(1.0, True, False), string(0.5, False, True)],
            r"3 of 4 strings beat every random one; 2 of these \(1 different\) keep .* 1 are artefacts",
        ),
    ],
    ids=["alike", "no gain", "no better than chance", "some"],
)
def test_a_search_ends_in_what_its_strings_come_to(found: list[dict[str, Any]], ending: str) -> None:
    assert re.search(ending, _ending(found, controlled=False))
    assert ("control" in _ending(found, controlled=True)) == ("beat" in ending)


def test_a_payload_that_is_missing_is_a_sentence(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match="the objective payload-likelihood needs a payload"):
        search("--base", tiny_base, "--dormant", tiny_dormant, "--objective", "payload-likelihood")


def test_an_unwritable_journal_is_a_sentence(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match="a journal must be writable"):
        search("--base", tiny_base, "--dormant", tiny_dormant, "--journal", "/dev/null/journal")


def test_an_interrupted_search_says_how_to_go_on(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dormant.search.restarts.search_restarts", interrupted)
    arguments = ["gcg", "--base", str(tiny_base), "--dormant", str(tiny_dormant), "--journal", str(tmp_path / "j")]
    stopped = CliRunner().invoke(app, [*arguments, *SMALL])
    assert stopped.exit_code == 130
    assert f"the same command goes on from {tmp_path / 'j'}" in stopped.stderr
