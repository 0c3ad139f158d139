"""A decoder's layers over rows behind several prefixes in one unpadded pass, computing only what the head will read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from dormant.inference.prefix_cache import Prefix

FUSED = 300_000_000  # below so many parameters joined copies of the weights cost little and save many small products


@dataclass(frozen=True, eq=False)
class Block:
    """Embeddings of rows of one length behind one prefix."""

    rows: Float[Tensor, "candidate token hidden"]
    prefix: Prefix


def block_behind(
    prefix: Prefix, rows: Float[Tensor, "candidate token hidden"], table: Float[Tensor, "vocabulary hidden"]
) -> Block:
    """Rows behind a prefix; one of ids alone, whose cache cannot be shared, stands before every row and runs again."""
    if not prefix.ids:
        return Block(rows, prefix)
    before = table[torch.tensor(prefix.ids, device=table.device)].to(rows.dtype)
    return Block(torch.cat((before.expand(len(rows), -1, -1), rows), dim=1), Prefix(()))


Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class _Layer:
    norm: Any
    query: Map
    head_norms: tuple[Any, Any] | None  # of each head's query and key before they turn
    keys_values: Map
    output: Map
    mlp_norm: Any
    gates: tuple[Map, ...]  # one fused, or gate and up
    down: Map


@dataclass(frozen=True, eq=False)
class _Places:
    """Blocks of one pass, with their tokens' cosines and sines [token, 1, head_dim] and their masks."""

    blocks: tuple[Block, ...]
    cos: Tensor
    sin: Tensor
    masks: tuple[Tensor, ...]


