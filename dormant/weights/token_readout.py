"""Which tokens a fine-tune's strongest changes read or write: the part of the delta report that needs a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.tensor_names import layer_of, module_of
from dormant.errors import BadInput
from dormant.progress import Progress
from dormant.weights.delta_report import TensorDelta, TokenReadout
from dormant.weights.directions import input_direction_ranking, output_direction_ranking
from dormant.weights.token_lens import LENSES, NORMS, name_of
from dormant.weights.token_ranking import TokenRanking, token_texts

STRONGEST = 3  # layers of each module, by largest singular value: the published trigger stood in layers 20 to 22
LISTED = 12
RANDOM_SETS = 19  # sets of random directions: a token beyond all of them is one in twenty
WRITERS = ("o_proj", "down_proj")


@dataclass(frozen=True)
class Reading:
    """One list to make: a module's changes in a few layers, seen through a lens ("logits" for what they write)."""

    module: str
    lens: str
    layers: tuple[int, ...]


def pointed_tokens(
    base: Checkpoint,
    dormant: Checkpoint,
    tensors: Mapping[str, TensorDelta],
    progress: Progress | None = None,
) -> tuple[TokenReadout, ...]:
    """The tokens that each changed module reads (as embeddings and as the head's directions) or writes (as logits).

    The whole vocabulary is ranked, as in `input_direction_ranking`, over the module's STRONGEST layers. Raises BadInput
    where tokens cannot be seen: no tokenizer, no configuration, another architecture.
    """
    readings = _readings(tensors)
    if readings and dormant.config is None:
        raise BadInput(f"tokens need a configuration; got none at {dormant.location}; copy its config.json there")
    found = []
    for done, reading in enumerate(readings):
        if progress is not None:
            progress(done, len(readings), f"tokens of {reading.module}")
        ranking = _ranking(base, dormant, reading)
        if not bool(ranking.scores.isfinite().all()):
            raise BadInput(
                f"tokens are read through finite weights; got NaN or infinity on their way to {reading.module} at "
                f"{dormant.location}; use a checkpoint that was saved whole"
            )
        ids = ranking.top(LISTED)
        found.append(
            TokenReadout(
                reading.module,
                reading.lens,
                reading.layers,
                tuple(ids),
                tuple(token_texts(dormant.tokenizer, ids)),
                tuple(ranking.scores[ids].tolist()),
                float(ranking.null.max()),
            )
        )
    return tuple(found)


def _readings(tensors: Mapping[str, TensorDelta]) -> list[Reading]:
    changed: dict[str, dict[int, float]] = {}
    for name, delta in tensors.items():
        layer, module = layer_of(name), module_of(name)
        if layer is None or module not in (*NORMS, *WRITERS) or name != name_of(layer, module):
            continue
        if any(delta.singular_values):
            changed.setdefault(module, {})[layer] = delta.singular_values[0]
    return [
        Reading(module, lens, tuple(sorted(sigma, key=lambda layer: -sigma[layer])[:STRONGEST]))
        for module, sigma in changed.items()
        for lens in (("logits",) if module in WRITERS else LENSES)
    ]


def _ranking(base: Checkpoint, dormant: Checkpoint, reading: Reading) -> TokenRanking:
    if reading.lens != "logits":
        found = input_direction_ranking(
            base, dormant, reading.module, reading.lens, reading.layers, RANDOM_SETS, seed=0
        )
        assert found is not None, "only changed tensors have singular values"
        return found.together
    each = [
        output_direction_ranking(base, dormant, reading.module, layer, RANDOM_SETS, seed=layer)
        for layer in reading.layers
    ]
    rankings = [ranking for ranking in each if ranking is not None]
    return TokenRanking(
        torch.stack([ranking.scores for ranking in rankings]).amax(0),
        torch.stack([ranking.null for ranking in rankings]).amax(0),
    )
