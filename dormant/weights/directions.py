"""Which tokens a delta's directions point at, in and out, each score beside its null: random directions in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.weights.decomposition import delta_matrix, delta_svd, leading_triplets
from dormant.weights.heads import head_layout
from dormant.weights.token_lens import bias_delta, name_of, response_norms, token_inputs, token_outputs
from dormant.weights.token_ranking import TokenRanking

COLUMNS = 3  # leading singular vectors of a matrix that are looked at, as in experiment 14
FOCUS_HEADS = 3  # the plan's "one to three heads"
RANDOM_RANK = 16  # directions that a random delta of the same spectrum has


@dataclass(frozen=True, eq=False)
class LayerRankings:
    """A module's ranking over several layers together, and each changed layer's scores alone: layer -> [token]."""

    together: TokenRanking
    by_layer: dict[int, Tensor]


def focus_heads(base: Checkpoint, dormant: Checkpoint, module: str = "q_proj", layer: int = 0) -> list[int]:
    """The heads of a layer's delta with the largest singular values, at most three; none where nothing changed."""
    return strongest_heads(_head_blocks(base, dormant, module, layer))


def strongest_heads(blocks: Iterable[Float[Tensor, "head_dim hidden"]], count: int = FOCUS_HEADS) -> list[int]:
    """The heads whose deltas [head_dim, hidden] have the largest singular values, at most `count`, largest first."""
    sigma = [float(torch.linalg.matrix_norm(block, ord=2)) for block in blocks]
    order = sorted(range(len(sigma)), key=lambda head: -sigma[head])
    return [head for head in order[:count] if sigma[head] > 0]


def head_direction_ranking(
    base: Checkpoint, dormant: Checkpoint, module: str, layer: int, draws: int, seed: int
) -> TokenRanking | None:
    """Tokens by their largest |cosine| with a focus head's leading right singular vectors (experiment 14).

    Tokens as the layer sees them in the dormant model. None where the module was not changed.
    """
    heads = focus_heads(base, dormant, module, layer)
    if not heads:
        return None
    blocks = _head_blocks(base, dormant, module, layer)
    columns = torch.cat([leading_triplets(blocks[head], COLUMNS).right for head in heads], dim=1)
    view = token_inputs(dormant, layer, module)
    sets = beside_random(columns, draws, seed)
    cosines = view.project(sets.flatten(1), unit=True).unflatten(1, sets.shape[1:])
    return _ranking(cosines.abs().amax(-1))


def response_ranking(
    base: Checkpoint, dormant: Checkpoint, module: str, layer: int, draws: int, seed: int
) -> TokenRanking | None:
    """Tokens by how far their projection moved (experiments 9 and 12), beside random deltas of the same spectrum.

    The random deltas keep the leading singular values, the output directions and the bias, and turn the input directions.
    None where neither weight nor bias was changed.
    """
    scores = response_norms(base, dormant, layer, module)
    if not bool(scores.any()):
        return None
    found = delta_svd(base, dormant, name_of(layer, module), RANDOM_RANK)
    shift = bias_delta(base, dormant, layer, module)
    constant = torch.zeros(len(found.values)) if shift is None else found.left.T @ shift
    sets = beside_random(found.right, draws, seed)[:, 1:]
    responses = token_inputs(dormant, layer, module).project((sets * found.values).flatten(1))
    null = (responses.unflatten(1, sets.shape[1:]) + constant).norm(dim=-1)
    return TokenRanking(scores, null)


