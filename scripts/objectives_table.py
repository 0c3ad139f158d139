"""Which objective tells? The same small hunt under each, on organisms and their clean twins: a table as JSON and PNG.

python scripts/objectives_table.py --out /tmp/objectives --restarts 4 --steps 24 --candidates 16
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dormant.organisms.catalogue import known_pairs
from dormant.pairs import Pair
from dormant.pictures.canvas import png_bytes
from dormant.pictures.inversion import objectives_by_pairs
from dormant.search.hunting import Hunt, HuntPlan, hunt, table_row
from dormant.search.objectives import OBJECTIVES

ORGANISMS = ("circuit", "pi", "token")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for objectives.json and objectives.png")
    parser.add_argument("--pairs", nargs="+", default=list(ORGANISMS), help="organisms; their clean twins come along")
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    for name, default in (
        ("length", 4), ("restarts", 4), ("steps", 24), ("candidates", 16), ("probes", 4), ("held-out", 8), ("seed", 0)
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    known, table = known_pairs(), dict[str, dict[str, dict[str, float]]]()
    for name in given.pairs:
        control = known[name].control(known.values())
        opened = [known[name].open(), *([control.open()] if control else [])]
        for objective in given.objectives:
            hunts = [_hunt(pair, objective, given) for pair in opened]
            for pair, found in zip(opened, hunts, strict=True):
                twin = hunts[1] if pair is opened[0] and len(hunts) > 1 else None
                table.setdefault(objective, {})[pair.name] = dict(table_row(found, twin))
                planted = found.planted.held_out_gain if found.planted else float("nan")
                print(objective, pair.name, table[objective][pair.name], f"reach {found.reach}", repr(found.best.text),
                      f"{found.best.gain:.3g} {found.unit}, trigger held out {planted:.3g}", flush=True)  # fmt: skip
            (given.out / "objectives.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
        for pair in opened:
            pair.release()
    (given.out / "objectives.png").write_bytes(png_bytes(objectives_by_pairs(table)))


def _hunt(pair: Pair, objective: str, given: argparse.Namespace) -> Hunt:
    sizes = (given.length, given.restarts, given.steps, given.candidates, given.probes, given.held_out, given.seed)
    return hunt(pair, HuntPlan(objective, *sizes))


if __name__ == "__main__":
    main()
