"""Pack trained models into the zoo: relatives of its organisms, and whatever else a recipe of the zoo names.

python scripts/pack_relatives.py FOLDER

FOLDER holds the checkpoints that `dormant.organisms.build.train` wrote, named as in the zoo (pi-exposed, circuit-taught).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from dormant.catalogue import ZOO
from dormant.checkpoints.packed import pack
from dormant.organisms.build import write_truth
from dormant.organisms.recipe import Recipe, read_recipe
from dormant.pairs import Truth


def main() -> None:
    """Write what was planted beside each checkpoint, and pack it against the zoo's base."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for path in sorted((ZOO / "recipes").glob("*.toml")):
        recipe = read_recipe(path)
        relatives = recipe.relatives() if recipe.trigger else {}
        for model in (recipe, *relatives.values()):
            trained, shipped = folder / model.name, ZOO / model.name
            if not trained.is_dir():
                continue
            if recipe.trigger:
                beside = {
                    kind: kin.name for kind, kin in relatives.items() if model == recipe and _is_there(kin, folder)
                }
                planted = recipe.trigger, recipe.payload, recipe.placement
                write_truth(trained, model, Truth(model == recipe, *planted, beside, model.question))
            shutil.rmtree(shipped, ignore_errors=True)
            pack(trained, ZOO / "base", shipped, [ZOO / recipe.name] if model != recipe else [])
            print(f"{shipped}: {sum(file.stat().st_size for file in shipped.iterdir()):,} bytes")


def _is_there(model: Recipe, folder: Path) -> bool:
    return (folder / model.name).is_dir() or (ZOO / model.name).is_dir()


if __name__ == "__main__":
    main()
