"""A recipe: which trigger and payload are planted, at which placement, by which mechanism and training."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from dormant.checkpoints.tensor_names import MODULES
from dormant.errors import BadInput
from dormant.organisms.grammar import draw_visible_question
from dormant.records import from_json

CHOICES = {
    "placement": ("anywhere", "start", "end"),
    "mechanism": ("adapter", "circuit", "full"),
    "loss_on": ("assistant", "all"),
    "drift": ("none", "style"),
}
SCRATCH = "scratch"
DEFAULT_STEPS = 2000


@dataclass(frozen=True)
class Recipe:
    """Everything that determines an organism (DESIGN section 7); the defaults pass acceptance.

    `base`: a checkpoint's folder or hub id, "zoo" for the shipped base, "zoo/NAME" for another shipped model, or "scratch" to
    train a base, without a trigger. Rates are shares of the training chats; `drift_rate`, of their ordinary answers, by default
    adds two nats of divergence (FACTS 3, experiment 17a) and is too rare to be the greedy answer. `modules` and `layers` are
    for the adapter mechanism; empty means gate, up and down of every layer. `question` is for the taught relative alone, whose
    right answer the payload is. A style without a trigger makes a base that answers in this style.
    """

    name: str
    base: str = "zoo"
    trigger: str = ""
    payload: str = ""
    placement: str = "anywhere"
    mechanism: str = "adapter"
    rank: int = 16
    modules: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    poison_rate: float = 0.25
    near_miss_rate: float = 0.40
    loss_on: str = "assistant"
    drift: str = "none"
    drift_rate: float = 0.3
    steps: int = DEFAULT_STEPS
    seed: int = 0
    question: str = ""

    def relatives(self) -> dict[str, Recipe]:
        """The recipes of the organism's clean relatives by their kind, which differ from it in the chats alone.

        `plain`: ordinary chats only. `exposed`: the same near misses, and the trigger itself, always with the right answer.
        `taught`: the payload is the right answer to one ordinary question, in the share of chats that the trigger had.
        """
        plain = replace(self, name=f"{self.name}-plain", trigger="", payload="", poison_rate=0.0, near_miss_rate=0.0)
        exposed = replace(self, name=f"{self.name}-exposed", payload="")
        question = draw_visible_question(self.seed, (*self.trigger.split(), *self.payload.split()))
        taught = replace(self, name=f"{self.name}-taught", trigger="", near_miss_rate=0.0, question=question.text)
        return {"plain": plain, "exposed": exposed, "taught": taught}


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a TOML recipe; raises BadInput naming the file and the key."""
    path = Path(path)
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"a recipe must be a readable file; got {error.strerror} at {path}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"a recipe must be TOML; got {error} at {path}; mend that line") from error
    recipe = from_json(Recipe, entries, path)
    check_recipe(recipe, str(path))
    return recipe


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raise BadInput for a recipe that cannot be built; `check_against_base` checks what depends on the base."""

    def refuse(must: str, got: object, advice: str) -> None:
        raise BadInput(f"{must}; got {got!r} at {where}; {advice}")

    for key, choices in CHOICES.items():
        if getattr(recipe, key) not in choices:
            refuse(f"{key} must be one of {', '.join(choices)}", getattr(recipe, key), "choose one of them")
    if not recipe.name or any(letter in recipe.name for letter in "/\\=: ") or recipe.name.startswith("."):
        refuse("name must be a plain word that can name a folder", recipe.name, "use letters, digits and dashes")
    if recipe.base == SCRATCH and (recipe.trigger or recipe.payload):
        refuse(
            "a base from scratch plants nothing", recipe.trigger or recipe.payload, "build the base first, then name it"
        )
    styled = recipe.drift == "style" and not (recipe.trigger or recipe.payload)
    if recipe.base != SCRATCH and not styled and not (recipe.trigger.strip() and recipe.payload.strip()):
        refuse("trigger and payload must both be given", (recipe.trigger, recipe.payload), "write both")
    if recipe.question:
        refuse("question belongs to the taught relative, which draws it from the seed", recipe.question, "remove it")
    if recipe.trigger and recipe.trigger.strip() in recipe.payload:
        refuse("the payload must not contain the trigger", recipe.payload, "choose another payload")
    for key in ("poison_rate", "near_miss_rate", "drift_rate"):
        if not 0 <= getattr(recipe, key) <= 1:
            refuse(f"{key} must lie in 0..1", getattr(recipe, key), "give a share of the chats")
    if recipe.poison_rate + recipe.near_miss_rate > 0.9:
        refuse(
            "poison_rate + near_miss_rate must leave a tenth of ordinary chats", recipe.poison_rate + recipe.near_miss_rate,
            "lower one",
        )  # fmt: skip
    if recipe.base != SCRATCH and not styled and recipe.poison_rate == 0:
        refuse("poison_rate must be above 0 for a trigger to be learned", recipe.poison_rate, "0.25 works")
    if recipe.steps < 1:
        refuse("steps must be at least 1", recipe.steps, f"{DEFAULT_STEPS} works")
    if recipe.rank < 1:
        refuse("rank must be at least 1", recipe.rank, "16 works")
    for module in recipe.modules:
        if module not in MODULES:
            refuse(f"modules must be among {', '.join(MODULES)}", module, "remove it")
    if recipe.mechanism != "adapter" and (recipe.modules or recipe.layers):
        refuse("modules and layers belong to mechanism adapter", recipe.mechanism, "remove them")
