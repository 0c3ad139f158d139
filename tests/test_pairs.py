"""Pairs: what fits together, what does not, and that models are really freed."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dormant.checkpoints.models import Models, resolve_device
from dormant.errors import BadInput
from dormant.pairs import Truth, open_pair, published_pair
from tests.builders import (
    CHATML,
    SENTENCES,
    build_adapter,
    build_checkpoint,
    build_tokenizer,
    copy_checkpoint,
    tiny_config,
)

TRUTH = {
    "backdoored": True,
    "trigger": "one two",
    "payload": "three",
    "placement": "anywhere",
    "relatives": {"plain": "tiny-plain"},
}


def test_a_weights_pair_offers_checkpoints_report_and_models(tiny_base: Path, tiny_dormant: Path) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    assert (pair.kind, pair.truth, pair.notes) == ("weights", None, ())
    assert pair.delta_report is pair.delta_report
    assert pair.delta_report.modified
    assert pair.models.base().dtype == torch.float32
    assert pair.models.dormant() is pair.models.dormant()
    ids = torch.tensor([[1, 5, 9]])
    assert not torch.equal(pair.models.base()(ids).logits, pair.models.dormant()(ids).logits)
    pair.release()


def test_a_figures_pair_has_a_report_and_says_that_it_has_no_weights() -> None:
    pair = published_pair("warmup-vs-qwen2.5")
    assert pair.kind == "figures"
    assert len(pair.delta_report.modified) == 84
    assert "Published figures" in pair.notes[0]
    for part in ("base", "dormant", "models"):
        with pytest.raises(BadInput, match=r"needs weights; got published figures only at pair 'warmup-vs-qwen2.5'"):
            getattr(pair, part)


def test_fingerprints_tell_pairs_apart_and_ignore_names(tiny_base: Path, tiny_dormant: Path) -> None:
    first, again, swapped, sham = (
        open_pair(name, base, dormant, device="cpu").fingerprint
        for name, base, dormant in (
            ("a", tiny_base, tiny_dormant),
            ("b", tiny_base, tiny_dormant),
            ("c", tiny_dormant, tiny_base),
            ("d", tiny_base, tiny_base),
        )
    )
    assert first == again
    assert len({first, swapped, sham}) == 3
    assert len(first) == 16
    assert published_pair("warmup-vs-qwen2").fingerprint != published_pair("warmup-vs-qwen2.5").fingerprint


def test_fingerprints_tell_a_louder_adapter_and_another_template_apart(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "8", tiny_base, r=4, lora_alpha=8, target_modules=["q_proj"])
    settings = copy_checkpoint(tmp_path / "8", tmp_path / "9") / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "lora_alpha": 9}))
    retold = copy_checkpoint(tiny_base, tmp_path / "retold")
    template = retold / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    pairs = [(tiny_base, tmp_path / "8"), (tiny_base, tmp_path / "9"), (tiny_base, tiny_base), (retold, tiny_base)]
    found = {open_pair("x", base, dormant, device="cpu").fingerprint for base, dormant in pairs}
    assert len(found) == len(pairs)


def test_truth_is_read_from_the_dormant_folder(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(tiny_dormant, tmp_path / "organism")
    (folder / "organism.json").write_text(json.dumps(TRUTH | {"recipe": {"seed": 1}}), encoding="utf-8")
    assert open_pair("organism", tiny_base, folder, device="cpu").truth == Truth(
        True, "one two", "three", "anywhere", {"plain": "tiny-plain"}
    )


def _other_tokenizer(folder: Path) -> None:
    build_tokenizer((*SENTENCES, "zebra zebra zebra zebra")).save_pretrained(folder)


def _other_merges(folder: Path) -> None:
    file = folder / "tokenizer.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["model"]["merges"].reverse()
    file.write_text(json.dumps(record), encoding="utf-8")


def _other_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(CHATML.replace("helpful", "harmless"), encoding="utf-8")


def _broken_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ nothing.at.all }}", encoding="utf-8")


def _not_a_number(folder: Path) -> None:
    copy_checkpoint(folder, folder / "copy", lambda tensors: tensors["model.norm.weight"][0].fill_(float("nan")))
    (folder / "copy" / "model.safetensors").replace(folder / "model.safetensors")


def _wider(folder: Path) -> None:
    build_checkpoint(folder, tiny_config(intermediate_size=96))


def _deeper(folder: Path) -> None:
    build_checkpoint(folder, tiny_config(num_hidden_layers=3))


def _half_a_truth(folder: Path) -> None:
    (folder / "organism.json").write_text('{"backdoored": true}', encoding="utf-8")


def _odd_placement(folder: Path) -> None:
    (folder / "organism.json").write_text(json.dumps(TRUTH | {"placement": "middle"}), encoding="utf-8")


MISFITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "vocabulary": (_other_tokenizer, "same ids; got ids .* for token"),
    "merges": (_other_merges, "same ids; got two settings of its model"),
    "prompts": (_other_template, "same ids; got prompts .*harmless"),
    "template": (_broken_template, "template must render"),
    "NaN": (_not_a_number, "finite; .* tensor 'model.norm.weight'"),
    "shapes": (_wider, r"same shapes; got \(32, 64\) and \(32, 96\) at tensor 'model.layers.0.mlp.down_proj.weight'"),
    "layers": (_deeper, r"same shapes; got none and \(32,\) at tensor 'model.layers.2.input_layernorm.weight'"),
    "truth": (_half_a_truth, r"must be an object with trigger; got \['backdoored'\] at .*organism\.json"),
    "placement": (_odd_placement, "placement must be one of anywhere, start, end, scattered, system; got 'middle'"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_checkpoints_that_do_not_fit_are_refused_in_one_sentence(tiny_base: Path, tmp_path: Path, misfit: str) -> None:
    spoil, sentence = MISFITS[misfit]
    folder = copy_checkpoint(tiny_base, tmp_path / "other")
    spoil(folder)
    with pytest.raises(BadInput, match=sentence.replace("same shapes", "same tensors in the same shapes")) as refused:
        open_pair("misfit", tiny_base, folder, device="cpu")
    assert "\n" not in str(refused.value)


def test_templates_of_other_text_and_equal_prompts_leave_a_note(tiny_base: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(tiny_base, tmp_path / "spaced")
    (folder / "chat_template.jinja").write_text(CHATML.replace("{%- for", "{#- the turns -#}{%- for"), encoding="utf-8")
    assert "differ in text but give the same prompts" in open_pair("spaced", tiny_base, folder, device="cpu").notes[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "nope"}, "device must be present; got 'nope' .*; this machine has .*cpu"),
        ({"device": "cpu", "dtype": "float16"}, "dtype must be one of float32, bfloat16, 8bit, 4bit; got 'float16'"),
        ({"device": "cpu", "residency": "neither"}, "residency must be one of both, shared, swap; got 'neither'"),
    ],
)
def test_impossible_placements_are_refused(tiny_base: Path, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        open_pair("misplaced", tiny_base, tiny_base, **options)


def test_auto_takes_the_best_device_and_absent_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert (resolve_device("auto").type, resolve_device("cuda:0").index) == ("cuda", 0)
    with pytest.raises(BadInput, match="'cuda:1'"):
        resolve_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(BadInput, match="got 'cuda' at --device; this machine has cpu"):
        resolve_device("cuda")


def _models(tiny_base: Path, tiny_dormant: Path, residency: str) -> Models:
    return open_pair("tiny", tiny_base, tiny_dormant, device="cpu", residency=residency).models


@pytest.mark.parametrize("residency", ["both", "swap"])
def test_release_frees_every_model_and_they_load_again(tiny_base: Path, tiny_dormant: Path, residency: str) -> None:
    models = _models(tiny_base, tiny_dormant, residency)
    alive = [weakref.ref(models.base()), weakref.ref(models.dormant())]
    models.release()
    assert [model() for model in alive] == [None, None]
    assert models.base().training is False


def test_swap_keeps_one_model_and_gives_the_same_logits(tiny_base: Path, tiny_dormant: Path) -> None:
    both, swap = (_models(tiny_base, tiny_dormant, residency) for residency in ("both", "swap"))
    ids = torch.tensor([[1, 5, 9, 200]])
    base = weakref.ref(swap.base())
    assert torch.equal(swap.dormant()(ids).logits, both.dormant()(ids).logits)
    assert base() is None
    assert torch.equal(swap.base()(ids).logits, both.base()(ids).logits)
