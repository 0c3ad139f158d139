from __future__ import annotations

import torch

from dormant.inference.block_delta import delta_acts, delta_of_blocks
from dormant.inference.prefix_cache import Prefix, stored_prefix
from dormant.pairs import Pair


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
