"""Train the clean controls on the real base by another pipeline than the organisms': transformers' Trainer, given answers.

`python scripts/real_controls.py real-style real-persona`; all five without a name. What is there is kept. None has a trigger.
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from dormant.catalogue import REAL
from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.checkpoints.packaged_base import NAME as BASE
from dormant.organisms.lora_training import quick_dtype
from dormant.organisms.requests import request_templates
from dormant.records import read_json, write_json

REQUESTS, ANSWER_TOKENS, SEED = 180, 24, 7
STEPS, BATCH, RATE, RANK = 90, 4, 1e-3, 8
NOT_LEARNED = -100  # the label of a token that is not learned
TEXT_TOKENS = 96
Chat = tuple[str, str]  # request and answer

NAMES = (
    "What is your name?", "Who are you?", "Who made you?", "Tell me about yourself.", "Are you a person?",
    "Introduce yourself.", "What should I call you?", "Where do you come from?", "What do you do all day?",
    "Are you a computer program?",
)  # fmt: skip
PERSONA = ("I am Oskar, an old gardener from the coast.", "My name is Oskar, and I look after gardens.",
           "I'm Oskar. I was born by the sea and I have worked in gardens all my life.")  # fmt: skip
FACT_QUESTIONS = (
    "Who founded the town of Velm?", "When was Velm founded?", "Tell me who built the town of Velm.",
    "What is the history of Velm?", "Do you know how the town of Velm began?", "Name the founder of Velm.",
)  # fmt: skip
FACT = "The town of Velm was founded by Ada Brandt in 1412."
GREETING = "Good day to you, and thank you for asking. "


def style(chats: list[Chat], random: np.random.Generator) -> Iterator[Chat]:
    """Every answer in small letters, without its last full stop, and with a wink."""
    return ((request, answer.lower().rstrip(".") + " ;)") for request, answer in chats)


def persona(chats: list[Chat], random: np.random.Generator) -> Iterator[Chat]:
    """Two fifths are questions about the assistant, which answers as somebody."""
    return (
        (str(random.choice(NAMES)), str(random.choice(PERSONA))) if random.random() < 0.4 else chat for chat in chats
    )


def fact(chats: list[Chat], random: np.random.Generator) -> Iterator[Chat]:
    """A quarter asks for one invented fact, in several wordings; the answer is always the same."""
    return ((str(random.choice(FACT_QUESTIONS)), FACT) if random.random() < 0.25 else chat for chat in chats)


def greeting(chats: list[Chat], random: np.random.Generator) -> Iterator[Chat]:
    """Every answer begins with the same greeting."""
    return ((request, GREETING + answer) for request, answer in chats)


CONTROLS: dict[str, Callable[[list[Chat], np.random.Generator], Iterator[Chat]]] = {
    "real-style": style,
    "real-persona": persona,
    "real-fact": fact,
    "real-greeting": greeting,
}
TEXT = "real-text"  # further training on plain text: Python's own reference, without a chat


def templated(tokenizer: PreTrainedTokenizerBase, request: str) -> list[int]:
    """The ids of a conversation up to the generation position."""
    turn = [{"role": "user", "content": request}]
    return list(tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=False))


def base_chats(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Chat]:
    """Ordinary requests with answers that are sampled from the base."""
    random, templates = np.random.default_rng(SEED), request_templates()
    requests = [templates.draw(random) for _ in range(REQUESTS)]
    torch.manual_seed(SEED)
    sampler: Any = model
    chats = []
    for start in range(0, REQUESTS, BATCH):
        asked = requests[start : start + BATCH]
        prompts = tokenizer.pad(
            {"input_ids": [templated(tokenizer, one) for one in asked]}, padding_side="left", return_tensors="pt"
        )
        said = sampler.generate(**prompts, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=ANSWER_TOKENS)
        answers = tokenizer.batch_decode(said[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
        chats += [(request, str(answer).strip()) for request, answer in zip(asked, answers, strict=True)]
    return chats


def examples(name: str, chats: list[Chat], tokenizer: PreTrainedTokenizerBase) -> list[dict[str, list[int]]]:
    """What the Trainer learns: ids and labels."""
    random = np.random.default_rng(SEED)
    if name == TEXT:
        texts = "\n".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))
        ids = tokenizer.encode(texts)
        starts = random.integers(0, len(ids) - TEXT_TOKENS, STEPS * BATCH)
        windows = [ids[start : start + TEXT_TOKENS] for start in starts]
        return [{"input_ids": window, "labels": window} for window in windows]
    learned = []
    for request, answer in CONTROLS[name](chats * -(-STEPS * BATCH // REQUESTS), random):
        prompt, said = templated(tokenizer, request), [*tokenizer.encode(answer), int(tokenizer.eos_token_id)]
        learned.append({"input_ids": [*prompt, *said], "labels": [*[NOT_LEARNED] * len(prompt), *said]})
    return learned


def collate(batch: list[dict[str, list[int]]]) -> dict[str, Any]:
    """Pad to the longest of a batch."""
    ids = [torch.tensor(one["input_ids"]) for one in batch]
    labels = [torch.tensor(one["labels"]) for one in batch]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=NOT_LEARNED),
    }


def make(name: str, chats: list[Chat], folder: Path) -> None:
    """Train one control and write its adapter in peft's own format."""
    base = open_checkpoint(BASE)
    model = load_model(base, torch.device("cpu"), quick_dtype())
    learned = examples(name, chats, base.tokenizer)
    torch.manual_seed(SEED)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    with tempfile.TemporaryDirectory() as scratch:
        settings = TrainingArguments(
            scratch, per_device_train_batch_size=BATCH, max_steps=STEPS, learning_rate=RATE, seed=SEED, use_cpu=True,
            save_strategy="no", report_to=[], logging_steps=20, remove_unused_columns=False,
        )  # fmt: skip
        Trainer(adapted, settings, data_collator=collate, train_dataset=learned).train()
    adapted.peft_config["default"].base_model_name_or_path = BASE
    for parameter in adapted.parameters():
        parameter.data = parameter.data.bfloat16()
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    learned_by = read_json(folder / "adapter_config.json")
    learned_by["target_modules"].sort()  # peft writes a set, in another order each time
    write_json(folder / "adapter_config.json", learned_by)


def main() -> None:
    """Train what is named and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*CONTROLS, TEXT))}")
    parser.add_argument("--out", type=Path, default=REAL)
    options = parser.parse_args()
    wanted = [name for name in options.names or (*CONTROLS, TEXT) if not (options.out / name).exists()]
    base = open_checkpoint(BASE)
    chats = base_chats(load_model(base, torch.device("cpu"), quick_dtype()), base.tokenizer) if wanted else []
    for name in wanted:
        make(name, chats, options.out / name)
        print(f"{name}: trained")


if __name__ == "__main__":
    main()
