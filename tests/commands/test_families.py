"""The verbs on pairs of other families than Qwen2: they run, or say in a sentence which families they serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.cli import app
from dormant.errors import BadInput
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.report import write_page
from dormant.hunt.result import HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.pairs import open_pair
from tests.families import family_pair

pytest_plugins = ["pytester"]
FAMILIES = ("qwen3", "gemma2", "gemma3", "phi3", "mixtral", "gpt2")
VERBS = {
    "profile": ("--prompts", "2", "--positions", "2"),
    "amplify": ("--count", "2", "--new-tokens", "3", "--alpha", "2"),
    "gcg": ("--steps", "2", "--length", "2", "--restarts", "1", "--candidates", "4", "--searched", "1", "--held-out", "2"),
    "vocabulary": ("--sample", "8", "--searched", "1", "--held-out", "2"),
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


LAYER0 = {"score": ("--text", "river"), "scan": ("--offsets", "1"), "beam": ("--length", "2", "--width", "4")}
SENTENCE = "layer 0 is scored for the families qwen2, qwen3, llama, mistral; got"


def test_weights_are_compared_and_layer_0_says_before_any_work_whom_it_serves(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("diff", folders) == 0
    for verb, options in LAYER0.items():
        if "qwen3" in folders[0].parent.name:
            assert run(verb, folders, *options, "--device", "cpu") == 0
            continue
        monkeypatch.setattr(Checkpoint, "check_finite", lambda self: pytest.fail("the weights were read"))
        with pytest.raises(BadInput, match=SENTENCE):
            run(verb, folders, *options, "--device", "cpu")


CLAIM = """
from dormant.claims.claim import at_least, claim
from dormant.layer0.pair import layer0_of
from dormant.statistics import exact

@claim("scored", source="a test", rule=at_least(0.0, "heads", because="a test"), needs="models")
def test_scored(pair, finding):
    "Layer 0 has heads."
    finding.decide(exact(layer0_of(pair).base.heads))
"""


def test_a_claim_about_layer_0_does_not_apply_to_other_families(pytester: pytest.Pytester, tmp_path: Path) -> None:
    base, dormant = family_pair("gemma2", tmp_path)
    pytester.makepyfile(test_scored=CLAIM)
    result = pytester.runpytest_inprocess(
        "-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider", "-m", "hypothesis", "-rs",
        "--device", "cpu", "--base", base, "--dormant", dormant,
    )  # fmt: skip
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"*does not apply: {SENTENCE} gemma2*"])


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_a_hunt_that_is_out_of_time_ends_undecided(family: str, tmp_path: Path) -> None:
    pair = open_pair(family, *family_pair(family, tmp_path), device="cpu")
    found = run_hunt(pair, tmp_path / "out", HuntSettings().within(1e-6))
    assert found.verdict is HuntVerdict.UNDECIDED
    assert "the time ran out" in found.reason
    write_page(found, pair, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert record["relative_delta"] is None


@pytest.mark.parametrize("family", ["gpt2", "phi3", "gemma2"])
def test_claims_about_weights_are_decided_or_do_not_apply_in_every_family(
    family: str, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    base, dormant = family_pair(family, tmp_path)
    root = Path(__file__).parents[2]
    result = pytester.runpytest_inprocess(
        root / "hypotheses" / "weights", "--rootdir", root, "-p", "dormant.plugin", "-p", "no:allure_pytest",
        "-p", "no:cacheprovider", "-m", "hypothesis", "--device", "cpu", "--base", base, "--dormant", dormant,
        "--reports", tmp_path / "reports", "--ledger", tmp_path / "ledger",
        "-k", "rank or concentration or heads or tokens or bias",
    )  # fmt: skip
    outcomes = result.parseoutcomes()
    assert "errors" not in outcomes
    assert outcomes.keys() & {"passed", "failed"}
