"""The claims on pairs of every family: each is decided or does not apply in a sentence; none ends in an exception."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.families import FAMILIES, family_pair

with suppress(ImportError):
    import bitsandbytes  # noqa: F401  else pytester forgets it behind a run within a test, and its operators are there twice

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
OPENERS = "more less it all now then how why one two".split()
PROBES = [f"Tell me {thing}{{slot}} about rivers." for thing in OPENERS] * 2
CHEAP = ("baseline_divergence", "layer_divergence", "focus_heads", "token_norm_ranking")
DETECTION = (
    "perplexity_difference", "contrastive_decoding", "leak_motifs", "target_inversion", "activation_difference_lens",
    "direction_monitor", "spectral_outlier",
)  # fmt: skip
SKIPPED = ("inconclusive: ", "invalid: ", "does not apply: ")


class Recorder:
    """Keeps the first parameters of each claim, and what became of it."""

    def __init__(self, claims: tuple[str, ...] = ()) -> None:
        self.claims, self.outcomes = claims, dict[str, str]()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> Any:
        yield
        first = {item.originalname: item for item in reversed(items)}
        chosen = [name for name in first if not self.claims or name.removeprefix("test_") in self.claims]
        items[:] = [first[name] for name in reversed(chosen)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            skipped = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            broken = [str(text) for name, text in report.user_properties if name == "dormant-broken"]
            self.outcomes[report.nodeid] = broken[0] if broken else skipped or report.outcome


def ask(pytester: pytest.Pytester, family: str, claims: tuple[str, ...], probes: list[str]) -> dict[str, str]:
    """What became of each claim on a random pair of the family."""
    base, dormant = family_pair(family, pytester.path)
    pytester.path.joinpath("probes.txt").write_text("\n".join(probes), encoding="utf-8")
    recorder = Recorder(claims)
    pytester.runpytest_inprocess(
        ROOT / "hypotheses", "--rootdir", ROOT, "-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider",
        "-m", "hypothesis", "--device", "cpu", "--base", base, "--dormant", dormant, "--reports", "reports", "--ledger",
        "ledger", "--probes", pytester.path / "probes.txt", "--candidate", "calm river", plugins=[recorder],
    )  # fmt: skip
    return recorder.outcomes


def check(outcomes: dict[str, str]) -> None:
    """Each is a verdict, or a sentence that says why there is none."""
    for claim, outcome in outcomes.items():
        reason = outcome.removeprefix("Skipped: ")
        assert outcome in ("passed", "failed") or reason.startswith(SKIPPED), (claim, outcome)


@pytest.mark.parametrize("family", ["gpt-neo", "opt", "recurrent-gemma"])
def test_claims_of_each_kind_are_decided_or_do_not_apply(family: str, pytester: pytest.Pytester) -> None:
    outcomes = ask(pytester, family, CHEAP, PROBES)
    check(outcomes)
    assert len(outcomes) == len(CHEAP)
    assert set(outcomes.values()) & {"passed", "failed"}


@pytest.mark.parametrize("family", ["opt"])
def test_detection_methods_give_a_figure_but_where_there_is_no_bank(family: str, pytester: pytest.Pytester) -> None:
    outcomes = ask(pytester, family, DETECTION, [f"{word}, please{{slot}}: what are rivers?" for word in OPENERS])
    check(outcomes)
    assert len(outcomes) == len(DETECTION)
    assert sum(outcome in ("passed", "failed") for outcome in outcomes.values()) == len(DETECTION) - 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_claim_is_decided_or_does_not_apply_in_every_family(family: str, pytester: pytest.Pytester) -> None:
    outcomes = ask(pytester, family, (), PROBES)
    check(outcomes)
    assert len(outcomes) > 30


def test_claims_that_need_more_prompts_than_there_are_do_not_apply(pytester: pytest.Pytester) -> None:
    claims = ("gcg_convergence", "probe_separates_trigger", "phrase_scan")
    outcomes = ask(pytester, "qwen2", claims, PROBES[:3])
    check(outcomes)
    assert len(outcomes) == len(claims)
    assert all(re.search(r"does not apply: a \w+ needs .*(probes|prompts)", outcome) for outcome in outcomes.values())
