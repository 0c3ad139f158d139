"""Pack trained relatives of the zoo's organisms into the zoo.

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
from dormant.organisms.recipe import read_recipe
from dormant.pairs import Truth


def main() -> None:
    """Write what was planted beside each checkpoint, and pack it against the zoo's base."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for path in sorted((ZOO / "recipes").glob("*.toml")):
        recipe = read_recipe(path)
        for relative in recipe.relatives().values() if recipe.trigger else ():
            trained, shipped = folder / relative.name, ZOO / relative.name
            if not trained.is_dir():
                continue
            truth = Truth(False, recipe.trigger, recipe.payload, recipe.placement, question=relative.question)
            write_truth(trained, relative, truth)
            shutil.rmtree(shipped, ignore_errors=True)
            pack(trained, ZOO / "base", shipped, [ZOO / recipe.name])
            print(f"{shipped}: {sum(file.stat().st_size for file in shipped.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
