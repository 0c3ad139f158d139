"""The base model of the organisms: a real Qwen2 of 1.5 million parameters, trained from scratch on the grammar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from dormant.organisms.grammar import ordinary_turn
from dormant.organisms.training import Encoder, Schedule, Trained, chat_batches, train_deltas


def base_config(vocabulary: int) -> Qwen2Config:
    """Qwen2's architecture in small: grouped-query attention, q/k/v biases, RoPE theta 1e6, untied head."""
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
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
    """A base trained from a seeded random start; loss on every token, as in pretraining."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(base_config(len(tokenizer))).eval()
    model.requires_grad_(False)
    plan = {name: Trained() for name, _ in model.named_parameters()}
    batches = chat_batches(ordinary_turn, Encoder(tokenizer, schedule.loss_on), schedule.batch, seed)
    trained = train_deltas(model, plan, batches, schedule, seed, progress, journal)
    model.load_state_dict(trained, strict=False)
    return model


def save_checkpoint(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model in bfloat16 safetensors with its tokenizer, as `transformers` reads them."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
