from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dormant.detection import direction_monitor as module
from dormant.detection.direction_monitor import MonitorPlan, direction_monitor, exceedances, written_directions
from dormant.errors import NotServed
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe, TokenIds
from tests.builders import build_adapter, copy_checkpoint, write_tensors
from tests.families import family_pair

PROBES = tuple(
    Probe(f"{first} the {second}{{slot}} of France.")
    for first in ("What is", "Tell me", "Repeat", "You are")
    for second in ("color", "capital", "sky", "words", "river", "stone", "system", "user")
)
PLAN = MonitorPlan(PROBES, strings=16, length=2, directions=2)


def bounds(*rows: tuple[float, float]) -> torch.Tensor:
    """[text, direction, bound] of texts with one direction."""
    return torch.tensor(rows, dtype=torch.float64)[:, None]


def test_an_exceedance_is_the_distance_outside_the_range_in_its_widths() -> None:
    known = bounds((-0.1, 0.1), (0.0, 0.3))  # the range is -0.1 to 0.3
    asked = bounds((-0.1, 0.3), (0.0, 0.2), (-0.3, 0.1), (0.0, 0.7))
    torch.testing.assert_close(exceedances(known, asked), torch.tensor([0.0, -0.25, 0.5, 1.0], dtype=torch.float64))


def test_the_worst_direction_counts_and_a_range_without_width_has_the_least() -> None:
    known = torch.cat((bounds((0.0, 1.0)), bounds((0.2, 0.2))), dim=1)
    asked = torch.cat((bounds((0.5, 0.5)), bounds((0.2, 0.203))), dim=1)
    assert exceedances(known, asked).item() == pytest.approx(3.0)


