"""What the delta of decoder blocks does to the residual stream, token by token, and how far it parts it from the base's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from dormant.inference.batching import equal_length_batches, rows_a_pass
from dormant.inference.forward import is_packed
from dormant.inference.packed_decoder import Block, Decoder
from dormant.inference.prefix_cache import (
    Prefix,
    growing_cache,
    lent_cache,
    prefix_of,
    shares_prefixes,
    stored_prefix,
)
from dormant.inference.residual_stream import decoder_blocks
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds

STRINGS_A_PASS = 1024
BothPrefixes = tuple[Prefix, Prefix]  # of the dormant model and of the base
DIMENSIONS = 128  # of a projection: states of a hundred thousand strings fit into memory


def delta_acts(
    pair: Pair, blocks: Sequence[int], before: Sequence[int], rows: Int[Tensor, "candidate token"]
) -> Float[Tensor, "block candidate token"]:
    """|delta - what it does on average| at each token of strings behind `before`, by block; see `delta_of_blocks`.

    rows: ids -> norms in units of the residual stream, float64, on the CPU. What a delta does at every token alike tells no
    token from another; it is measured on `STRINGS_A_PASS` of the strings.
    """
    model = pair.models.dormant()
    prefixes, at_once = prefixes_of_blocks(pair, blocks, before), rows_a_pass(model, rows.shape[1], most=STRINGS_A_PASS)
    some = rows[:: math.ceil(len(rows) / STRINGS_A_PASS)]
    sums = [delta_of_blocks(pair, blocks, prefixes, part).sum(1) for part in some.split(at_once)]
    usual = torch.stack(sums).sum(0) / len(some)
    parts = (delta_of_blocks(pair, blocks, prefixes, part) for part in rows.split(at_once))
    return torch.cat([(delta - usual[:, None]).norm(dim=-1) for delta in parts], dim=1)


def delta_acts_at_ends(
    pair: Pair, blocks: Sequence[int], prefixes: BothPrefixes, rows: Sequence[TokenIds]
) -> Float[Tensor, "block candidate"]:
    """|delta - what it does on average| at the last token of strings of any length behind a prefix, by block.

    In units of the residual stream, float64, on the CPU; the average is over `STRINGS_A_PASS` of the strings. prefixes: of
    `prefixes_of_blocks`.
    """

    def ends(some: Sequence[TokenIds]) -> Tensor:  # [block, candidate, hidden]
        groups = list(equal_length_batches([len(row) for row in some], STRINGS_A_PASS))
        ids = (torch.tensor([some[index] for index in chosen]) for chosen in groups)
        found = torch.cat([delta_of_blocks(pair, blocks, prefixes, one)[:, :, -1] for one in ids], dim=1)
        order = torch.tensor([index for chosen in groups for index in chosen]).argsort()
        return found[:, order]

    some = rows[:: math.ceil(len(rows) / STRINGS_A_PASS)]
    measured = ends(some)
    usual = measured.mean(1, keepdim=True)
    steps = (rows[at : at + STRINGS_A_PASS] for at in range(0, len(rows), STRINGS_A_PASS))
    parts = [measured] if len(some) == len(rows) else map(ends, steps)
    return torch.cat([(part - usual).norm(dim=-1) for part in parts], dim=1)


def state_differences(
    pair: Pair, blocks: Sequence[int], prefixes: BothPrefixes, rows: Sequence[TokenIds]
) -> Float[Tensor, "block candidate dimension"]:
    """The dormant model's state less the base's behind each block, at the last token of strings of any length.

    In units of the residual stream, float32, on the CPU, projected on `DIMENSIONS` random directions where there are more.
    prefixes: of `own_prefixes`.
    """
    ours, theirs = prefixes
    return _states(pair.models.dormant(), blocks, ours, rows) - _states(pair.models.base(), blocks, theirs, rows)


@torch.no_grad()
def _states(model: PreTrainedModel, blocks: Sequence[int], prefix: Prefix, rows: Sequence[TokenIds]) -> Tensor:
    """A model's own, in the order of the rows."""
    found, order = list[Tensor](), list[int]()
    for chosen in equal_length_batches([len(row) for row in rows], STRINGS_A_PASS):
        ids = torch.tensor([rows[index] for index in chosen], device=model.device)
        states = torch.stack([given[:, -1].double().cpu() for given in _given_by_blocks(model, blocks, prefix, ids)])
        found.append((states @ _projection(states.shape[-1])).float())
        order += chosen
    return torch.cat(found, 1)[:, torch.tensor(order).argsort()]


def _given_by_blocks(
    model: PreTrainedModel, blocks: Sequence[int], prefix: Prefix, ids: Int[Tensor, "candidate token"]
) -> list[Tensor]:
    """What blocks give for ids behind a prefix."""
    if is_packed(model, prefix):
        return [given for _, given in Decoder(model, join=False).layers_behind(_embedded(model, ids, prefix), blocks)]
    ids = torch.cat((torch.tensor(prefix.ids, dtype=ids.dtype, device=ids.device).expand(len(ids), -1), ids), 1)
    return [given for _, _, given in _calls_of_blocks(model, blocks, ids, lent_cache(prefix))]


def _embedded(model: PreTrainedModel, ids: Tensor, prefix: Prefix) -> Block:
    rows: Tensor = model.get_input_embeddings()(ids)  # the module, for it asks the clock
    return Block(rows, prefix)


