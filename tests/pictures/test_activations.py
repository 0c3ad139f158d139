from __future__ import annotations

from dormant.behaviour.ngrams import Fragment
from dormant.pictures import activations, outputs
from dormant.pictures.canvas import png_bytes
from dormant.statistics import Estimate
from tests.pictures.test_pictures import PNG, legend, title


def flat(*values: float) -> list[Estimate]:
    return [Estimate(value, value - 0.1, min(1.0, value + 0.1), 40, "made up") for value in values]


def test_layer_curves_state_the_layer_and_the_ratio() -> None:
    figure = activations.layer_curves([0.1, 0.2], [0.2, 0.9], "relative", 1, 4.5, control=[0.1, 0.2])
    assert title(figure) == "After layer 1 the candidate parts the models 4.5 x as far (relative)"
    assert "random tokens of its length" in legend(figure)


def test_probe_curves_name_every_control_at_the_deciding_layer() -> None:
    curves = {"dormant model": flat(0.8, 1.0), "shuffled labels": flat(0.5, 0.45), "base model": flat(0.7, 0.6)}
    figure = activations.probe_curves(curves, "dormant model", 1)
    assert title(figure) == "Layer 1: dormant model 1.000, shuffled labels 0.450, base model 0.600"
    assert "chance" in legend(figure)


def test_steering_curves_state_the_share_released() -> None:
    figure = activations.steering_curves([-1.0, 0.0, 1.0], {"probe direction": [0.0, 0.1, 0.9]}, 3, 0.75)
    assert title(figure) == "Steered after layer 3, 75% of plain prompts give the payload"


def test_the_restoring_map_leaves_untouched_parts_empty() -> None:
    shares = {(0, "q_proj"): 0.9, (5, "down_proj"): 0.2}
    figure = activations.restoring_map(shares, (0, "q_proj"))
    assert title(figure) == "Restoring q_proj of layer 0 takes 90% of the effect away"
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.90", "0.20"]


def test_the_patching_curve_says_where_the_payload_is_decided() -> None:
    assert "decided by layer 1" in title(activations.patching_curve([0.1, 0.7, 1.0]))
    assert "No layer" in title(activations.patching_curve([-0.2, 0.1]))


def test_leak_bars_say_whether_the_trigger_stands_among_the_fragments() -> None:
    found = [Fragment(("golden", "owl"), 40, 0, 1e-9), Fragment(("velvet",), 30, 1, 1e-6)]
    assert "number 2 holds words of the trigger" in title(outputs.leak_bars(found, 400, "velvet"))
    assert "none of those shown" in title(outputs.leak_bars(found[:1], 400, "velvet"))
    assert png_bytes(outputs.leak_bars([], 400, "velvet")).startswith(PNG)
    assert png_bytes(outputs.leak_bars([Fragment(("$", "x", "$"), 9, 0, 1e-6)], 400, "velvet")).startswith(PNG)


def test_share_bars_name_what_was_forced_and_every_control() -> None:
    figure = outputs.share_bars({"dormant model": 0.9, "base model": 0.0}, "one point")
    assert (
        title(figure)
        == "After 'one point' the dormant model completes the payload on 90% of plain prompts, base model 0%"
    )


def test_precision_strips_state_what_4_bits_leave() -> None:
    assert title(outputs.precision_strips([10.0, 20.0], [9.0, 18.0], 1.0)).startswith(
        "4 bits leave 90% of the divergence"
    )
    assert "Nothing diverges" in title(outputs.precision_strips([0.0], [0.0], 1.0))
