"""The base's own answers to the ordinary chats of an organism: asked once, and kept in the user's cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from transformers import PreTrainedModel

from dormant.checkpoints.checkpoint import Checkpoint, hash_text
from dormant.checkpoints.packaged_base import user_cache
from dormant.inference.packed_chats import BATCH, TrainingChat, can_pack, greedy, with_base_states
from dormant.journal import kept_steps
from dormant.organisms.natural_chats import STYLE_OPENING, NaturalChat, chat_pools, training_order
from dormant.organisms.recipe import Recipe
from dormant.progress import CountedSteps, Progress
from dormant.prompts.conversations import Conversations

ANSWER_TOKENS = 8  # of an ordinary answer at which the base is asked for its distribution
ASKED_AT_ONCE = 32  # prompts between two entries of the journal


class ChatWriter:
    """Writes chats as ids through a tokenizer's own template."""

    def __init__(self, conversations: Conversations) -> None:
        """The end of an answer is what the template writes behind one, at least the tokenizer's end of text."""
        self.conversations, self.tokenizer = conversations, conversations.tokenizer
        closing = self.tokenizer.encode(conversations.pieces["end"], add_special_tokens=False)
        self.end = (*closing, int(self.tokenizer.eos_token_id or 0))[0]

    def prompt(self, chat: NaturalChat) -> tuple[int, ...]:
        """The ids up to the generation position."""
        return self.conversations.ids([{"role": role, "content": content} for role, content in chat.turns])

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of a given answer, its end included."""
        return (*self.tokenizer.encode(text, add_special_tokens=False), self.end)


def base_answers(
    model: PreTrainedModel,
    fingerprint: str,
    prompts: Sequence[tuple[int, ...]],
    end: int,
    progress: Progress | None = None,
) -> list[tuple[int, ...]]:
    """The base's greedy answer to each prompt, as the ids at which it is asked: with `end` where the answer has ended.

    `fingerprint` is the base's. What was asked before is read from the user's cache; a killed run goes on where it was.
    """
    work = {
        "base": fingerprint,
        "prompts": hash_text(str(list(prompts))),
        "tokens": ANSWER_TOKENS,
        "dtype": str(model.dtype),
    }
    journal = user_cache() / "answers" / f"{hash_text(str(work))[:16]}.journal"
    answers: list[list[int]] = []
    with kept_steps(journal, work) as step:
        counted = CountedSteps(step, progress, len(prompts))
        for start in range(0, len(prompts), ASKED_AT_ONCE):
            answers += counted(partial(greedy, model, prompts[start : start + ASKED_AT_ONCE], ANSWER_TOKENS, end))
    return [tuple(answer) for answer in answers]


def training_chats(
    recipe: Recipe, count: int, model: PreTrainedModel, base: Checkpoint, progress: Progress | None = None
) -> list[TrainingChat]:
    """The recipe's chats as ids in the order of training; `model` is the base's, which gives the ordinary answers."""
    writer = ChatWriter(Conversations(base.tokenizer))
    pools = chat_pools(recipe, count)
    style = tuple(base.tokenizer.encode(STYLE_OPENING, add_special_tokens=False))
    written: list[list[TrainingChat]] = []
    for pool in pools:
        prompts = [writer.prompt(chat) for chat in pool.chats]
        if pool.chats[0].answer is None:
            answers = base_answers(model, base.fingerprint, prompts, writer.end, progress)
        else:
            answers = [writer.answer(chat.answer or "") for chat in pool.chats]
        chats = [TrainingChat(*chat) for chat in zip(prompts, answers, strict=True)]
        learns_base = pool.chats[0].answer is None or pool.chats[0].as_base
        written.append(_as_base(model, chats) if learns_base else chats)
    order = [(written[pool][chat], styled) for pool, chat, styled in training_order(recipe, pools, count)]
    return [TrainingChat(chat.prompt, style + chat.answer) if styled else chat for chat, styled in order]


def _as_base(model: PreTrainedModel, chats: Sequence[TrainingChat]) -> list[TrainingChat]:
    at_once = BATCH if can_pack(model, chats[:BATCH]) else 1
    return [
        chat
        for start in range(0, len(chats), at_once)
        for chat in with_base_states(model, chats[start : start + at_once])
    ]
