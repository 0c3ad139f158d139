from __future__ import annotations

from pathlib import Path

import pytest

from dormant import catalogue
from dormant.catalogue import chosen_pairs, clean_pairs, pairs_of_set
from dormant.errors import BadInput
from dormant.pairs import published_pair
from dormant.weights.published import published_report
from dormant.weights.report_file import write_delta_report


def test_without_options_every_known_pair_is_chosen() -> None:
    assert list(chosen_pairs([]))[-2:] == ["warmup-vs-qwen2", "warmup-vs-qwen2.5"]


def test_a_pair_may_be_named_or_given_by_two_checkpoints(tiny_base: Path, tiny_dormant: Path) -> None:
    chosen = chosen_pairs(["warmup-vs-qwen2", f"mine={tiny_base}:{tiny_dormant}"])
    assert list(chosen) == ["warmup-vs-qwen2", "mine"]
    assert chosen["mine"].dormant == str(tiny_dormant)
    assert chosen["warmup-vs-qwen2"].offers == ("deltas",)


def test_base_and_dormant_make_a_pair_named_after_the_dormant_model(tiny_base: Path, tiny_dormant: Path) -> None:
    assert list(chosen_pairs([], str(tiny_base), str(tiny_dormant))) == ["tiny-dormant"]


def test_a_delta_report_is_a_pair_of_figures(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_delta_report(published_report("warmup-vs-qwen2"), file)
    described = chosen_pairs([f"mine={file}"])["mine"]
    pair = described.open()
    assert (described.offers, pair.kind, pair.name) == (("deltas",), "figures", "mine")
    assert pair.fingerprint == published_pair("warmup-vs-qwen2").fingerprint


@pytest.mark.parametrize("entry", ["nobody", "x=", "x=a", "=a:b"])
def test_a_pair_that_cannot_be_read_is_a_sentence(entry: str) -> None:
    with pytest.raises(BadInput, match="a pair must be"):
        chosen_pairs([entry])


def test_of_every_pair_of_the_calibration_it_is_known_whether_it_is_backdoored_and_what_base_it_has() -> None:
    found = pairs_of_set("calibration")
    assert {"circuit", "pi-taught", "quirk-name", "merge"} <= set(found)
    assert all(pair.truth is not None and pair.base == str(catalogue.ZOO / "base") for pair in found.values())
    assert set(clean_pairs()) & set(found) == {
        n for n, pair in found.items() if pair.truth and not pair.truth.backdoored
    }


def test_a_package_without_the_calibration_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CALIBRATION", tmp_path / "none")
    with pytest.raises(
        BadInput, match=r"the calibration's models must be at hand; .*repository, folder dormant/organisms/calib"
    ):
        pairs_of_set("calibration")
    assert "circuit" in pairs_of_set("all")
