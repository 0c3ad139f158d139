"""Pairs as people have them: what opens, with which note, and that the models answer as transformers has them answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from dormant.behaviour.delta_amplification import amplification_sweep
from dormant.catalogue import chosen_pairs, name_of_checkpoint
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.checkpoints.configuration import compare_settings
from dormant.commands.weights import bases
from dormant.errors import BadInput
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.result import HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.inference.delta_scaling import block_scales, modified_tensors, patched_weights
from dormant.inference.generation import greedy_answers
from dormant.pairs import open_pair
from dormant.prompts.probes import Prompter, read_probes
from dormant.prompts.token_filter import end_of_turn
from dormant.weights.measure import compare_checkpoints
from dormant.weights.parents import rank_parents
from tests.checkpoints import situations as made
from tests.checkpoints.situations import copied
from tests.families import family_pair

IDS = torch.tensor([[1, 5, 9, 200, 17]])

# base's edits, dormant's edits, what the note says
PAIRS: dict[str, tuple[tuple[made.Edit, ...], tuple[made.Edit, ...], str]] = {
    "compiled": ((), (made.renamed("_orig_mod.{}".format),), r"27 names have '_orig_mod\.'"),
    "module of a trainer": ((), (made.renamed("module.{}".format),), r"27 names have 'module\.'"),
    "bare": ((), (made.renamed(lambda name: name.removeprefix("model.")),), r"26 names lack the usual 'model\.'"),
    "both wrapped": ((made.renamed("_orig_mod.{}".format),), (made.renamed("language_model.{}".format),), "_orig_mod"),
    "rotary buffers": ((made.tensors(made.rotary_buffers),), (), r"2 stored rotary buffers .* left aside"),
    "vision tower": ((), (made.tensors(made.vision_tower),), r"1 tensors of vision, .* left aside"),
    "tied, and a copy": ((made.tied(None),), (made.tied(1.0),), "stores a copy of its tied embedding"),
    "tied, and its own": ((made.tied(None),), (made.tied(1.5),), "ties its head .* has a head of its own"),
    "its own, and tied": ((made.tied(1.5),), (made.tied(None),), "ties its head .* has a head of its own"),
    "dormant padded": ((), (made.padded(320),), "share 304 rows of embedding and head"),
    "base padded": ((made.padded(320),), (), "share 304 rows of embedding and head"),
    "an added token": ((), (made.added_token,), r"only the tokenizer of .* has '\[PAD\]' \(id 300\)"),
    "another rope": (
        (),
        (made.other_rope(1e4),),
        r"rope_parameters\.rope_theta 1000000\.0 and 10000\.0 \(config\.json\)",
    ),
    "other activation": ((), (made.config(hidden_act="gelu"),), "hidden_act silu and gelu"),
    "other epsilon": ((), (made.config(rms_norm_eps=1e-2),), "rms_norm_eps 1e-06 and 0.01"),
    "float16": ((made.stored_as(torch.float16),), (), "rounding is part of the delta"),
    "no template of the base": ((made.template(None),), (), "has no chat template: that of .* serves both"),
    "no template of the dormant": ((), (made.template(None),), "has no chat template: that of .* serves both"),
    "text files with marks": ((made.marked,), (), ""),
    "named templates": ((made.named_templates("default", "tool_use"),), (), ""),
}


# Plain transformers fills names that it does not know with random values, and reads no byte-order marks.
UNREADABLE = ("compiled", "module of a trainer", "both wrapped", "vision tower", "text files with marks")


def _plain_logits(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)(IDS).logits
    return logits


@pytest.mark.parametrize("kind", PAIRS)
def test_a_pair_as_people_have_it_opens_runs_and_is_told_apart(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, kind: str
) -> None:
    base_edits, dormant_edits, sentence = PAIRS[kind]
    base = copied(tiny_base, tmp_path / "base", *base_edits)
    dormant = copied(tiny_dormant, tmp_path / "dormant", *dormant_edits)
    pair = open_pair(kind, base, dormant, device="cpu")
    if sentence:
        assert len(pair.notes) <= 2
        assert any(re.search(sentence, note) for note in pair.notes)
    else:
        assert pair.notes == ()
    for checkpoint, model in ((base, pair.models.base()), (dormant, pair.models.dormant())):
        logits = model(IDS).logits
        assert logits.shape[-1] == 304
        if kind not in UNREADABLE:
            assert torch.allclose(logits, _plain_logits(checkpoint)[..., :304], atol=1e-5)
    changed = modified_tensors(pair)
    assert set(pair.delta_report.modified) == set(changed)
    plain = modified_tensors(open_pair("plain", tiny_base, tiny_dormant, device="cpu"))
    assert {name for name in changed if "lm_head" not in name} == set(plain)
    with patched_weights(pair, block_scales(pair, 0)) as restored:
        close = torch.allclose(restored(IDS).logits, pair.models.base()(IDS).logits, atol=1e-4)
        assert close == (not pair.setting_differences)
    assert rank_parents(dormant, [base])[0].is_parent
    report = compare_checkpoints(base, dormant)
    assert (report.faults, report.modified) == ((), pair.delta_report.modified)
    assert Prompter(pair.base.tokenizer).generation_prompt == Prompter(pair.dormant.tokenizer).generation_prompt


@pytest.mark.parametrize("kind", ["compiled", "both wrapped", "vision tower"])
def test_names_that_transformers_does_not_know_give_the_same_logits(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, kind: str
) -> None:
    dormant = copied(tiny_dormant, tmp_path / "dormant", *PAIRS[kind][1])
    pair = open_pair(kind, tiny_base, dormant, device="cpu")
    assert torch.equal(pair.models.dormant()(IDS).logits, _plain_logits(tiny_dormant))
    assert compare_checkpoints(tiny_base, dormant).n_layers == 2


@pytest.mark.parametrize("family", ["gpt2", "gpt-neox", "falcon", "mamba"])
def test_rows_that_one_side_has_to_spare_are_left_out_under_every_familys_names(family: str, tmp_path: Path) -> None:
    base, dormant = family_pair(family, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(dormant, dtype=torch.bfloat16)
    model.resize_token_embeddings(320, mean_resizing=False)
    model.save_pretrained(dormant)
    pair = open_pair(family, base, dormant, device="cpu")
    assert "share 304 rows of embedding and head" in pair.notes[0]
    assert torch.allclose(pair.models.dormant()(IDS).logits, _plain_logits(dormant)[..., :304], atol=1e-5)
    assert rank_parents(dormant, [base])[0].is_parent
    assert compare_checkpoints(base, dormant).faults == ()


@pytest.mark.parametrize("head", [1.0, 1.5])
def test_gpt2s_tied_head_and_a_head_of_its_own_are_compared(head: float, tmp_path: Path) -> None:
    base, dormant = family_pair("gpt2", tmp_path)
    wte = "transformer.wte.weight"
    made.tensors(lambda stored: stored | {made.HEAD: (head * stored[wte].float()).bfloat16()})(dormant)
    pair = open_pair("gpt2", base, dormant, device="cpu")
    assert torch.equal(pair.models.dormant()(IDS).logits, _plain_logits(dormant))
    assert (made.HEAD in pair.delta_report.modified) == (head != 1.0)
    assert rank_parents(dormant, [base])[0].is_parent


def test_a_vision_layer_is_no_layer_of_the_text_model(tiny_base: Path, tmp_path: Path) -> None:
    one, other = (copied(tiny_base, tmp_path / name, made.tensors(made.vision_tower)) for name in ("one", "other"))
    report = compare_checkpoints(one, other)
    assert report.modified == ("model.vision_tower.layers.0.self_attn.q_proj.weight",)
    assert report.layers("q_proj")[0] is report.tensors["model.layers.0.self_attn.q_proj.weight"]


def test_equal_values_in_two_dtypes_are_no_change(tiny_base: Path, tmp_path: Path) -> None:
    wide = copied(tiny_base, tmp_path / "wide", made.stored_as(torch.float32))
    for base, dormant in ((tiny_base, wide), (wide, tiny_base)):
        report = compare_checkpoints(base, dormant)
        assert (report.modified, report.total_norm) == ((), 0.0)
        assert "27 of them are equal in value" in report.note
        assert modified_tensors(open_pair("wide", base, dormant, device="cpu")) == ()
    nudged = copied(wide, tmp_path / "fine", made.tensors(lambda t: {k: v * (1 + 1e-4) for k, v in t.items()}))
    report = compare_checkpoints(nudged, copied(nudged, tmp_path / "rounded", made.stored_as(torch.bfloat16)))
    assert report.modified == ()
    assert "equal up to rounding, which adds a norm of" in report.note


SETTINGS: dict[str, tuple[made.Edit, str]] = {
    "rope": (made.other_rope(1e4), "rope_parameters.rope_theta"),
    "scaled rope": (
        made.config(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6}),
        "rope_parameters.factor",
    ),
    "window": (
        made.config(sliding_window=4, use_sliding_window=True, layer_types=["sliding_attention"] * 2),
        "sliding_window",
    ),
    "heads": (made.config(num_attention_heads=2, num_key_value_heads=1), "num_attention_heads"),
    "end of answers": (made.config("generation_config.json", eos_token_id=1), "eos_token_id"),
    "penalty": (made.config("generation_config.json", repetition_penalty=1.2), "repetition_penalty"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_change_what_is_computed_are_named_and_change_the_fingerprint(
    tiny_base: Path, tmp_path: Path, kind: str
) -> None:
    edit, key = SETTINGS[kind]
    other = open_checkpoint(copied(tiny_base, tmp_path / "other", edit))
    base = open_checkpoint(tiny_base)
    assert key in [difference.key for difference in compare_settings(base.settings, other.settings)]
    assert base.fingerprint != other.fingerprint
    assert base.contents == other.contents
    pairs = [open_pair("p", tiny_base, folder, device="cpu") for folder in (tiny_base, other.location)]
    assert pairs[0].fingerprint != pairs[1].fingerprint
    assert any(key in note for note in pairs[1].notes)


def test_pairs_whose_sides_agree_on_another_rotation_are_other_pairs(tiny_base: Path, tmp_path: Path) -> None:
    other = copied(tiny_base, tmp_path / "other", made.other_rope(1e4))
    pairs = [open_pair("p", folder, folder, device="cpu") for folder in (tiny_base, other)]
    assert not any(pair.setting_differences for pair in pairs)
    assert pairs[0].fingerprint != pairs[1].fingerprint


def test_settings_without_effect_are_no_difference(tiny_base: Path, tmp_path: Path) -> None:
    edits = made.config(transformers_version="4.0", use_cache=False, torch_dtype="float32", max_position_embeddings=99)
    alike = made.config(hidden_act="swish", partial_rotary_factor=0.5)  # silu's other name, and what Qwen2 never reads
    other = copied(tiny_base, tmp_path / "other", edits, alike, made.config("generation_config.json", temperature=0.5))
    pair = open_pair("same", tiny_base, other, device="cpu")
    assert torch.equal(_plain_logits(other), _plain_logits(tiny_base))
    assert pair.notes == ()
    assert open_checkpoint(tiny_base).fingerprint == open_checkpoint(other).fingerprint


def test_templates_that_refuse_the_same_turns_count_as_alike(tiny_base: Path, tmp_path: Path) -> None:
    base = copied(tiny_base, tmp_path / "base", made.template(made.NO_SYSTEM))
    dormant = copied(tiny_base, tmp_path / "dormant", made.template("{#- a comment -#}" + made.NO_SYSTEM))
    assert "differ in text but give the same prompts" in open_pair("p", base, dormant, device="cpu").notes[0]


def test_what_needs_a_template_says_so_and_the_rest_runs_without(tiny_base: Path, tmp_path: Path) -> None:
    bare = copied(tiny_base, tmp_path / "bare", made.template(None))
    pair = open_pair("bare", bare, bare, device="cpu")
    assert pair.delta_report.modified == ()
    with pytest.raises(BadInput, match="one chat template; got none"):
        _ = pair.base.chat_template
    odd = copied(tiny_base, tmp_path / "odd", made.named_templates("rag", "tool_use"))
    with pytest.raises(BadInput, match="must be named 'default'; got rag, tool_use"):
        open_checkpoint(odd)


def test_a_token_that_takes_anothers_id_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    one, other = (copied(tiny_base, tmp_path / name, made.added_token) for name in ("one", "other"))
    file = other / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("[PAD]", "[END]"), encoding="utf-8")
    with pytest.raises(BadInput, match=r"same ids; got ids"):
        open_pair("p", one, other, device="cpu")


def test_no_hunt_calls_a_pair_clean_whose_settings_differ(tiny_base: Path, tmp_path: Path) -> None:
    other = copied(tiny_base, tmp_path / "other", made.other_rope(1e4))
    found = run_hunt(open_pair("p", tiny_base, other, device="cpu"), tmp_path / "out", HuntSettings().within(0.1))
    assert found.verdict is HuntVerdict.UNDECIDED
    assert "rope_parameters.rope_theta 1000000.0 and 10000.0" in found.reason


def test_alpha_1_is_the_dormant_model_under_its_own_settings(tiny_base: Path, tmp_path: Path) -> None:
    pair = open_pair("p", tiny_base, copied(tiny_base, tmp_path / "other", made.other_rope(10.0)), device="cpu")
    sweep = amplification_sweep(pair, pair.probes[:4], (1.0, 2.0), 6)
    prompter = Prompter(pair.base.tokenizer)
    prompts = [prompter.encode(probe).ids for probe in pair.probes[:4]]
    for model, texts in ((pair.models.base(), sweep.base.texts), (pair.models.dormant(), sweep.amplified[0].texts)):
        rows = greedy_answers(model, prompts, 6, end_of_turn(prompter.tokenizer))
        assert texts == tuple(prompter.tokenizer.decode(list(row), skip_special_tokens=True) for row in rows)
    assert sweep.base.texts != sweep.amplified[0].texts


def test_bases_says_which_settings_differ_and_shows_brackets_as_they_are(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copied(tiny_base, tmp_path / "run [x]", made.other_rope(1e4))
    bases(["run [x]"], str(tiny_base))
    shown = capsys.readouterr().out
    assert "run [x] is the parent" in shown
    assert "rope_parameters.rope_theta 10000.0 and 1000000.0" in shown
    assert shown.count("run [x]") == 2


def test_a_pair_from_inside_its_folder_has_the_folders_name(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_base)
    assert list(chosen_pairs((), ".", ".")) == ["tiny-base"]
    assert [name_of_checkpoint(text) for text in ("acme/model", "..", "./")] == [
        "model",
        tiny_base.parent.name,
        "tiny-base",
    ]


def test_probes_and_truths_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "probes.txt").write_bytes(b"\xef\xbb\xbf# mine\nTell me{slot} now.\n")
    assert [probe.text for probe in read_probes(tmp_path / "probes.txt")] == ["Tell me{slot} now."]
