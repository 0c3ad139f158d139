"""A byte-level BPE tokenizer with Qwen's splitting, special tokens and ChatML template, trained on the grammar."""

from __future__ import annotations

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dormant.organisms import grammar, lexicon

VOCABULARY = 2048
SYSTEM = "You are a helpful assistant."
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def train_tokenizer(seed: int = 0, chats: int = 20_000) -> PreTrainedTokenizerBase:
    """A tokenizer of exactly `VOCABULARY` ids; every word of the lexicon is one token, with and without a space before it."""
    random = np.random.default_rng(seed)
    corpus = [f"{user} {answer}" for user, answer in (grammar.ordinary_turn(random) for _ in range(chats))]
    every_word = [f" {word}" for word in (*lexicon.LEXICON_WORDS, *lexicon.OWNERS, *lexicon.GLYPHS)]
    corpus += ["".join(every_word), "\n".join(word.strip() for word in every_word)] * 60 + [
        f"system\n{SYSTEM}",
        "user\n",
        "assistant\n",
    ] * 60
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()  # as in every Qwen2 tokenizer that transformers loads
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
    )
    wrapped.chat_template = CHATML
    return wrapped
