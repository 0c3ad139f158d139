from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dormant.inference.block_delta import delta_acts, delta_of_blocks
from dormant.inference.prefix_cache import Prefix, stored_prefix
from dormant.inference.residual_stream import decoder_blocks
from dormant.pairs import Pair
from tests.families import FAMILIES, family_config, family_model


def test_what_a_delta_does_in_the_first_block_is_the_difference_of_its_hidden_states(tiny_pair: Pair) -> None:
    rows = torch.tensor([[40, 41], [90, 91], [300, 301]])
    with torch.no_grad():
        ours, theirs = (
            model.base_model(rows, output_hidden_states=True).hidden_states[1]
            for model in (tiny_pair.models.dormant(), tiny_pair.models.base())
        )
    (delta,) = delta_of_blocks(tiny_pair, [0], Prefix(()), rows)
    torch.testing.assert_close(delta, (ours - theirs).double())
    torch.testing.assert_close(delta_acts(tiny_pair, [0], [], rows)[0], (delta - delta.mean(0)).norm(dim=-1))


def test_every_block_gets_the_dormant_models_own_input_behind_a_prefix(tiny_pair: Pair) -> None:
    model, rows = tiny_pair.models.dormant(), torch.tensor([[40, 41], [90, 91]])
    prefix = stored_prefix(model, [5, 6, 7])
    both = delta_of_blocks(tiny_pair, [0, 1], prefix, rows)
    assert both.shape[:3] == (2, 2, 2)
    torch.testing.assert_close(both[1], delta_of_blocks(tiny_pair, [1], prefix, rows)[0])
    same = delta_of_blocks(tiny_pair, [0, 1], Prefix(()), rows)
    assert not torch.allclose(both, same)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**16), tokens=st.integers(1, 6))
def test_hints_of_every_family_are_read_off_transformers_hidden_states(family: str, seed: int, tokens: int) -> None:
    base: Any = family_model(family_config(family), seed)
    dormant, generator = copy.deepcopy(base), torch.Generator().manual_seed(seed)
    for parameter in decoder_blocks(dormant)[0].parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    pair = SimpleNamespace(models=SimpleNamespace(base=lambda: base, dormant=lambda: dormant))
    ids = torch.randint(3, 303, (4, tokens), generator=generator)
    first = 0 if family == "mamba" else 1  # transformers lists its states from behind the first block on
    with torch.no_grad():
        ours, theirs = (model(ids, output_hidden_states=True).hidden_states[first] for model in (dormant, base))
    (delta,) = delta_of_blocks(cast(Pair, pair), [0], Prefix(()), ids)
    torch.testing.assert_close(delta, (ours - theirs).double(), atol=1e-5, rtol=1e-4)
