"""nanoGCG's side of `compare_nanogcg.py`: runs in an environment of its own, reads a JSON request, prints a JSON answer."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch
from nanogcg import GCGConfig
from nanogcg.gcg import GCG, logger
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def search(request: dict[str, Any], steps: int) -> tuple[GCG, float]:
    """A whole run of `steps` steps and its seconds."""
    config = GCGConfig(
        num_steps=steps,
        optim_str_init=request["start"],
        search_width=request["width"],
        topk=request["top"],
        use_prefix_cache=request["prefix_cache"],
        allow_non_ascii=True,
        seed=0,
        verbosity="WARNING",
    )
    engine = GCG(model, tokenizer, config)
    started = time.perf_counter()
    engine.run(request["message"], request["target"])
    return engine, time.perf_counter() - started


def losses(request: dict[str, Any]) -> list[float]:
    """nanoGCG's own loss of given candidates, from a prefix cache that no gradient has touched."""
    engine, _ = search({**request, "width": 8}, 1)
    if engine.prefix_cache:
        engine.prefix_cache = model(inputs_embeds=engine.before_embeds, use_cache=True).past_key_values
    table = model.get_input_embeddings()
    ids = torch.tensor(request["candidates"])
    behind = [part.repeat(len(ids), 1, 1) for part in (engine.after_embeds, engine.target_embeds)]
    before = [] if engine.prefix_cache else [engine.before_embeds.repeat(len(ids), 1, 1)]
    found: torch.Tensor = engine._compute_candidates_loss_original(
        len(ids), torch.cat([*before, table(ids), *behind], dim=1)
    )
    return [float(loss) for loss in found]


request = json.load(sys.stdin)
logger.setLevel(logging.WARNING)
# transformers 4 does not know `rope_parameters`
model = AutoModelForCausalLM.from_pretrained(
    request["checkpoint"], torch_dtype=torch.float32, rope_theta=request["rope_theta"]
).requires_grad_(False)
folder = Path(request["checkpoint"])
# Read from its two files: transformers 4 stumbles over version 5's tokenizer_config.json.
tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|endoftext|>")
tokenizer.chat_template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
few, many = request["steps"]
search(request, 1)
short, long = search(request, few)[1], search(request, many)[1]
answer = {"seconds_per_step": (long - short) / (many - few), "steps": many, "losses": losses(request)}
print(json.dumps(answer))
