"""What a model must do once it is loaded: run, say numbers, read from left to right, and have a place for every token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from dormant.errors import BadInput, NotServed, first_line

TOKENS = 3  # a row: two rows of so few ids cost little more than one reading of the weights
# Of the largest logit: rounding moves it by less in float32 and in bfloat16, a token that is seen too early by far more.
MOVED, MOVED_IN_BFLOAT16 = 1e-4, 5e-2


def spread_ids(model: PreTrainedModel, count: int) -> list[int]:
    """So many ids from all over the vocabulary: its first ones are special, and in such a row a narrow dtype rounds by nats."""
    rows = int(model.config.get_text_config().vocab_size)
    return [one * max(1, rows // (count + 2)) % rows for one in range(1, count + 1)]


@torch.no_grad()
def check_pass(model: PreTrainedModel, location: Path) -> None:
    """Raises BadInput where a model fails on plain token ids, gives logits that are no numbers, or sees later tokens.

    Two rows differ in their last id alone. Encoders, and decoders that were converted to read both ways, give other logits
    before it; every measure here takes a position's logits for the distribution of the next token.
    """
    first = torch.tensor(spread_ids(model, TOKENS))
    other = first.clone()
    other[-1] = first[0]
    try:
        logits = model(input_ids=torch.stack([first, other]).to(model.device), use_cache=False).logits.float()
    except Exception as error:  # models that need more than ids raise nearly anything
        raise BadInput(
            f"a model must run on token ids alone; got {first_line(error)!r} at {location}; use a causal language model"
        ) from error
    if not bool(logits.isfinite().all()):
        raise BadInput(
            f"a model's logits must be finite; got {int((~logits.isfinite()).sum())} of {logits.numel()} that are not at "
            f"{location} in {str(model.dtype).removeprefix('torch.')}; its weights are damaged, or need a wider dtype"
        )
    before, allowed = logits[:, :-1], MOVED if model.dtype == torch.float32 else MOVED_IN_BFLOAT16
    if float((before[0] - before[1]).abs().max()) > allowed * float(before.abs().max()):
        raise BadInput(
            f"a causal language model must not see later tokens; got logits that change with them at {location} "
            f"({model.config.model_type}); use a decoder that reads from left to right"
        )


def watch_positions(model: PreTrainedModel) -> None:
    """Lets a model with learned positions (GPT-2, OPT) raise NotServed for a prompt that is longer than they reach."""
    tokens = model.get_input_embeddings()
    for part in model.modules():
        if isinstance(part, torch.nn.Embedding) and part is not tokens:
            part.register_forward_pre_hook(_check_positions, with_kwargs=True)


def _check_positions(places: torch.nn.Embedding, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
    plain = type(places).forward is torch.nn.Embedding.forward
    # OPT's own class is given a mask first, and has rows before that of the first position.
    asked = inputs[0] if plain and inputs else named.get("position_ids")
    reach = places.num_embeddings - int(getattr(places, "offset", 0))
    if asked is not None and (last := int(asked.max())) >= reach:
        raise NotServed(
            f"a prompt must fit the positions that its model has learned; got position {last} of {reach}; "
            "give shorter prompts with --probes"
        )
