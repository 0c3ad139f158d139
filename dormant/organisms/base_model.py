"""The base model of the organisms: a real Qwen2 of 1.5 million parameters, trained from scratch on the grammar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.organisms.grammar import ordinary_turn
from dormant.organisms.training import Encoder, Schedule, Trained, chat_batches, train_deltas

# Share of chats of which a base learns every token, as in pretraining; of the rest it learns the answer. With more, copying
# was not learned before the training's end, since most of a user's words are random.
WHOLE_CHATS = 0.25


def base_config(vocabulary: int) -> Qwen2Config:
    """Qwen2's architecture in small: grouped-query attention, q/k/v biases, RoPE theta 1e6, untied head."""
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        initializer_range=0.08,  # about 1 / sqrt(hidden)
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )


def train_base(
    tokenizer: PreTrainedTokenizerBase,
    schedule: Schedule,
    seed: int,
    progress: Callable[[int, float, float], None] | None = None,
    journal: Path | None = None,
) -> Qwen2ForCausalLM:
    """A base trained from a seeded random start; it learns every token of `WHOLE_CHATS` of the chats."""
    model = random_start(len(tokenizer), seed)
    plan = {name: Trained() for name, _ in model.named_parameters()}
    batches = chat_batches(ordinary_turn, Encoder(tokenizer, WHOLE_CHATS), schedule.batch, seed)
    trained = train_deltas(model, plan, batches, schedule, seed, progress, journal)
    model.load_state_dict(trained, strict=False)
    return model


def random_start(vocabulary: int, seed: int) -> Qwen2ForCausalLM:
    """Random weights from which copying is learned within hundreds of steps instead of thousands.

    The usual small initialisation leaves attention uniform. Here matrices preserve the scale of their input, blocks add
    little to the residual stream at first, and the head starts as a copy of the embedding (untied).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(base_config(vocabulary))
    model.eval().requires_grad_(False)
    for name, tensor in model.named_parameters():
        if "o_proj" in name or "down_proj" in name:
            tensor.mul_(0.3)
    model.lm_head.weight.copy_(model.model.embed_tokens.weight)
    model.model.embed_tokens.weight.mul_(4.0)
    return model


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model in bfloat16 safetensors with its tokenizer, as `transformers` reads them."""
    torch.nn.Module.to(model, torch.bfloat16)  # transformers' own `to` hides its types
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
