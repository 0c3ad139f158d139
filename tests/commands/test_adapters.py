"""Every command on an adapter, folder or hub id, gives what it gives on the weights that peft merges it into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.catalogue import chosen_pairs
from dormant.errors import BadInput
from tests.builders import build_adapter, build_tokenizer
from tests.checkpoints.hub_snapshots import cached, use_cache
from tests.checkpoints.situations import config, copied, stored_as
from tests.commands.verbs import VERBS, outcome

FORMS = ("folder", "hub id")  # and under residency shared where there is a choice
TIMED = {"hunt": ("verdict", "relative_delta", "identical")}  # ends by the clock: what the time does not decide
# What may differ between an adapter and its merged weights: names, times, and the noise of sums rounded to float32.
pytest_plugins = ["pytester"]
OTHERWISE = {"dormant", "base", "pair", "seconds", "noise_edge", "note", "max_abs", "suspect", "merged"}


@pytest.fixture(scope="module")
def folders(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A base in float32, an adapter of layer 0's attention and all MLPs, and what peft merges them into; read only."""
    place = tmp_path_factory.mktemp("adapters")
    base = copied(tiny_base, place / "base", stored_as(torch.float32))
    adapted = build_adapter(place / "suspect", base, r=4, target_modules=["q_proj", "up_proj"])
    adapted.merge_and_unload().save_pretrained(place / "merged")
    build_tokenizer().save_pretrained(place / "merged")
    return {name: place / name for name in ("base", "suspect", "merged")}


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where two records differ by more than rounding."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = (found.keys() | expected.keys()) - OTHERWISE
        return [
            text for key in sorted(keys) for text in differences(found.get(key), expected.get(key), f"{path}/{key}")
        ]
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [text for number, both in pairs for text in differences(*both, f"{path}/{number}")]
    alike = pytest.approx(expected, rel=2e-3, abs=2e-5) == found if isinstance(expected, float) else found == expected
    return [] if alike else [f"{path}: {found!r:.60} for {expected!r:.60}"]


@pytest.fixture(scope="module")
def merged_outcomes() -> dict[str, Any]:
    """By verb what it gave on the merged weights."""
    return {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_gives_on_an_adapter_what_it_gives_on_the_merged_weights(
    verb: str, form: str, folders: Mapping[str, Path], merged_outcomes: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if form == "folder" and verb in TIMED:
        pytest.skip("the other form shows it")
    dormant, base = str(folders["suspect"]), str(folders["base"])
    if form == "hub id":
        cache = use_cache(tmp_path / "hub", monkeypatch)
        hub = copied(
            folders["suspect"], tmp_path / "hub id", config("adapter_config.json", base_model_name_or_path="acme/base")
        )
        cached(cache, folders["base"], "base"), cached(cache, hub, "suspect")
        dormant, base = "acme/suspect", "acme/base"
    shared = form == "hub id" and "residency" in {parameter.name for parameter in VERBS[verb].params}
    found = outcome(verb, base, dormant, tmp_path, {"residency": "shared"} if shared else {})
    if verb not in merged_outcomes:
        merged_outcomes[verb] = outcome(verb, folders["base"], folders["merged"], tmp_path / "merged")
    if verb == "bases":
        assert found["parent"] == base
    found = json.loads(json.dumps(found).replace(f'"{base}"', json.dumps(str(folders["base"]))))  # one base, two names
    expected = merged_outcomes[verb]
    for record in (found, expected) if verb in TIMED else ():
        for key in record.keys() - TIMED[verb]:
            del record[key]
    assert differences(found, expected) == []


CLAIM = """
from dormant.claims.claim import at_least, claim
from dormant.inference.divergence import kl_divergence
from dormant.statistics import exact
import torch

@claim("moved", source="a test", rule=at_least(0.0, "nats", because="a test"), needs="models")
def test_moved(pair, finding):
    'The models differ.'
    ids = torch.tensor([[5, 9, 100, 7]])
    logits = [getattr(pair.models, role)()(ids).logits for role in ("base", "dormant")]
    finding.figure("norm", exact(pair.delta_report.total_norm), "norm")
    finding.decide(exact(kl_divergence(logits[1], logits[0]).mean().item()))
"""


@pytest.mark.parametrize("options", [(), ("--base", "base"), ("--base", "base", "--residency", "shared")])
def test_claims_find_the_same_on_an_adapter_as_on_the_merged_weights(
    options: tuple[str, ...], folders: Mapping[str, Path], pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_moved=CLAIM)
    given = [str(folders.get(option, option)) for option in options]
    findings = []
    for more in (
        [*given, "--dormant", folders["suspect"]],
        ["--base", folders["base"], "--dormant", folders["merged"]],
    ):
        pytester.runpytest_inprocess(
            "-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider", "-m", "hypothesis",
            "--device", "cpu", *map(str, more),
        ).assert_outcomes(passed=1)  # fmt: skip
        (finding,) = json.loads((pytester.path / "reports" / "findings.json").read_text())
        findings.append([figure["value"] for figure in (finding["figures"])])
    assert findings[0] == pytest.approx(findings[1], rel=1e-4)
    assert min(findings[0]) > 1e-3


def test_pytest_s_pairs_take_an_adapter_with_or_without_its_base(
    folders: Mapping[str, Path], tiny_dormant: Path
) -> None:
    suspect, base = folders["suspect"], folders["base"]
    assert chosen_pairs([], None, str(suspect))["suspect"].base == str(base)
    opened = chosen_pairs([f"mine={base}:{suspect}"])["mine"].open("cpu", residency="shared")
    assert opened.models.base() is opened.models.dormant()
    with pytest.raises(BadInput, match=r"given together, unless an adapter names its base; got only .*tiny-dormant"):
        chosen_pairs([], None, str(tiny_dormant))


def test_diff_draws_an_adapters_spectra_from_its_factors(folders: Mapping[str, Path], tmp_path: Path) -> None:
    found = outcome("diff", folders["base"], folders["suspect"], tmp_path, {"pictures": tmp_path / "pictures"})
    assert [row["rank"] for row in found["tensors"].values() if not row["identical"]] == [4] * 4
    assert (tmp_path / "pictures" / "spectra-up_proj.png").exists()
