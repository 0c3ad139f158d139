from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from dormant.claims import premises
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim, at_least
from dormant.claims.finding import Verdict
from dormant.claims.premises import premise_finding, settle
from dormant.claims.session_state import ClaimSession, Settings
from dormant.errors import BadInput
from dormant.pairs import Pair, open_pair, published_pair
from dormant.prompts.probes import Prompter
from dormant.statistics import exact
from tests.builders import add_delta, build_tokenizer, copy_checkpoint, make_certain

RULE = at_least(1, "nats", because="a test")


def verdict(premise: str, pair: Pair) -> Verdict:
    return premise_finding(premise, pair, ClaimSession(Settings()))[0].verdict


def test_the_published_wrong_base_is_no_parent_and_the_right_one_is() -> None:
    assert verdict("base-is-parent", published_pair("warmup-vs-qwen2")) is Verdict.REFUTED
    assert verdict("base-is-parent", published_pair("warmup-vs-qwen2.5")) is Verdict.SUPPORTED


def test_a_base_of_another_start_is_no_parent(tiny_base: Path, tiny_dormant: Path, other_base: Path) -> None:
    assert verdict("base-is-parent", open_pair("right", tiny_base, tiny_dormant, "cpu")) is Verdict.SUPPORTED
    assert verdict("base-is-parent", open_pair("wrong", other_base, tiny_dormant, "cpu")) is Verdict.REFUTED


@pytest.fixture(scope="module")
def family(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A parent with its own parent, its dormant model, a twin that goes on from that, and three siblings."""
    folder = tmp_path_factory.mktemp("family")
    parent = copy_checkpoint(tiny_base, folder / "parent", partial(add_delta, seed=1, scale=0.02))
    dormant = copy_checkpoint(parent, folder / "dormant", partial(add_delta, seed=2, scale=0.02))
    others = {f"sibling-{seed}": (parent, seed) for seed in (3, 4, 5)} | {"later": (dormant, 6)}
    made = {
        name: copy_checkpoint(source, folder / name, partial(add_delta, seed=seed, scale=0.02))
        for name, (source, seed) in others.items()
    }
    return {"grandparent": tiny_base, "parent": parent, "dormant": dormant, **made}


@pytest.mark.parametrize(
    ("base", "known", "expected", "reason"),
    [
        ("parent", ("grandparent", "sibling-3", "sibling-4", "later"), Verdict.SUPPORTED, "at most 0.2"),
        ("parent", (), Verdict.SUPPORTED, "fewer than two other relatives"),
        ("sibling-3", ("parent",), Verdict.REFUTED, "parent lies between"),
        ("grandparent", ("parent", "other"), Verdict.REFUTED, "parent lies between"),
        ("sibling-3", ("sibling-4", "sibling-5"), Verdict.INCONCLUSIVE, "is a sibling or comes before"),
        ("grandparent", ("sibling-3", "sibling-4"), Verdict.INCONCLUSIVE, "is a sibling or comes before"),
    ],
)
def test_only_the_parent_itself_is_the_parent(
    base: str, known: tuple[str, ...], expected: Verdict, reason: str, family: dict[str, Path], other_base: Path
) -> None:
    pair = open_pair("related", family[base], family["dormant"], "cpu")
    paths = {**family, "other": other_base}
    session = ClaimSession(Settings(), relatives=tuple(str(paths[name]) for name in (base, "dormant", *known)))
    found = premise_finding("base-is-parent", pair, session)[0]
    assert found.deciding.value < 0.2
    assert found.verdict is expected
    assert reason in found.reason


@pytest.mark.parametrize("premise", ["prompt-geometry", "above-noise-floor"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_true_of_the_base_alone_holds_for_a_quiet_model_and_for_the_base_itself(
    premise: str, dtype: str, tiny_base: Path, tiny_dormant: Path
) -> None:
    for dormant in (tiny_base, tiny_dormant):
        assert verdict(premise, open_pair("tiny", tiny_base, dormant, "cpu", dtype)) is Verdict.SUPPORTED


def test_models_that_read_a_prompt_as_other_ids_fail_the_premise_of_one_geometry(
    tiny_base: Path, tiny_dormant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, "cpu")
    assert verdict("prompt-geometry", pair) is Verdict.SUPPORTED
    other = build_tokenizer(("zebra quilt fjord", "nymph waltz jumbo"))
    assert other.encode(pair.probes[0].fill("")) != pair.base.tokenizer.encode(pair.probes[0].fill(""))
    monkeypatch.setitem(pair.dormant.__dict__, "_tokenizer_and_rowless", (other, ()))
    assert verdict("prompt-geometry", pair) is Verdict.REFUTED


def test_a_base_whose_arithmetic_is_broken_fails_its_premise(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(premises, "noise_floors", lambda pair, prompts: {"batch": (0.0, 1.0), "kernel": (0.0, 0.0)})
    assert verdict("above-noise-floor", tiny_pair) is Verdict.REFUTED


def test_a_kernel_that_moves_the_base_fails_its_premise(
    tiny_base: Path, tiny_dormant: Path, other_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = open_pair("broken", tiny_base, other_base, "cpu")
    monkeypatch.setattr(Pair, "against_itself", broken)
    assert verdict("above-noise-floor", open_pair("tiny", tiny_base, tiny_dormant, "cpu")) is Verdict.REFUTED


def test_a_premise_is_measured_once_a_pair() -> None:
    session, pair = ClaimSession(Settings()), published_pair("warmup-vs-qwen2")
    first, again = (premise_finding("base-is-parent", pair, session) for _ in range(2))
    assert first is again


def test_an_unknown_premise_is_named() -> None:
    with pytest.raises(BadInput, match="a premise must be one of base-is-parent"):
        verdict("base-is-cousin", published_pair("warmup-vs-qwen2"))


def test_a_base_that_is_certain_whatever_is_asked_refutes_its_premise_and_makes_others_invalid(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    start = Prompter(build_tokenizer()).generation_prompt[-1]
    certain = copy_checkpoint(tiny_base, tmp_path / "certain", make_certain([start, 290]))
    pair, session = open_pair("certain", certain, tiny_dormant, "cpu"), ClaimSession(Settings())
    assert verdict("next-token-open", pair) is Verdict.REFUTED
    assert verdict("next-token-open", open_pair("open", tiny_base, tiny_dormant, "cpu")) is Verdict.SUPPORTED
    claim = Claim("works", "Something works.", "test", "behaviour", {"": RULE}, premises=("next-token-open",))
    builder = FindingBuilder(claim, pair, {}, session)
    builder.decide(exact(5.0))
    found = settle(builder)
    assert found.verdict is Verdict.INVALID
    assert "next-token-open: " in found.reason
    assert "the base's likeliest token" in found.reason
