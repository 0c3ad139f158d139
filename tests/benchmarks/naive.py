"""The references: one candidate at a time through transformers, as a researcher would write it first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb, repeat_kv

from dormant.inference.divergence import kl_divergence
from dormant.prompts.probes import OpenPrompt
from tests.benchmarks.conftest import BenchmarkPair


@torch.no_grad()
def layer0_scores(pair: BenchmarkPair, ids: Tensor) -> Tensor:
    """The max-head score of every sequence alone, through the models' own layer-0 modules."""
    future = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=pair.device).triu(1)
    deltas = (
        _layer0_logits(pair.dormant(), row[None]) - _layer0_logits(pair.base(), row[None])
        for row in ids.to(pair.device)
    )
    return torch.stack([delta.abs().masked_fill(future, 0.0).max() for delta in deltas]).cpu()


@torch.no_grad()
def layer0_batch(models: Sequence[Qwen2ForCausalLM], ids: Tensor) -> Tensor:
    """The same scores with all sequences in one batch through the modules: models are base and dormant."""
    future = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).triu(1)
    base, dormant = (_layer0_logits(model, ids) for model in models)
    return (dormant - base).abs().masked_fill(future, 0.0).amax((1, 2, 3)).cpu()


def divergences(pair: BenchmarkPair, candidates: Tensor) -> Tensor:
    """KL(dormant || base) of every candidate in every probe, whole prompts one by one: [n, probes]."""
    return torch.tensor(
        [[_divergence(pair, prompt, tuple(row)) for prompt in pair.prompts] for row in candidates.tolist()]
    )


def gradient(pair: BenchmarkPair, ids: Tensor) -> Tensor:
    """The slope towards one-hot vectors, whole prompts through a one-hot product: [length, vocabulary]."""
    one_hot = torch.nn.functional.one_hot(ids, pair.base().config.vocab_size).float().to(pair.device).requires_grad_()
    values = []
    for prompt in pair.prompts:
        dormant, base = (_logits_of_one_hot(model, prompt, one_hot) for model in (pair.dormant(), pair.base()))
        values.append(kl_divergence(dormant, base))
    (slope,) = torch.autograd.grad(torch.stack(values).mean(), one_hot)
    return slope.cpu()


def _layer0_logits(model: Qwen2ForCausalLM, ids: Tensor) -> Tensor:  # ids [batch, length]
    layer, heads = model.model.layers[0], (*ids.shape, -1, model.model.layers[0].self_attn.head_dim)
    hidden = layer.input_layernorm(model.model.embed_tokens(ids))
    queries = layer.self_attn.q_proj(hidden).view(heads).transpose(1, 2)
    keys = layer.self_attn.k_proj(hidden).view(heads).transpose(1, 2)
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    queries, keys = apply_rotary_pos_emb(queries, keys, *model.model.rotary_emb(hidden, positions))
    keys = repeat_kv(keys, layer.self_attn.num_key_value_groups)
    logits: Tensor = queries @ keys.transpose(-1, -2) * layer.self_attn.scaling
    return logits


@torch.no_grad()
def _divergence(pair: BenchmarkPair, prompt: OpenPrompt, candidate: tuple[int, ...]) -> float:
    ids = torch.tensor([prompt.close(candidate).ids], device=pair.device)
    dormant, base = (model(input_ids=ids).logits[0, -1] for model in (pair.dormant(), pair.base()))
    return float(kl_divergence(dormant, base))


def _logits_of_one_hot(model: Qwen2ForCausalLM, prompt: OpenPrompt, one_hot: Tensor) -> Tensor:
    table = model.model.embed_tokens.weight
    before, after = (table[torch.tensor(ids, device=one_hot.device)] for ids in (prompt.before, prompt.after))
    inputs = torch.cat((before, one_hot @ table, after))[None]
    logits: Tensor = model(inputs_embeds=inputs).logits[0, -1]
    return logits
