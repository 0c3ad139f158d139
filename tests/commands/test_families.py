"""The verbs on pairs of other families than Qwen2: they run, or say in a sentence which families they serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.errors import BadInput
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.report import write_page
from dormant.hunt.result import HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.pairs import open_pair
from tests.families import family_pair

FAMILIES = ("qwen3", "gemma2", "gemma3", "phi3", "mixtral", "gpt2")
VERBS = {
    "profile": ("--prompts", "2", "--positions", "2"),
    "amplify": ("--count", "2", "--new-tokens", "3", "--alpha", "2"),
    "gcg": ("--steps", "2", "--length", "2", "--restarts", "1", "--candidates", "4", "--searched", "1", "--held-out", "2"),
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pair of one family."""
    return family_pair(request.param, tmp_path_factory.mktemp(request.param))


def run(verb: str, folders: tuple[Path, Path], *arguments: object) -> int:
    """Exit status; what is raised is raised."""
    given = [verb, "--base", *folders[:1], "--dormant", *folders[1:], *arguments]
    return CliRunner().invoke(app, list(map(str, given)), catch_exceptions=False).exit_code


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_runs_on_every_family(folders: tuple[Path, Path], verb: str, tmp_path: Path) -> None:
    written = tmp_path / "it.json"
    assert run(verb, folders, *VERBS[verb], "--device", "cpu", "--json", written) in (0, 1)
    assert json.loads(written.read_text())


def test_weights_are_compared_and_layer_0_says_whom_it_serves(folders: tuple[Path, Path]) -> None:
    assert run("diff", folders) == 0
    if "qwen3" in folders[0].parent.name:
        assert run("score", folders, "--text", "river", "--device", "cpu") == 0
    else:
        with pytest.raises(BadInput, match="layer 0 is scored for the families qwen2, qwen3, llama, mistral; got"):
            run("score", folders, "--text", "river", "--device", "cpu")


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_a_hunt_that_is_out_of_time_ends_undecided(family: str, tmp_path: Path) -> None:
    pair = open_pair(family, *family_pair(family, tmp_path), device="cpu")
    found = run_hunt(pair, tmp_path / "out", HuntSettings().within(1e-6))
    assert found.verdict is HuntVerdict.UNDECIDED
    assert "the time ran out" in found.reason
    write_page(found, pair, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert record["relative_delta"] is None
