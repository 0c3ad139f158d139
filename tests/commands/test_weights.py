"""`dormant diff` and `dormant bases` as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dormant.cli import app
from dormant.weights.report_file import read_delta_report
from tests.builders import add_delta, copy_checkpoint

runner = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    done = runner.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "140"})
    return done.exit_code, done.stdout, done.stderr


def test_diff_shows_what_changed_and_writes_report_and_pictures(tiny_base: Path, tmp_path: Path) -> None:
    q = "model.layers.1.self_attn.q_proj.weight"
    dormant = copy_checkpoint(tiny_base, tmp_path / "dormant", lambda tensors: tensors[q][8:16].neg_())
    code, out, err = run(
        "diff", "--base", tiny_base, "--dormant", dormant, "--tensors",
        "--json", tmp_path / "report.json", "--pictures", tmp_path / "pictures",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "26 of 27 tensors are identical, 1 changed" in out
    assert "layers.1.self_attn.q_proj" in out
    assert "hardly the parent" not in out
    delta = read_delta_report(tmp_path / "report.json").tensors[q]
    assert [head.head for head in delta.heads if head.norm > 0] == [1]
    assert delta.rank == 8
    drawn = {file.name for file in (tmp_path / "pictures").iterdir()}
    assert drawn == {
        "relative-deltas.png", "heads-q_proj.png", "spectra-q_proj.png",
        "tokens-q_proj-embedding.png", "tokens-q_proj-head.png",
    }  # fmt: skip
    assert "q_proj reads (embeddings)" in out
    assert re.search(r"^1 +q_proj +1 +0 ", out, re.MULTILINE)  # four query heads share two key-value heads in a row


def test_diff_of_a_damaged_model_reports_the_rest_and_exits_with_one(tiny_base: Path, nan_dormant: Path) -> None:
    code, out, err = run("diff", "--base", tiny_base, "--dormant", nan_dormant)
    assert code == 1
    assert "26 of 26 tensors are identical" in out
    assert "dormant: weights must be finite; got NaN" in err


@pytest.mark.parametrize("name", ["model.norm.weight", "lm_head.weight"])
def test_diff_lists_no_tokens_through_weights_that_are_no_numbers(
    name: str, tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    damaged = copy_checkpoint(tiny_dormant, tmp_path / "it", lambda tensors: tensors[name].view(-1)[0].fill_(torch.inf))
    code, out, _ = run("diff", "--base", tiny_base, "--dormant", damaged, "--json", tmp_path / "report.json")
    assert code == 1
    assert "no tokens are listed: tokens are read through finite weights" in out.replace("\n", " ")
    assert len(read_delta_report(tmp_path / "report.json").tensors) == 26


def test_diff_says_when_the_base_is_hardly_the_parent(other_base: Path, tiny_dormant: Path) -> None:
    code, out, _ = run("diff", "--base", other_base, "--dormant", tiny_dormant)
    assert code == 0
    assert "try others with `dormant bases`" in out


def test_bases_names_the_parent_or_none(tiny_base: Path, other_base: Path, tmp_path: Path) -> None:
    def nudge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"].add_(0.5)

    dormant, file = copy_checkpoint(tiny_base, tmp_path / "dormant", nudge), tmp_path / "bases.json"
    code, out, _ = run("bases", "--dormant", dormant, other_base, tiny_base, "--json", file)
    assert code == 0
    assert f"{tiny_base} is the parent" in out.replace("\n", "")
    assert json.loads(file.read_text())["parent"] == str(tiny_base)
    code, out, _ = run("bases", "--dormant", dormant, other_base, "--json", file)
    assert code == 1
    assert "none of these" in out
    assert json.loads(file.read_text())["parent"] is None


def test_bases_says_that_the_nearest_is_a_sibling_and_when_nothing_could_tell(tiny_base: Path, tmp_path: Path) -> None:
    def child(seed: int) -> Path:
        return copy_checkpoint(tiny_base, tmp_path / f"child-{seed}", lambda tensors: add_delta(tensors, seed))

    dormant, *siblings = map(child, range(4))
    code, out, _ = run("bases", "--dormant", dormant, *siblings)
    assert code == 1
    assert "a sibling of the dormant model, whose parent is not among the candidates" in out
    code, out, _ = run("bases", "--dormant", dormant, siblings[0])
    assert code == 0
    assert "a sibling would look the same" in out


def test_bases_takes_no_enlarged_copy_of_the_parent_for_the_parent(tiny_base: Path, tmp_path: Path) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if "mlp" in name:
                tensor.mul_(1.2)

    dormant = copy_checkpoint(tiny_base, tmp_path / "dormant", lambda tensors: add_delta(tensors, scale=0.1))
    enlarged, file = copy_checkpoint(tiny_base, tmp_path / "enlarged", enlarge), tmp_path / "bases.json"
    assert run("bases", "--dormant", dormant, enlarged, tiny_base, "--json", file)[0] == 0
    assert json.loads(file.read_text())["parent"] == str(tiny_base)


@pytest.mark.parametrize("command", ["diff", "bases"])
def test_help_teaches_with_an_example_and_the_exit_statuses(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: dormant {command}" in out
    assert "Exit status" in out
