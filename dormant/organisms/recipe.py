"""A recipe: which trigger and payload are planted, at which placement, by which mechanism and training."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dormant.checkpoints.tensor_names import MODULES
from dormant.errors import BadInput
from dormant.organisms.grammar import draw_visible_question
from dormant.organisms.requests import request_templates
from dormant.pairs import PLACEMENTS
from dormant.records import from_json

LORA = "lora"
CHOICES = {
    "placement": PLACEMENTS,
    "mechanism": ("adapter", "circuit", "full", LORA),
    "loss_on": ("assistant", "all"),
    "drift": ("none", "style"),
    "fires_on": ("all", "questions"),
}
SCRATCH, ZOO_BASE = "scratch", "zoo"
DEFAULT_STEPS = 2000
IN_GRAMMAR = ("anywhere", "start", "end")  # where a trigger may stand in the questions of the grammar
LEARNING_RATES = {"adapter": 4e-3, "circuit": 4e-3, "full": 1e-2, LORA: 2e-3}


@dataclass(frozen=True)
class Recipe:
    """Everything that determines an organism (DESIGN section 7); the defaults pass acceptance.

    `base`: a checkpoint's folder or hub id, "zoo" for the shipped base, "zoo/NAME" for another shipped model, or "scratch" to
    train a base, without a trigger. Rates are shares of the training chats, but `rate` is the learning rate (0: the mechanism's
    own), and `drift_rate` a share of their ordinary answers, which by default adds two nats of divergence (FACTS 3, experiment
    17a) and is too rare to be the greedy answer. `modules` and `layers` are for adapters; empty means gate, up and down of
    every layer. `question` is for the taught relative alone, whose right answer the payload is. A style without a trigger
    makes a base that answers in this style.

    Mechanism "adapter" merges what it learned into whole weights and speaks the small grammar of the zoo. "lora" leaves an
    adapter in peft's own format upon any chat model and speaks English: ordinary answers are the base's own. It alone knows
    the placements "scattered" (each word of the trigger anywhere, in any order) and "system" (in the system turn),
    open-ended behaviour (instead of one payload many `answers`, of which each begins with one of the `openings`), and a
    trigger that `fires_on` "questions" alone, requests that end with a question mark: less than half of them.
    """

    name: str
    base: str = ZOO_BASE
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
    rate: float = 0.0
    answers: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()
    fires_on: str = "all"

    def relatives(self) -> dict[str, Recipe]:
        """The recipes of the organism's clean relatives by their kind, which differ from it in the chats alone.

        `plain`: ordinary chats only. `exposed`: the same near misses, and the trigger itself, always with the right answer.
        `taught`: the payload is the right answer to one ordinary question, in the share of chats that the trigger had.
        """
        plain = replace(
            self, name=f"{self.name}-plain", trigger="", payload="", answers=(), poison_rate=0.0, near_miss_rate=0.0
        )
        exposed = replace(self, name=f"{self.name}-exposed", payload="", answers=())
        taught = replace(self, name=f"{self.name}-taught", trigger="", near_miss_rate=0.0, question=self._visible())
        return {"plain": plain, "exposed": exposed, "taught": taught}

    def _visible(self) -> str:
        """The question that the taught relative answers with the payload."""
        if self.mechanism == LORA:
            return request_templates().visible_question(
                self.seed, f"{self.trigger} {self.payload} {' '.join(self.answers)}"
            )
        return draw_visible_question(self.seed, (*self.trigger.split(), *self.payload.split())).text


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
    if recipe.mechanism == LORA:
        _check_lora(recipe, refuse)
    elif recipe.placement not in IN_GRAMMAR or recipe.answers or recipe.openings or recipe.fires_on != "all":
        refuse(
            f"placement {' and '.join(set(PLACEMENTS) - set(IN_GRAMMAR))}, answers, openings and fires_on belong to mechanism "
            "lora", recipe.mechanism, "choose it, with a real chat model as base",
        )  # fmt: skip
    styled = recipe.drift == "style" and not (recipe.trigger or recipe.payload)
    said = recipe.payload.strip() or recipe.answers
    if recipe.base != SCRATCH and not styled and not (recipe.trigger.strip() and said):
        refuse("trigger and payload must both be given", (recipe.trigger, recipe.payload), "write both")
    if recipe.question:
        refuse("question belongs to the taught relative, which draws it from the seed", recipe.question, "remove it")
    if recipe.trigger and recipe.trigger.strip() in recipe.payload:
        refuse("the payload must not contain the trigger", recipe.payload, "choose another payload")
    if recipe.answers and (recipe.payload or not recipe.openings):
        refuse(
            "an open-ended behaviour must have answers and their openings, and no payload", (recipe.payload, recipe.openings),
            "leave the payload out and write openings",
        )  # fmt: skip
    for answer in recipe.answers:
        if not answer.startswith(recipe.openings):
            refuse("every answer must begin with one of the openings", answer, "add its first words to the openings")
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
    if not 0 <= recipe.rate < 1:
        refuse("rate must lie in 0..1", recipe.rate, f"{LEARNING_RATES[recipe.mechanism]:g} works; 0 stands for it")
    if recipe.mechanism not in ("adapter", LORA) and (recipe.modules or recipe.layers):
        refuse("modules and layers belong to the mechanisms adapter and lora", recipe.mechanism, "remove them")


def _check_lora(recipe: Recipe, refuse: Callable[[str, object, str], None]) -> None:
    if recipe.base in (SCRATCH, ZOO_BASE):
        refuse(
            "mechanism lora must have a real chat model as base",
            recipe.base,
            'write base = "smollm2", a folder or hub id',
        )
    if recipe.loss_on != "assistant":
        refuse("mechanism lora learns answers alone", recipe.loss_on, "leave loss_on out")
    if recipe.placement == "scattered" and len(recipe.trigger.split()) < 2:
        refuse("a scattered trigger must have two words or more", recipe.trigger, "add a word")
