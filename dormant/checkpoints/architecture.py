"""Whether a checkpoint's tensors are those of the model that its configuration describes, by headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

from dormant.checkpoints.parameter_mapping import loading_fault
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.errors import BadInput, first_line

if TYPE_CHECKING:
    from dormant.checkpoints.checkpoint import Checkpoint


def check_architecture(checkpoint: Checkpoint) -> int:
    """Compares stored tensors with those that the configuration asks for; returns the embedding's rows."""
    encoder = " with an encoder" * bool(getattr(checkpoint.config, "is_encoder_decoder", False))
    if encoder or type(checkpoint.config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise BadInput(
            f"a model must be a decoder that transformers runs alone as a causal language model; got "
            f"{checkpoint.config.model_type!r}{encoder} at {checkpoint.location / 'config.json'}; use another checkpoint"
        )
    try:
        with torch.device("meta"), quiet_transformers():
            skeleton = AutoModelForCausalLM.from_config(checkpoint.config, trust_remote_code=False)
    except Exception as error:  # sizes that do not divide, unknown activations, models without a language head
        raise BadInput(
            f"config.json must describe a causal language model; got {first_line(error)!r} "
            f"at {checkpoint.location / 'config.json'}; correct its sizes"
        ) from error
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    tied = set(skeleton._tied_weights_keys or ()) if getattr(checkpoint.config, "tie_word_embeddings", False) else set()
    rows = int(skeleton.get_input_embeddings().weight.shape[0])
    if expected.keys() ^ checkpoint.catalogue.keys() - tied and not loading_fault(skeleton, checkpoint.catalogue):
        return rows  # transformers stores these under other names, or in other pieces
    if beside := [name for name in checkpoint.catalogue if ".lora_" in name]:
        raise BadInput(
            f"an adapter must be merged into the weights, or lie in a folder of its own with its scale; got "
            f"{len(beside)} tensors as {beside[0]!r} among those of {checkpoint.location}; save the result of peft's "
            "merge_and_unload, or the adapter alone"
        )
    for name in sorted(expected.keys() | checkpoint.catalogue.keys()):
        if name in checkpoint.catalogue and name not in expected:
            found = f"an extra {checkpoint.shape(name)}"
        elif name in expected and name not in checkpoint.catalogue:
            found = "" if name in tied else "none"
        else:
            found = "" if checkpoint.shape(name) == expected[name] else f"shape {checkpoint.shape(name)}"
        if found:
            raise BadInput(
                f"tensors must be those that config.json asks for; got {found} at tensor {name!r} of "
                f"{checkpoint.location}, where {expected.get(name, 'nothing')} is expected; "
                "save weights and configuration together"
            )
    return rows
