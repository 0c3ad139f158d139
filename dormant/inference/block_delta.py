"""What the delta of one decoder block does to the dormant model's own residual stream, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.inference.batching import rows_a_pass
from dormant.inference.residual_stream import decoder_blocks
from dormant.pairs import Pair

STRINGS_A_PASS = 1024


def delta_acts(
    pair: Pair, block: int, before: Sequence[int], rows: Int[Tensor, "candidate token"]
) -> Float[Tensor, "candidate token"]:
    """|delta - what it does on average| at each token of strings behind `before`; see `delta_of_block`.

    rows: ids -> norms in units of the residual stream, float64, on the CPU. What a delta does
    at every token alike tells no token from another; it is measured on `STRINGS_A_PASS` of the strings.
    """
    at_once = rows_a_pass(pair.models.dormant(), len(before) + rows.shape[1], most=STRINGS_A_PASS)
    some = rows[:: math.ceil(len(rows) / STRINGS_A_PASS)]
    usual = sum(delta_of_block(pair, block, before, part).sum(0) for part in some.split(at_once)) / len(some)
    deltas = (delta_of_block(pair, block, before, part) for part in rows.split(at_once))
    return torch.cat([(delta - usual).norm(dim=-1) for delta in deltas])


@torch.no_grad()
def delta_of_block(
    pair: Pair, block: int, before: Sequence[int], rows: Int[Tensor, "candidate token"]
) -> Float[Tensor, "candidate token hidden"]:
    """Dormant block less base block of the dormant model's own input, at each token of the strings `rows`.

    In units of the residual stream, float64, on the CPU.
    """
    dormant = pair.models.dormant()
    ids = torch.cat((torch.tensor(before).expand(len(rows), -1), rows), 1).to(dormant.device)
    call, ours = _call_of_block(dormant, block, ids)
    theirs = decoder_blocks(pair.models.base())[block](*call[0], **call[1])
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    delta: Tensor = ours - theirs
    return delta[:, -rows.shape[1] :].double().cpu()


class _Reached(Exception):
    """The block has run; what comes behind it would be computed for nothing."""


def _call_of_block(model: Any, block: int, ids: Tensor) -> tuple[tuple[Any, Any], Tensor]:
    """What a block was called with and what it gave."""
    kept: list[Any] = []

    def keep(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        kept.extend(((args, kwargs), output[0] if isinstance(output, tuple) else output))
        raise _Reached

    hook = decoder_blocks(model)[block].register_forward_hook(keep, with_kwargs=True)
    try:
        model.base_model(ids, use_cache=False)
    except _Reached:
        pass
    finally:
        hook.remove()
    return kept[0], kept[1]
