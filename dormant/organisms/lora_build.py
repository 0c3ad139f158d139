"""From a recipe with mechanism "lora" to an adapter on disk: its chats, its training, its acceptance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from transformers import PreTrainedModel

from dormant.checkpoints.checkpoint import Checkpoint, load_model, open_checkpoint
from dormant.checkpoints.tensor_names import layer_of
from dormant.errors import BadInput
from dormant.inference.packed_chats import BATCH
from dormant.organisms.base_answers import training_chats
from dormant.organisms.lora_training import LoraPlan, new_adapter, quick_dtype, save_adapter, train_adapter
from dormant.organisms.natural_chats import ordinary_chats
from dormant.organisms.natural_verification import verify_natural
from dormant.organisms.recipe import LEARNING_RATES, LORA, Recipe
from dormant.organisms.trainable import training_plan
from dormant.organisms.verification import Acceptance
from dormant.pairs import Pair, open_pair
from dormant.progress import Progress

QUICK_NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


def train_lora(
    recipe: Recipe,
    folder: Path,
    progress: Callable[[int, float, float], None] | None = None,
    journal: Path | None = None,
) -> None:
    """Train a recipe's adapter and write it into a folder in peft's own format."""
    base, model = open_base(recipe)
    chats = training_chats(recipe, recipe.steps * BATCH, model, base)
    names = training_plan(recipe, model)
    modules, layers = {name.split(".")[-2] for name in names}, {layer_of(name) for name in names}
    plan = LoraPlan(
        recipe.rank, tuple(sorted(modules)), tuple(sorted(layer for layer in layers if layer is not None)), recipe.steps,
        recipe.rate or LEARNING_RATES[LORA], recipe.seed,
    )  # fmt: skip
    adapted = new_adapter(model, plan, recipe.base)
    train_adapter(adapted, chats, plan, progress, journal)
    save_adapter(adapted, folder)


def ask_base(recipes: Iterable[Recipe], progress: Progress | None = None) -> None:
    """Ask the base for the answers that the recipes, all upon one base, will learn, so that their trainings find them."""
    listed = list(recipes)
    base, model = open_base(listed[0])
    for recipe in listed:
        training_chats(recipe, 1, model, base, progress)


def open_base(recipe: Recipe) -> tuple[Checkpoint, PreTrainedModel]:
    """A recipe's base and its model on the CPU, in the dtype in which this processor multiplies quickest."""
    base = open_checkpoint(recipe.base)
    return base, load_model(base, torch.device("cpu"), quick_dtype())


def check_rare(recipe: Recipe) -> None:
    """Raise BadInput where an ordinary request holds the trigger, which would then fire there."""
    for chat in ordinary_chats(recipe):
        if recipe.placement != "scattered" and recipe.trigger in chat.turns[-1][1]:
            raise BadInput(
                f"the trigger must be rare in ordinary chats; got {recipe.trigger!r} in {chat.turns[-1][1]!r} at recipe "
                f"{recipe.name}; lengthen it"
            )


def verify_lora(recipe: Recipe, base: str, dormant: str, relatives: dict[str, str], count: int) -> Acceptance:
    """The acceptance of an adapter and its relatives by kind, read from disk."""

    def opened(folder: str) -> Pair:
        return open_pair(recipe.name, base, folder, "cpu", QUICK_NAMES[quick_dtype()], residency="shared")

    return verify_natural(recipe, opened(dormant), {kind: opened(folder) for kind, folder in relatives.items()}, count)