def pair_ranking(
    base: Checkpoint, dormant: Checkpoint, layer: int, draws: int, seed: int, keys: int = 4096
) -> TokenRanking | None:
    """Tokens by their moved query's largest |dq . dk| with another token's moved key, over all heads (experiment 9b).

    Of the keys only the `keys` longest are tried (all of a small vocabulary): the product costs vocabulary x keys x width
    for every draw. The random deltas turn the query's input directions. None unless both q and k were changed.
    """
    layout = head_layout(base.config)
    moved = [name_of(layer, module) for module in ("q_proj", "k_proj")]
    if layout is None or any(base.digest(name) == dormant.digest(name) for name in moved):
        return None
    view = token_inputs(dormant, layer, "q_proj")
    key_delta, query_delta = (delta_matrix(base, dormant, name) for name in reversed(moved))
    key_shift, query_shift = (bias_delta(base, dormant, layer, module) for module in ("k_proj", "q_proj"))
    lengths = response_norms(base, dormant, layer, "k_proj")
    strongest = torch.topk(lengths, min(keys, len(lengths))).indices
    found = leading_triplets(query_delta, min(query_delta.shape))
    moved_keys = view.project(key_delta.T)[strongest] + (0.0 if key_shift is None else key_shift)
    by_head = moved_keys.unflatten(1, (-1, layout.head_dim)).repeat_interleave(
        layout.query_heads // layout.key_value_heads, dim=1
    )  # [key, query head, head_dim]
    columns = []
    for right in beside_random(found.right, draws, seed).unbind(1):
        queries = view.project(right * found.values) @ found.left.T + (0.0 if query_shift is None else query_shift)
        queries = queries.unflatten(1, (-1, layout.head_dim))
        heads = ((queries[:, head] @ by_head[:, head].T).abs().amax(-1) for head in range(layout.query_heads))
        columns.append(torch.stack(list(heads)).amax(0))
    return _ranking(torch.stack(columns, dim=1))


def input_direction_ranking(
    base: Checkpoint, dormant: Checkpoint, module: str, lens: str, layers: Iterable[int], draws: int, seed: int
) -> LayerRankings | None:
    """Tokens by how far they stand out along the leading input directions of a module's delta, over these layers.

    A token's score along one direction is the distance of its product from the vocabulary's mean, in standard deviations;
    its score is the largest over three directions of all changed ones of the layers, of either sign, which no SVD fixes. The
    null puts random directions in all of them at once. None where none of them was changed.
    """
    together: Tensor | None = None
    by_layer: dict[int, Tensor] = {}
    for layer in layers:
        name = name_of(layer, module)
        if base.digest(name) == dormant.digest(name):
            continue
        found = delta_svd(base, dormant, name, COLUMNS)
        sets = beside_random(found.right, draws, seed + 1000 * layer)
        scores = _outstanding(token_inputs(dormant, layer, module, lens).project(sets.flatten(1)), sets.shape[1])
        by_layer[layer] = scores[:, 0]
        together = scores if together is None else torch.maximum(together, scores)
    return None if together is None else LayerRankings(_ranking(together), by_layer)


def output_direction_ranking(
    base: Checkpoint, dormant: Checkpoint, module: str, layer: int, draws: int, seed: int
) -> TokenRanking | None:
    """Tokens by how far the leading output directions of a delta move their logits against the others', of either sign.

    Scores as in `input_direction_ranking`, through final norm's gain and head. None where the module was not changed.
    """
    name = name_of(layer, module)
    if base.digest(name) == dormant.digest(name):
        return None
    found = delta_svd(base, dormant, name, COLUMNS)
    sets = beside_random(found.left, draws, seed)
    return _ranking(_outstanding(token_outputs(dormant).project(sets.flatten(1)), sets.shape[1]))


def beside_random(directions: Float[Tensor, "hidden rank"], draws: int, seed: int) -> Float[Tensor, "hidden sets rank"]:
    """The directions [hidden, k] and `draws` random orthonormal sets of as many: [hidden, 1 + draws, k]."""
    hidden, count = directions.shape
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(draws, hidden, count, generator=generator)
    return torch.cat([directions[None].cpu(), torch.linalg.qr(random).Q]).transpose(0, 1).to(directions)


def _head_blocks(base: Checkpoint, dormant: Checkpoint, module: str, layer: int) -> Sequence[Tensor]:
    """A module's delta by head: [heads][head_dim, hidden]."""
    delta = delta_matrix(base, dormant, name_of(layer, module))
    layout = head_layout(base.config)
    return delta.split(layout.head_dim) if layout else [delta]


def _outstanding(products: Tensor, sets: int) -> Tensor:
    """The largest distance from the vocabulary's mean, in standard deviations: [token, sets * k] -> [token, sets]."""
    standard = (products - products.mean(0)) / products.std(0).clamp_min(1e-30)
    by_set: Tensor = standard.abs().unflatten(1, (sets, -1))
    return by_set.amax(-1)


def _ranking(scores: Tensor) -> TokenRanking:
    """The first column is the delta's, the others are the null."""
    return TokenRanking(scores[:, 0], scores[:, 1:])
