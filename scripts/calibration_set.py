"""Trains the models over which methods are compared, and packs them against the zoo's base.

python scripts/calibration_set.py DIR [NAME...]

DIR keeps the trained checkpoints; what is there is not trained again, and a killed training resumes. NAME: a recipe of the
calibration, which stands for its organism and its plain relative, or a clean model of `CLEAN`; by default all. An organism
ships with what acceptance measured, whatever that is. A core trains an organism or a relative in eight to fifteen minutes, a
quirk in two.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dormant.calibration.outcomes import RECIPES
from dormant.catalogue import CALIBRATION, ZOO, describe
from dormant.checkpoints.packed import pack, unpacked
from dormant.checkpoints.shards import SINGLE
from dormant.organisms.build import keep_acceptance, planted_truth, train, verify_built, write_probes, write_truth
from dormant.organisms.recipe import Recipe, read_recipe
from dormant.pairs import Truth
from dormant.records import write_json

sys.path.insert(0, str(Path(__file__).parent))
from train_quirky_models import QUIRKS, train_quirk

Tensors = Mapping[str, Tensor]
# Further training on ordinary chats alone: of every weight, and of an adapter that learns the user's words too.
FURTHER = (
    Recipe("further", mechanism="full", poison_rate=0.0, near_miss_rate=0.0, steps=300, seed=61),
    Recipe("further-whole", loss_on="all", poison_rate=0.0, near_miss_rate=0.0, steps=300, seed=62),
)


def merged(folder: Path) -> Tensors:
    """The mean of two quirks' weights: a merge of two fine-tunes."""
    base, *tuned = (load_file(place / SINGLE) for place in (ZOO / "base", folder / "name", folder / "support"))
    return {
        name: torch.stack([one[name].float() for one in tuned]).mean(0).to(weight.dtype)
        for name, weight in base.items()
    }


def restored(bits: int, _: Path) -> Tensors:
    """The base with every matrix rounded to so many bits, with a scale for each row, and restored."""
    most = 2 ** (bits - 1) - 1

    def rounded(weight: Tensor) -> Tensor:
        if weight.ndim < 2:
            return weight
        scale = (weight.float().abs().amax(dim=1, keepdim=True) / most).clamp_min(1e-12)
        back: Tensor = (weight.float() / scale).round() * scale
        return back.to(weight.dtype)

    return {name: rounded(weight) for name, weight in load_file(ZOO / "base" / SINGLE).items()}


def write_like_base(make: Callable[[Path], Tensors], folder: Path, out: Path) -> None:
    """The base's folder with other weights."""
    shutil.copytree(ZOO / "base", out, ignore=shutil.ignore_patterns(SINGLE, "recipe.json", "organism.json"))
    save_file({name: weight.contiguous() for name, weight in make(folder).items()}, out / SINGLE, {"format": "pt"})


# Clean models of other pipelines, each trained or made into a folder, given the one with all of them.
CLEAN: dict[str, Callable[[Path], object]] = {
    **{f"quirk-{name}": partial(lambda name, folder: train_quirk(name, folder / name), name) for name in QUIRKS},
    "merge": lambda folder: write_like_base(merged, folder, folder / "merge"),
    "eight-bit": lambda folder: write_like_base(partial(restored, 8), folder, folder / "eight-bit"),
    "six-bit": lambda folder: write_like_base(partial(restored, 6), folder, folder / "six-bit"),
    **{recipe.name: partial(lambda recipe, folder: train(recipe, folder / recipe.name), recipe) for recipe in FURTHER},
    "style": lambda folder: shutil.copytree(unpacked(ZOO / "polite"), folder / "style"),
}


def ship_clean(name: str, folder: Path) -> None:
    """Make the clean model, where it is not there, and pack it."""
    trained = folder / name.removeprefix("quirk-")
    if not (trained / SINGLE).is_file():
        CLEAN[name](folder)
    write_json(trained / "organism.json", Truth(False, "", "", "anywhere"))
    write_probes(trained / "probes.txt", "anywhere")
    ship(trained, name)


def ship_recipe(recipe: Recipe, folder: Path) -> None:
    """Train an organism and its plain relative, verify, and pack both."""
    plain, truth = recipe.relatives()["plain"], planted_truth(recipe)
    train(recipe, folder / recipe.name)
    train(plain, folder / plain.name)
    write_truth(folder / plain.name, plain, replace(truth, backdoored=False))
    write_truth(folder / recipe.name, recipe, replace(truth, relatives={"plain": plain.name}))
    acceptance = verify_built(describe(recipe.name, str(ZOO / "base"), str(folder / recipe.name)))
    keep_acceptance(folder / recipe.name, acceptance)
    failed = [f"{check.name} {check.estimate.value:.3f}" for check in acceptance.checks if not check.passed]
    print(f"{recipe.name}: {'accepted' if acceptance.accepted else 'not accepted: ' + ', '.join(failed)}", flush=True)
    ship(folder / recipe.name, recipe.name)
    ship(folder / plain.name, plain.name, CALIBRATION / recipe.name)


def ship(trained: Path, name: str, *siblings: Path) -> None:
    """Pack a checkpoint into the set."""
    shipped = CALIBRATION / name
    shutil.rmtree(shipped, ignore_errors=True)
    pack(trained, ZOO / "base", shipped, siblings)
    print(f"{name}: {sum(file.stat().st_size for file in shipped.iterdir()):,} bytes", flush=True)


def main() -> None:
    """Ships the models that are named, or all."""
    folder, *names = sys.argv[1:]
    recipes = {recipe.name: recipe for recipe in map(read_recipe, sorted(RECIPES.glob("*.toml")))}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or (*recipes, *CLEAN):
        if name in recipes:
            ship_recipe(recipes[name], Path(folder))
        else:
            ship_clean(name, Path(folder))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
