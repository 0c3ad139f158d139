"""Which objective tells? The same small hunt under each, on organisms and their clean twins: a table as JSON, Markdown and PNG.

python scripts/objectives_table.py --out docs --restarts 4 --steps 24 --candidates 16
python scripts/objectives_table.py --out docs/hinted --restarts 8 --steps 50 --candidates 64 --hinted 32
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dormant.catalogue import known_pairs
from dormant.commands.search import hints_of
from dormant.inference.objectives import OBJECTIVES
from dormant.pairs import Pair
from dormant.pictures.canvas import png_bytes
from dormant.pictures.inversion import objectives_by_pairs
from dormant.search.hunting import Hunt, HuntPlan, hunt, table_row

ORGANISMS = ("circuit", "pi", "token")


def main() -> None:
    """Writes the table and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for objectives.json, .md and .png")
    parser.add_argument("--pairs", nargs="+", default=list(ORGANISMS), help="organisms; their clean twins come along")
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    for name, default in (
        ("length", 4), ("restarts", 4), ("steps", 24), ("candidates", 16), ("probes", 4), ("held-out", 8), ("seed", 0)
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--hinted", type=int, default=0, help="search among so many tokens, those at which the delta acts most"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    known, table = known_pairs(), dict[str, dict[str, dict[str, float]]]()
    for name in given.pairs:
        control = known[name].control(known.values())
        opened = [known[name].open(), *([control.open()] if control else [])]
        hints = [hints_of(pair, given.hinted) if given.hinted else None for pair in opened]
        for objective in given.objectives:
            hunts = [_hunt(pair, objective, given, few) for pair, few in zip(opened, hints, strict=True)]
            for pair, found in zip(opened, hunts, strict=True):
                twin = hunts[1] if pair is opened[0] and len(hunts) > 1 else None
                table.setdefault(objective, {})[pair.name] = dict(table_row(found, twin))
                planted = found.planted.held_out_gain if found.planted else float("nan")
                print(objective, pair.name, table[objective][pair.name], f"reach {found.reach}", repr(found.best.text),
                      f"{found.best.gain:.3g} {found.unit}, trigger held out {planted:.3g}", flush=True)  # fmt: skip
            (given.out / "objectives.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
            (given.out / "objectives.md").write_text(as_markdown(table, given), encoding="utf-8")
        for pair in opened:
            pair.release()
    (given.out / "objectives.png").write_bytes(png_bytes(objectives_by_pairs(table)))


def as_markdown(table: Mapping[str, Mapping[str, Mapping[str, float]]], given: argparse.Namespace) -> str:
    """The table for people, and what it came from."""
    pairs = list(next(iter(table.values())))
    lines = [
        "# Which objective tells?",
        "",
        (f"Among the {given.hinted} tokens at which the delta acts most: " if given.hinted else "")
        + f"GCG of {given.restarts} restarts x {given.steps} steps x {given.candidates} candidates of {given.length} tokens on "
        f"{given.probes} probes, judged on {given.held_out} that it never saw (seed {given.seed}). A cell: share of restarts "
        "whose string makes most held-out probes give the payload / mean share of the gain kept on held-out probes / mean "
        "gain over the clean twin's (organisms only, at most 100). Made by `scripts/objectives_table.py`.",
        "",
        "| objective | " + " | ".join(pairs) + " |",
        "|---" * (len(pairs) + 1) + "|",
    ]
    for objective, rows in table.items():
        cells = [" / ".join(f"{value:.2g}" for value in rows[pair].values()) if pair in rows else "" for pair in pairs]
        lines.append(f"| {objective} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _hunt(pair: Pair, objective: str, given: argparse.Namespace, hints: Tensor | None) -> Hunt:
    sizes = (given.length, given.restarts, given.steps, given.candidates, given.probes, given.held_out, given.seed)
    return hunt(pair, HuntPlan(objective, *sizes), hints)


if __name__ == "__main__":
    main()
