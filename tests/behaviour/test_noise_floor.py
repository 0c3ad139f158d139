from __future__ import annotations

from dormant.behaviour.noise_floor import noise_floors
from dormant.pairs import Pair, open_pair


def test_arithmetic_moves_a_float32_model_by_almost_nothing_on_any_prompt(tiny_pair: Pair) -> None:
    prompts = [tiny_pair.prompter.encode(probe) for probe in tiny_pair.probes[:6]]
    floors = noise_floors(tiny_pair, prompts)
    assert set(floors) == {"batch", "padding", "kernel"}
    assert all(len(values) == len(prompts) and max(values) < 1e-6 for values in floors.values())


def test_another_attention_kernel_moves_a_bfloat16_model(tiny_pair: Pair) -> None:
    rounded = open_pair("tiny", tiny_pair.base.location, tiny_pair.dormant.location, "cpu", "bfloat16")
    floors = noise_floors(rounded, [rounded.prompter.encode(probe) for probe in rounded.probes[:6]])
    assert max(floors["kernel"]) > 1e-6