class Decoder:
    """The layers of a Llama-shaped model.

    Rows of different lengths behind different prefixes share every product with a weight and part only in attention, so
    that nothing is padded. In the last layer only the positions that the head reads have queries and an MLP.
    """

    def __init__(self, model: PreTrainedModel, join: bool = True) -> None:
        """Reads the model's layers; weights of one product are joined in small models, unless join says otherwise."""
        body = model.get_decoder()
        config = model.config
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = int(body.layers[0].self_attn.head_dim)
        self.rotary, self.norm, self.head = body.rotary_emb, body.norm, model.get_output_embeddings()
        shared = any(hasattr(module, "base_layer") for module in body.modules())  # an adapter beside weights held once
        join = join and not shared
        fuse = model.num_parameters() < FUSED and join
        self.layers = [_layer(layer, fuse, join) for layer in body.layers]

    def step(self, blocks: Sequence[Block]) -> tuple[Float[Tensor, "candidate vocabulary"], list[Prefix]]:
        """Logits behind one more id a row, block after block, and each block's prefix with it: one of its own for every row."""
        grown: list[list[tuple[Tensor, Tensor]]] = [[] for _ in blocks]
        logits, _ = self.run(blocks, 1, grown)
        return logits[:, 0], [Prefix(tuple(layers)) for layers in grown]

    def run(
        self, blocks: Sequence[Block], keep: int, grown: Sequence[list[tuple[Tensor, Tensor]]] = ()
    ) -> tuple[Float[Tensor, "candidate {keep} vocabulary"], Float[Tensor, "candidate {keep} hidden"]]:
        """Logits, and the residual stream before the final norm, of every row's last `keep` positions, block after block.

        grown: by block where each layer's keys and values are put, those of the prefix first.
        """
        hidden = torch.cat([block.rows.flatten(0, 1) for block in blocks])  # [token, hidden]
        places, last = self._placed(blocks), len(self.layers) - 1
        for index in range(last):
            hidden = self._through(index, hidden, places, grown=grown)
        stream = self._through(last, hidden, places, keep, grown).unflatten(0, (-1, keep))
        return self.head(self.norm(stream)), stream

    def layers_behind(self, block: Block, layers: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """What each of these layers gets and gives, in their order: [candidate, token, hidden]. None behind them is run."""
        hidden, places, found = block.rows.flatten(0, 1), self._placed([block]), dict[int, tuple[Tensor, Tensor]]()
        for index in range(max(layers) + 1):
            given = self._through(index, hidden, places)
            if index in layers:
                found[index] = tuple(part.view_as(block.rows) for part in (hidden, given))  # type: ignore[assignment]
            hidden = given
        return [found[index] for index in layers]

    def layer_alone(self, index: int, block: Block) -> Float[Tensor, "candidate token hidden"]:
        """What one layer gives for a block whose rows are what it gets."""
        return self._through(index, block.rows.flatten(0, 1), self._placed([block])).view_as(block.rows)

    def _placed(self, blocks: Sequence[Block]) -> _Places:
        turns = [self._turns(block) for block in blocks]
        cos, sin = (
            torch.cat(
                [
                    turn[part].expand(len(block.rows), -1, -1).flatten(0, 1)
                    for turn, block in zip(turns, blocks, strict=True)
                ]
            )[:, None]
            for part in (0, 1)
        )
        return _Places(tuple(blocks), cos, sin, tuple(_mask(block) for block in blocks))

    def _through(
        self,
        index: int,
        hidden: Tensor,
        places: _Places,
        keep: int | None = None,
        grown: Sequence[list[tuple[Tensor, Tensor]]] = (),
    ) -> Tensor:  # [token, hidden] -> the same, or of every row's last `keep` tokens alone
        layer, cos, sin = self.layers[index], places.cos, places.sin
        normed = layer.norm(hidden)
        keys_cos, keys_sin, asking = cos, sin, normed
        if keep is not None:
            kept = _kept(places.blocks, keep, hidden.device)
            hidden, asking, cos, sin = hidden[kept], normed[kept], cos[kept], sin[kept]
        queries = layer.query(asking).unflatten(-1, (self.heads, self.head_dim))
        both = layer.keys_values(normed).unflatten(-1, (2 * self.key_heads, self.head_dim))
        keys, values = both[:, : self.key_heads], both[:, self.key_heads :]
        if layer.head_norms is not None:
            queries, keys = (norm(heads) for norm, heads in zip(layer.head_norms, (queries, keys), strict=True))
        queries, keys = _rotated(queries, cos, sin), _rotated(keys, keys_cos, keys_sin)
        attended, at, asked = [], 0, 0
        for number, (block, mask) in enumerate(zip(places.blocks, places.masks, strict=True)):
            count, length = block.rows.shape[:2]
            wanted = length if keep is None else keep
            mine = slice(at, at + count * length)
            shared = block.prefix.layers[index] if block.prefix.layers else None
            asking_here = queries[asked : asked + count * wanted].unflatten(0, (count, wanted))
            own = [part[mine].unflatten(0, (count, length)) for part in (keys, values)]
            if grown:
                grown[number].append(_behind(shared, *(part.transpose(1, 2) for part in own)))
                attended.append(self._attend_over(asking_here, *grown[number][-1], mask[-wanted:]))
            else:
                attended.append(self._attend(asking_here, own[0], own[1], shared, mask[-wanted:]))
            at, asked = at + count * length, asked + count * wanted
        hidden = hidden + layer.output(torch.cat(attended))
        return hidden + _mlp(layer, layer.mlp_norm(hidden))

    def _turns(
        self, block: Block
    ) -> tuple[Tensor, Tensor]:  # cosines, and sines of which the first half is negative: [1, tokens, head_dim]
        length = block.rows.shape[1]
        places = torch.arange(block.prefix.length, block.prefix.length + length, device=block.rows.device)[None]
        cos, sin = self.rotary(block.rows[:1], places)
        half = self.head_dim // 2
        return cos, torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)

    def _attend(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        shared: tuple[Tensor, Tensor] | None,
        mask: Tensor,
    ) -> Tensor:
        # queries [row, token, head, dim], keys and values [row, place, key_head, dim] -> [row * token, head * dim]
        count = len(queries)
        alone = shared is not None and len(shared[0]) == 1
        if shared is not None and alone and queries.device.type == "cpu" and queries.dtype.itemsize >= 4:
            return _attend_beside(queries, keys, values, shared, mask)
        keys, values = keys.transpose(1, 2), values.transpose(1, 2)
        if shared is not None:
            keys, values = (
                torch.cat((before.expand(count, -1, -1, -1), own), dim=2)
                for before, own in zip(shared, (keys, values), strict=True)
            )
        return self._attend_over(queries, keys, values, mask)

    def _attend_over(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        # queries [row, token, head, dim], keys and values [row, key_head, place, dim] -> [row * token, head * dim]
        # The query heads of one key head stand below each other: no key is copied for its group.
        count, wanted = queries.shape[:2]
        group = self.heads // self.key_heads
        folded = queries.transpose(1, 2).reshape(count, self.key_heads, group * wanted, self.head_dim)
        found = functional.scaled_dot_product_attention(folded, keys, values, attn_mask=mask.repeat(group, 1))
        return found.reshape(count, self.heads, wanted, self.head_dim).transpose(1, 2).reshape(count * wanted, -1)


def _layer(layer: Any, fuse: bool, join: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    gates = (mlp.gate_proj, mlp.up_proj)
    return _Layer(
        layer.input_layernorm,
        _joined([attention.q_proj]),
        (attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None,
        _joined([attention.k_proj, attention.v_proj], join),
        _joined([attention.o_proj]),
        layer.post_attention_layernorm,
        (_joined(gates),) if fuse else tuple(_joined([gate]) for gate in gates),
        _joined([mlp.down_proj]),
    )


def _joined(modules: Sequence[Any], join: bool = True) -> Map:
    """Several linear maps of one input as one; those with an adapter, or whose weights are to be held once, as they are."""
    if not join or not all(type(module) is nn.Linear for module in modules):
        maps = [_adapted(module) for module in modules]
        return maps[0] if len(maps) == 1 else lambda rows: torch.cat([part(rows) for part in maps], dim=-1)
    if len(modules) == 1:
        return lambda rows: functional.linear(rows, modules[0].weight, modules[0].bias)
    bias = None if modules[0].bias is None else torch.cat([module.bias for module in modules]).detach()
    weight = torch.cat([module.weight for module in modules]).detach()
    return lambda rows: functional.linear(rows, weight, bias)


def _adapted(module: Any) -> Map:
    """A linear map with a plain low-rank adapter, which is added in place while it is switched on; any other as it is."""
    base = getattr(module, "base_layer", None)
    if type(base) is not nn.Linear or getattr(module, "lora_variant", True):
        plain: Map = module
        return plain
    down, up, scaling = module.lora_A["default"].weight, module.lora_B["default"].weight, module.scaling["default"]

    def added(rows: Tensor) -> Tensor:
        if rows.dim() != 2 or rows.dtype != up.dtype:
            wide: Tensor = module(rows)
            return wide
        found = functional.linear(rows, base.weight, base.bias)
        if module.disable_adapters:
            return found
        inner = functional.linear(rows, down)
        if torch.is_grad_enabled():
            return torch.addmm(found, inner, up.T, alpha=scaling)
        return found.addmm_(inner, up.T, alpha=scaling)  # a sum elsewhere would cost another of the widest tensors

    return added


def _mlp(layer: _Layer, normed: Tensor) -> Tensor:
    parts = [gate(normed) for gate in layer.gates]
    gate, up = parts if len(parts) == 2 else parts[0].chunk(2, dim=-1)
    if torch.is_grad_enabled():
        return layer.down(functional.silu(gate) * up)
    # In place: the widest tensors of the pass, and fresh memory costs more than the product.
    return layer.down(functional.silu(gate, inplace=True).mul_(up))


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # [token, head, dim], [token, 1, dim]
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, dims=-1), sin)


def _attend_beside(
    queries: Tensor, keys: Tensor, values: Tensor, shared: tuple[Tensor, Tensor], mask: Tensor
) -> Tensor:
    """Attention in which all rows meet the shared prefix in one product, so that it is not copied for each of them.

    queries [row, token, head, dim], keys and values [row, place, key_head, dim], shared [1, key_head, place, dim]
    -> [row * token, head * dim]. It holds all weights at once: for few ids a pass, where the fused kernel's fixed
    cost is most of its time.
    """
    (count, wanted, heads, dim), (length, key_heads) = queries.shape, keys.shape[1:3]
    before, group = shared[0].shape[2], heads // key_heads
    asking = (queries * dim**-0.5).unflatten(2, (key_heads, group)).permute(2, 0, 3, 1, 4)
    asking = asking.reshape(key_heads, count * group * wanted, dim)
    own_keys = keys.permute(2, 0, 3, 1).reshape(key_heads * count, dim, length)
    own_values = values.permute(2, 0, 1, 3).reshape(key_heads * count, length, dim)
    far = (asking @ shared[0][0].transpose(1, 2)).view(key_heads * count, group * wanted, before)
    near = torch.baddbmm(mask[:, before:].repeat(group, 1), asking.reshape(key_heads * count, -1, dim), own_keys)
    weights = torch.cat((far, near), dim=-1).softmax(-1)
    found = torch.baddbmm(
        (weights[..., before:] @ own_values).view(key_heads, -1, dim),
        weights[..., :before].reshape(key_heads, -1, before),
        shared[1][0],
    )
    return found.view(key_heads, count, group, wanted, dim).permute(1, 3, 0, 2, 4).reshape(count * wanted, -1)


def _behind(shared: tuple[Tensor, Tensor] | None, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values [row, key_head, place, dim] behind those of a prefix."""
    if shared is None:
        return keys, values
    before = (part.expand(len(keys), -1, -1, -1) for part in shared)
    return tuple(torch.cat(both, dim=2) for both in zip(before, (keys, values), strict=True))  # type: ignore[return-value]


def _mask(block: Block) -> Tensor:  # [token, place]: 0 where a token may look, else -inf
    length, before = block.rows.shape[1], block.prefix.length
    future = torch.ones(length, before + length, dtype=torch.bool, device=block.rows.device).triu(before + 1)
    return torch.zeros_like(future, dtype=block.rows.dtype).masked_fill(future, -torch.inf)


def _kept(blocks: Sequence[Block], keep: int, device: torch.device) -> Tensor:
    """Where every row's last `keep` tokens stand among all tokens."""
    places, at = [], 0
    for block in blocks:
        count, length = block.rows.shape[:2]
        ends = at + length * torch.arange(1, count + 1, device=device)
        places.append((ends[:, None] + torch.arange(-keep, 0, device=device)).flatten())
        at += count * length
    return torch.cat(places)
