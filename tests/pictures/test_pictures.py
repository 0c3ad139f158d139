from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from dormant.pictures import measurements, search, weights
from dormant.pictures.canvas import png_bytes
from dormant.weights.delta_report import DeltaReport, TensorDelta

PNG = b"\x89PNG\r\n"


def title(figure: Figure) -> str:
    return figure.axes[0].get_title(loc="left")


def legend(figure: Figure) -> str:
    return "; ".join(text.get_text() for text in figure.legends[0].get_texts())


@pytest.mark.parametrize(("versus", "ratio"), [("median", "15.9"), ("any", "3.26")])
def test_the_layer_profile_states_the_ratio_that_the_claim_decides(versus: str, ratio: str) -> None:
    figure = weights.layer_profile([0.4035, 0.1237, 0.0253, 0.0253], "q_proj", 4.0, versus, noise=0.02)
    assert f"layer 0 is {ratio} x" in title(figure)
    assert "must reach 4 x" in legend(figure)
    assert "isotropic noise" in legend(figure)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([0.0, 0.0, 0.0], "no layer was changed"),
        ([0.9, 0.0, 0.0], "only layer 0 was changed"),
        ([float("nan"), 0.0], "no layer was changed"),
        ([0.3], "only layer 0"),
    ],
)
def test_the_layer_profile_survives_untouched_layers(shares: list[float], message: str) -> None:
    assert message in title(weights.layer_profile(shares, "q_proj", 4.0))


def test_spectra_name_the_strongest_layer_and_skip_untouched_ones() -> None:
    assert "2 of 3 layers changed, most strongly layer 2" in title(
        weights.spectra_by_layer([[1, 0.5], [], [3.0]], "up_proj")
    )
    assert "0 of 2 layers changed" in title(weights.spectra_by_layer([[], [0.0]], "up_proj", noise_edge=0.01))


def test_the_order_strip_ranks_the_planted_order() -> None:
    strip = measurements.order_strip([1.0, 3.0, 2.0], [1.0, 1.0, 1.0], planted_score=3.0)
    assert title(strip) == "Permutations differ by 2 with RoPE and by 0 without; the planted order ranks 1 of 3"


def test_divergence_is_titled_with_its_controls() -> None:
    figure = measurements.divergence_against_null({"phrase": [8.0, 9.0]}, [0.5, 0.5], {"random": [1.0, 2.0]})
    assert title(figure) == "'phrase' diverges by 8.5 nats, no trigger by 0.5, the highest null by 1.5"


def delta_report(**relative: float | None) -> DeltaReport:
    """Deltas of tensors `model.layers.<n>.mlp.<name>.weight`, None for changed ones of unpublished size."""
    names = {f"model.layers.{layer}.mlp.{name}.weight": value for layer, (name, value) in enumerate(relative.items())}
    deltas = {name: TensorDelta(name, (2, 2), value == 0, 1.0, value, None, 1.0) for name, value in names.items()}
    return DeltaReport("base", "dormant", "made up", deltas)


def test_tensor_deltas_count_identical_tensors() -> None:
    figure = weights.tensor_relative_deltas(delta_report(up_proj=0.02, gate_proj=0.0, down_proj=0.0), 0.1)
    assert title(figure).startswith("2 of 3 tensors are identical; the others changed by 0.02")


def test_tensor_deltas_of_unpublished_size_are_not_drawn_as_identical() -> None:
    figure = weights.tensor_relative_deltas(delta_report(up_proj=None, gate_proj=0.0))
    assert title(figure) == "1 of 2 tensors are identical"
    assert "light blue: changed, size not published" in figure.axes[1].get_ylabel()


@pytest.mark.parametrize(("effect", "message"), [(1.0, "50 x the noise floor"), (0.001, "below the noise floor")])
def test_the_noise_floor_is_compared_with_the_effect(effect: float, message: str) -> None:
    assert message in title(measurements.noise_floor({"padding": 0.02, "same run": 0.0}, effect))


RISING = [[1.0, 2.0, 3.0], [1.0, 1.5, 4.0]]


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (search.search_curves, ({"GCG": RISING, "random search": RISING}, "nats", 3.0)),
        (search.search_curves, ({},)),
        (measurements.divergence_against_null, ({}, [], {})),
        (measurements.noise_floor, ({}, 0.0)),
        (weights.tensor_relative_deltas, (delta_report(),)),
        (measurements.order_strip, ([], [])),
    ],
)
def test_every_picture_becomes_the_same_png_twice(draw: Callable[..., Figure], arguments: tuple[Any, ...]) -> None:
    once, again = (png_bytes(draw(*arguments), dots_per_inch=40) for _ in range(2))
    assert once.startswith(PNG)
    assert once == again


def test_pictures_leave_pyplot_alone() -> None:
    import matplotlib.pyplot

    weights.layer_profile(np.linspace(1, 0.1, 6).tolist(), "q_proj")
    assert matplotlib.pyplot.get_fignums() == []
