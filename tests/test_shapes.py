"""The shapes in signatures are checked while these tests run, wherever the function was imported to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from dormant import layer0
from dormant.activations.layer_divergence import LayerDivergence
from dormant.weights.directions import beside_random
from tests.builders import tiny_config
from tests.layer0.builders import layer0_of, random_model


def test_a_tensor_of_another_shape_is_refused() -> None:
    with pytest.raises(TypeCheckError):
        beside_random(torch.zeros(3), 1, 0)
    with pytest.raises(TypeCheckError):
        layer0.rotate(torch.zeros(2, 4), layer0.read_rope(tiny_config()), torch.zeros(2))


def test_the_tensors_of_one_object_agree_in_their_dimensions() -> None:
    plain = layer0_of(tiny_config(), dict(random_model(tiny_config(), 0).state_dict()))
    with pytest.raises(TypeCheckError):
        replace(plain, gain=torch.zeros(3))
    with pytest.raises(TypeCheckError):
        LayerDivergence(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 3))
