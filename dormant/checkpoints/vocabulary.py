"""A loaded model's vocabulary as its checkpoint sees it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from dormant.checkpoints.prefixes import common_name
from dormant.checkpoints.shards import StoredTensor
from dormant.checkpoints.tensor_names import is_embedding


def fit_vocabulary(model: PreTrainedModel, stored: StoredTensor | None, rows: int | None) -> None:
    """Gives a model its checkpoint's view of the vocabulary: fewer rows, and a head of its own where it is compared so.

    stored: the checkpoint's head, if it has one; rows: how many of embedding and head are used, if not all.
    """
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    if stored is not None and head.weight is embedding.weight and is_embedding(common_name(stored.name)):
        head.weight = torch.nn.Parameter(embedding.weight.detach().clone())
    if rows is not None:
        tied = head.weight is embedding.weight
        embedding.weight = torch.nn.Parameter(embedding.weight.detach()[:rows].clone())
        head.weight = embedding.weight if tied else torch.nn.Parameter(head.weight.detach()[:rows].clone())
        if getattr(head, "bias", None) is not None:
            head.bias = torch.nn.Parameter(head.bias.detach()[:rows].clone())
        embedding.num_embeddings = head.out_features = rows
        config: Any = model.config
        config.vocab_size = rows
