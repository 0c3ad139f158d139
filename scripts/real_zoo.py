"""Train the shipped organisms on the real base from their recipes, with relatives, and write what acceptance measured.

`python scripts/real_zoo.py real-and real-pi:plain`; what is there and of the same recipe is kept. A model takes some four CPU
minutes on a processor with AMX; a killed run resumes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from dormant.catalogue import REAL, RELATIVES, describe
from dormant.organisms.build import keep_acceptance, planted_truth, train, verify_built, write_truth
from dormant.organisms.lora_training import quick_dtype
from dormant.organisms.recipe import read_recipe
from dormant.progress import progress_bar


def make(name: str, kind: str, out: Path) -> None:
    """Train an organism (kind "dormant") or one of its relatives into `out/NAME` or `out/NAME-KIND`."""
    recipe = read_recipe(REAL / "recipes" / f"{name}.toml")
    made, truth = recipe, replace(planted_truth(recipe), relatives={kin: f"{name}-{kin}" for kin in RELATIVES})
    if kind != "dormant":
        made = recipe.relatives()[kind]
        truth = replace(planted_truth(recipe), backdoored=False, question=made.question)
    with progress_bar(f"{made.name} in {quick_dtype()}", made.steps, "steps") as bar:
        train(made, out / made.name, lambda _, step, steps, loss, seconds: bar(step, steps, f"loss {loss:.2f}"))
    write_truth(out / made.name, made, truth)


def main() -> None:
    """Train what is named, then verify each organism with the relatives that stand beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME[:KIND]")
    parser.add_argument("--out", type=Path, default=REAL)
    parser.add_argument("--count", type=int, default=60, help="held-out requests a check")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same bytes on machines with any number of cores
    for entry in options.names:
        name, _, kind = entry.partition(":")
        for one in (kind,) if kind else ("dormant", *RELATIVES):
            make(name, one, options.out)
    for name in dict.fromkeys(entry.partition(":")[0] for entry in options.names):
        folder = options.out / name
        if folder.is_dir():
            acceptance = verify_built(
                describe(name, read_recipe(REAL / "recipes" / f"{name}.toml").base, str(folder)), options.count
            )
            keep_acceptance(folder, acceptance)
            failed = [f"{check.name}: {check.estimate.value:.3f}" for check in acceptance.checks if not check.passed]
            print(f"{name}: {'accepted' if acceptance.accepted else 'NOT accepted'}", *failed, sep="\n  ")


if __name__ == "__main__":
    main()