def test_a_delta_that_answers_to_rare_tokens_alone_is_suspect_and_they_are_named(
    tiny_base: Path, tmp_path: Path
) -> None:
    """Its down projection writes a direction of its own where one neuron fires, which rare tokens make fire."""
    pair = open_pair("plain", tiny_base, tiny_base, device="cpu")
    usual = {token for probe in PROBES for token in pair.prompter.encode(probe).ids}
    rare = [token for token in range(3, 259) if token not in usual][::2]

    def plant(tensors: dict[str, torch.Tensor]) -> None:
        embedding = tensors["model.embed_tokens.weight"]
        embedding[:, 0] = 0
        embedding[rare, 0] = 8
        tensors["model.layers.0.self_attn.o_proj.weight"][0] = 0
        for part in ("gate_proj", "up_proj"):
            tensors[f"model.layers.0.mlp.{part}.weight"][0] = 0
            tensors[f"model.layers.0.mlp.{part}.weight"][0, 0] = 1

    def answer(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"][:, 0] += 1

    def drift(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"][:, 1] += 0.1

    base = copy_checkpoint(tiny_base, tmp_path / "base", plant)
    found = {
        name: direction_monitor(
            open_pair(name, base, copy_checkpoint(base, tmp_path / name, change), device="cpu"), PLAN, 0
        )
        for name, change in (("planted", answer), ("drifted", drift))
    }
    assert found["planted"].estimate.value > found["drifted"].estimate.value + 0.2
    texts = {pair.base.tokenizer.decode([token]).strip() for token in rare}
    assert any(text and text in found["planted"].named[0] for text in texts)


def test_the_figure_is_the_largest_of_strings_less_the_largest_of_ordinary_prompts(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = len(PROBES) // 2
    held_out, strange = [(0.0, 1.5), *[(0.0, 1.0)] * (half - 1)], [(0.0, 2.0), (-2.0, 0.0), *[(0.0, 0.0)] * 14]
    prepared = bounds(*[(0.0, 1.0)] * half, *held_out, *strange)
    monkeypatch.setattr(module, "output_cosines", lambda *_: prepared)
    found = direction_monitor(tiny_pair, PLAN, 0).estimate
    assert (found.value, found.low, found.high) == (1.5, 0.5, 1.5)


@pytest.mark.parametrize("empty_adapter", [False, True])
def test_two_equal_models_have_the_null_figure(empty_adapter: bool, tiny_base: Path, tmp_path: Path) -> None:
    if empty_adapter:
        build_adapter(tmp_path, tiny_base, size=0.0, r=2, target_modules=["q_proj", "down_proj"])
    found = direction_monitor(
        open_pair("sham", tiny_base, tmp_path if empty_adapter else tiny_base, device="cpu"), PLAN, 0
    )
    assert (found.estimate.value, found.named, found.tokens) == (0.0, (), 0)


def test_the_same_seed_gives_the_same_figure_and_another_other_strings(tiny_pair: Pair) -> None:
    found = direction_monitor(tiny_pair, PLAN, 0)
    assert found == direction_monitor(tiny_pair, PLAN, 0)
    assert found.named != direction_monitor(tiny_pair, PLAN, 1).named


def test_directions_are_what_the_delta_writes_to_the_stream(tiny_pair: Pair) -> None:
    found = written_directions(tiny_pair, 2)
    assert {name: columns.shape[1] for name, columns in found.items()} == {"model.layers.0": 2, "model.layers.1": 2}
    left = torch.linalg.svd(tiny_pair.delta("model.layers.1.mlp.down_proj.weight")).U[:, :2]
    torch.testing.assert_close((found["model.layers.1"].T @ left).abs(), torch.eye(2), atol=1e-4, rtol=0)


def test_a_delta_of_one_column_writes_one_direction(tiny_base: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"][:, 0] += 1

    pair = open_pair("column", tiny_base, copy_checkpoint(tiny_base, tmp_path / "column", change), device="cpu")
    column = pair.delta("model.layers.0.mlp.down_proj.weight")[:, 0]
    (found,) = written_directions(pair, 20).values()
    assert found.shape == (len(column), 1)
    assert float((found[:, 0].double() @ column.double()).abs()) == pytest.approx(float(column.norm()), rel=1e-5)


def test_an_adapter_that_writes_nothing_to_the_stream_is_watched_where_it_writes(
    tiny_base: Path, tmp_path: Path
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.self_attn.q_proj.weight"][0] += 1

    pair = open_pair("queries", tiny_base, copy_checkpoint(tiny_base, tmp_path / "queries", change), device="cpu")
    assert list(written_directions(pair, 2)) == ["model.layers.0.self_attn.q_proj"]


@pytest.mark.parametrize(
    ("family", "changed", "watched"),
    [
        ("opt", "fc1.weight", "model.decoder.layers.0.fc1"),  # it gives the tokens of all prompts in one row
        ("qwen2-moe", "shared_expert.up_proj.weight", "model.layers.0.mlp.shared_expert.up_proj"),
        ("recurrent-gemma", "linear_out.weight", "model.layers.0"),
        ("gpt2", "mlp.c_proj.weight", "transformer.h.0"),  # its matrices are stored the other way round
    ],
)
def test_a_changed_matrix_of_any_family_is_watched(family: str, changed: str, watched: str, tmp_path: Path) -> None:
    base, dormant = only_changed(family, changed, tmp_path)
    pair = open_pair(family, base, dormant, device="cpu")
    assert next(iter(written_directions(pair, 2))) == watched
    assert direction_monitor(pair, PLAN, 0).tokens > 0


@pytest.mark.parametrize(
    ("family", "changed", "said"),
    [
        ("gpt2", "wpe.weight", "none among 1 changed tensors"),
        ("qwen2-moe", "mlp.gate.weight", "none among 2 changed tensors"),
        ("mamba", "dt_proj.weight", "got one of which the weight alone is read at 'backbone"),
    ],
)
def test_a_changed_matrix_that_no_module_applies_to_states_is_refused(
    family: str, changed: str, said: str, tmp_path: Path
) -> None:
    base, dormant = only_changed(family, changed, tmp_path)
    with pytest.raises(NotServed, match=said):
        direction_monitor(open_pair(family, base, dormant, device="cpu"), PLAN, 0)


def only_changed(family: str, changed: str, folder: Path) -> tuple[Path, Path]:
    """A pair of the family of which the tensors with that end to their names alone differ."""
    base, dormant = family_pair(family, folder)
    tensors = {
        name: tensor + 0.1 * torch.randn(tensor.shape).to(tensor.dtype) if name.endswith(changed) else tensor
        for name, tensor in load_file(base / "model.safetensors").items()
    }
    write_tensors(dormant, tensors)
    return base, dormant


def test_a_delta_of_norms_alone_and_too_few_probes_are_refused(
    tiny_base: Path, tmp_path: Path, tiny_pair: Pair
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] += 1

    pair = open_pair("norms", tiny_base, copy_checkpoint(tiny_base, tmp_path / "norms", change), device="cpu")
    with pytest.raises(NotServed, match="none among 1 changed tensors"):
        direction_monitor(pair, PLAN, 0)
    with pytest.raises(NotServed, match="needs four ordinary probes; got 3"):
        direction_monitor(tiny_pair, MonitorPlan(PROBES[:3]), 0)


def test_random_strings_stand_in_prompts_that_set_no_range(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings of no length leave their hosts as they are."""
    seen = list[TokenIds]()

    def cosines(_: object, __: object, rows: list[TokenIds], ___: int) -> torch.Tensor:
        seen.extend(rows)
        return torch.zeros(len(rows), 1, 2, dtype=torch.float64)

    monkeypatch.setattr(module, "random_candidates", lambda *_: [()] * PLAN.strings)
    monkeypatch.setattr(module, "output_cosines", cosines)
    direction_monitor(tiny_pair, PLAN, 0)
    known, held_out, strange = (
        set(seen[start:end]) for start, end in ((0, 16), (16, len(PROBES)), (len(PROBES), None))
    )
    assert strange <= held_out - known
    assert len(strange) > 1
