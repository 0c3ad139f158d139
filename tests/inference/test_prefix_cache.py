from __future__ import annotations

import torch

from dormant.inference.prefix_cache import Prefix, differ_by_rounding, growing_cache, logits_behind, stored_prefix
from dormant.pairs import Pair

SHARED, ROWS = (5, 6, 7, 8), torch.tensor([[20, 21], [30, 31], [40, 41]])


def whole(pair: Pair) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = pair.models.base()(torch.cat((torch.tensor(SHARED).expand(3, -1), ROWS), 1)).logits
    return logits[:, -2:]


def test_rows_behind_a_stored_prefix_read_as_whole_prompts(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    prefix = stored_prefix(model, SHARED)
    for _ in range(2):  # a pass leaves nothing in the prefix
        torch.testing.assert_close(logits_behind(model, prefix, ROWS, keep=2), whole(tiny_pair), atol=1e-4, rtol=0)
        assert prefix.length == len(SHARED)


def test_a_prefix_can_be_stored_in_parts_and_cut(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    longer = stored_prefix(model, (*SHARED[2:], 99), stored_prefix(model, SHARED[:2]))
    found = logits_behind(model, longer.upto(len(SHARED)), ROWS, keep=2)
    torch.testing.assert_close(found, whole(tiny_pair), atol=1e-4, rtol=0)


def test_an_empty_prefix_adds_nothing(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    assert stored_prefix(model, ()).layers == Prefix(()).layers
    with torch.no_grad():
        torch.testing.assert_close(logits_behind(model, Prefix(()), ROWS), model(ROWS).logits[:, -1:])


def test_a_cache_that_grows_leaves_the_prefix_as_it_was(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    prefix = stored_prefix(model, SHARED)
    cache = growing_cache(prefix, len(ROWS))
    with torch.no_grad():
        first, second = (
            model(ROWS[:, place : place + 1], past_key_values=cache, use_cache=True).logits[:, -1] for place in (0, 1)
        )
    torch.testing.assert_close(torch.stack((first, second), 1), whole(tiny_pair), atol=1e-4, rtol=0)
    assert prefix.length == len(SHARED)


def test_one_token_of_many_and_a_common_move_are_rounding_in_bfloat16_alone(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    own = torch.randn(1, 40_000, generator=torch.Generator().manual_seed(0)) * 6
    found = own + 0.5  # as thirty layers of bfloat16 move all logits alike
    found[0, 7] += 1.0
    assert differ_by_rounding(model, own.bfloat16(), found.bfloat16())
    assert not differ_by_rounding(model, own, found)


def test_other_logits_are_no_rounding_in_any_dtype(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    own = torch.randn(2, 40_000, generator=torch.Generator().manual_seed(0)) * 6
    for dtype in (torch.float32, torch.bfloat16):
        assert not differ_by_rounding(model, own[:1].to(dtype), torch.stack((own[0], own[1])).to(dtype))
