from __future__ import annotations

import torch

from dormant.inference.block_delta import delta_acts, delta_of_blocks, prefixes_of_blocks
from dormant.pairs import Pair


def test_what_a_delta_does_in_the_first_block_is_the_difference_of_its_hidden_states(tiny_pair: Pair) -> None:
    before, rows = [5, 6, 7], torch.tensor([[40, 41], [90, 91], [300, 301]])
    ids = torch.cat((torch.tensor(before).expand(3, -1), rows), 1)
    with torch.no_grad():
        ours, theirs = (
            model.base_model(ids, output_hidden_states=True).hidden_states[1][:, -2:]
            for model in (tiny_pair.models.dormant(), tiny_pair.models.base())
        )
    (delta,) = delta_of_blocks(tiny_pair, [0], prefixes_of_blocks(tiny_pair, [0], before), rows)
    torch.testing.assert_close(delta, (ours - theirs).double(), atol=1e-5, rtol=1e-5)
    expected = (delta - delta.mean(0)).norm(dim=-1)
    torch.testing.assert_close(delta_acts(tiny_pair, [0], before, rows)[0], expected)


def test_a_block_gives_alone_what_it_gives_among_others(tiny_pair: Pair) -> None:
    before, rows = [5, 6, 7], torch.tensor([[40, 41], [90, 91]])
    both = delta_acts(tiny_pair, [0, 1], before, rows)
    torch.testing.assert_close(both, torch.cat([delta_acts(tiny_pair, [at], before, rows) for at in (0, 1)]))