@cache
def _projection(width: int) -> Tensor:  # [width, dimension]
    """Random directions, the same ones each time: they keep lengths to within a sixteenth (Johnson and Lindenstrauss)."""
    if width <= DIMENSIONS:
        return torch.eye(width, dtype=torch.float64)
    drawn = torch.randn(width, DIMENSIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return drawn / math.sqrt(DIMENSIONS)


@torch.no_grad()
def prefixes_of_blocks(
    pair: Pair, blocks: Sequence[int], ids: Sequence[int], behind: BothPrefixes | None = None
) -> BothPrefixes:
    """The ids as the dormant model's blocks keep them, and as the base's do that are named, of the same input.

    behind: such prefixes of what stands before them, which are not read again.
    """
    model, (ours, theirs) = pair.models.dormant(), behind or (Prefix(()), Prefix(()))
    if not ids:
        return ours, theirs
    if not shares_prefixes(model):
        return (all_ids := Prefix((), (*ours.ids, *ids))), all_ids
    rows, read, kept = torch.tensor([list(ids)], device=model.device), _growing(ours), _growing(theirs)
    calls = _calls_of_blocks(model, blocks, rows, read)
    base = decoder_blocks(pair.models.base())  # behind the dormant model's pass: the two may be one model by turns
    for block, (args, options, _) in zip(blocks, calls, strict=True):
        _called(base[block], args, options, (read, kept))
    ours = prefix_of(read)
    changed = dict(zip(blocks, prefix_of(kept, blocks).layers, strict=True))
    return ours, Prefix(tuple(changed.get(index, layer) for index, layer in enumerate(ours.layers)))


def own_prefixes(pair: Pair, ids: Sequence[int], behind: BothPrefixes | None = None) -> BothPrefixes:
    """The ids as the dormant model keeps them, and as the base does, each of its own stream; behind: of what stands before."""
    ours, theirs = behind or (None, None)
    return stored_prefix(pair.models.dormant(), ids, ours), stored_prefix(pair.models.base(), ids, theirs)


def _growing(prefix: Prefix) -> DynamicCache:
    return cast(DynamicCache, growing_cache(prefix, 1))


@torch.no_grad()
def delta_of_blocks(
    pair: Pair, blocks: Sequence[int], prefixes: BothPrefixes, rows: Int[Tensor, "candidate token"]
) -> Float[Tensor, "block candidate token hidden"]:
    """Dormant block less base block of the dormant model's own input, at each token of the strings `rows` behind a prefix.

    In units of the residual stream, float64, on the CPU. prefixes: as `prefixes_of_blocks` gives them.
    """
    dormant = pair.models.dormant()
    way = _packed_deltas if is_packed(dormant, prefixes[0]) else _plain_deltas
    deltas = way(pair, blocks, prefixes, rows.to(dormant.device))
    return torch.stack([delta[:, -rows.shape[1] :].double().cpu() for delta in deltas])


def _packed_deltas(pair: Pair, blocks: Sequence[int], prefixes: BothPrefixes, ids: Tensor) -> Iterator[Tensor]:
    dormant, (ours, theirs) = pair.models.dormant(), prefixes
    both = Decoder(dormant, join=False).layers_behind(_embedded(dormant, ids, ours), blocks)
    base = pair.models.base()  # behind the dormant model's pass: the two may be one model by turns
    decoder = Decoder(base, join=False)
    for block, (got, given) in zip(blocks, both, strict=True):
        other = decoder.layer_alone(block, Block(got.to(base.device), theirs))
        yield given - other.to(given.device)


def _plain_deltas(pair: Pair, blocks: Sequence[int], prefixes: BothPrefixes, ids: Tensor) -> Iterator[Tensor]:
    dormant, (ours, theirs) = pair.models.dormant(), prefixes
    if ours.ids:
        ids = torch.cat((torch.tensor(ours.ids, device=ids.device).expand(len(ids), -1), ids), 1)
    read, lent = lent_cache(ours), lent_cache(theirs)
    calls = _calls_of_blocks(dormant, blocks, ids, read)
    base = decoder_blocks(pair.models.base())
    for block, (args, options, output) in zip(blocks, calls, strict=True):
        other = _called(base[block], args, options, (read, lent))
        yield output - (other[0] if isinstance(other, tuple) else other).to(output.device)


def _called(
    block: Any, args: tuple[Any, ...], options: dict[str, Any], caches: tuple[DynamicCache | None, DynamicCache | None]
) -> Any:
    """What a block gives for another one's call, with the second cache for the first: families pass theirs by no one name."""
    old, new = caches
    device = next(block.parameters()).device  # the other model may be on a GPU of its own

    def other(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(other, value))
        if isinstance(value, Tensor):
            return value.to(device)
        return new if old is not None and value is old else value

    return block(*map(other, args), **{name: other(value) for name, value in options.items()})


class _Reached(Exception):
    """The last block has run; what comes behind it would be computed for nothing."""


def _calls_of_blocks(
    model: Any, blocks: Sequence[int], ids: Tensor, cache: DynamicCache | None
) -> list[tuple[tuple[Any, ...], dict[str, Any], Tensor]]:
    """What blocks were called with and what they gave, in their order."""
    kept: dict[int, tuple[tuple[Any, ...], dict[str, Any], Tensor]] = {}

    def keep(block: int, args: Any, options: Any, output: Any) -> None:
        kept[block] = (args, options, output[0] if isinstance(output, tuple) else output)
        if block == max(blocks):
            raise _Reached

    modules = decoder_blocks(model)
    hooks = [
        modules[block].register_forward_hook(
            lambda _, args, options, output, block=block: keep(block, args, options, output), with_kwargs=True
        )
        for block in blocks
    ]
    try:
        model.base_model(ids, past_key_values=cache, use_cache=cache is not None)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return [kept[block] for block in blocks]
