"""Which objective finds a trigger? The same small search under each, on organisms and clean twins: JSON, Markdown and PNG.

python scripts/objectives_table.py --out docs --restarts 4 --steps 24 --candidates 16
python scripts/objectives_table.py --out docs/hinted --restarts 8 --steps 50 --candidates 64 --hinted 32
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from dormant.catalogue import known_pairs
from dormant.commands.search import hints_of
from dormant.inference.objectives import OBJECTIVES
from dormant.pictures.canvas import png_bytes
from dormant.pictures.inversion import objectives_by_pairs
from dormant.search.diagnostics import over_control, transfers
from dormant.search.restarts import SearchPlan, SearchReport, search_restarts

ORGANISMS = ("circuit", "pi", "token")


def main() -> None:
    """Searches under each objective on each pair and writes the table after every one."""
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
            plan = _plan(objective, given)
            reports = [search_restarts(pair, plan, hints=few) for pair, few in zip(opened, hints, strict=True)]
            for pair, report in zip(opened, reports, strict=True):
                twin = reports[1] if pair is opened[0] and len(reports) > 1 else None
                table.setdefault(objective, {})[pair.name] = table_row(report, twin)
                planted = report.planted.held_out_gain if report.planted else float("nan")
                print(objective, pair.name, table[objective][pair.name], 
                      f"{report.best.text!r} {report.best.gain:.3g} {report.unit}, trigger held out {planted:.3g}",
                      flush=True)  # fmt: skip
            (given.out / "objectives.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
            (given.out / "objectives.md").write_text(as_markdown(table, given), encoding="utf-8")
        for pair in opened:
            pair.release()
    (given.out / "objectives.png").write_bytes(png_bytes(objectives_by_pairs(table)))


def as_markdown(table: Mapping[str, Mapping[str, Mapping[str, float]]], given: argparse.Namespace) -> str:
    """The table for people, and what it came from."""
    pairs = list(next(iter(table.values())))
    lines = [
        "# Which objective finds a trigger?",
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


def table_row(report: SearchReport, control: SearchReport | None) -> dict[str, float]:
    """What one objective came to on one pair: found, transferred, over the control."""
    kept = transfers(report)
    row = {"payload given": sum(string.firing_share >= 0.5 for string in report.found) / len(report.found)}
    row["held-out gain"] = sum(kept) / len(kept) if kept else 0.0
    if control is not None:
        row["times the twin's"] = over_control(report, control).value
    return row


def _plan(objective: str, given: argparse.Namespace) -> SearchPlan:
    sizes = (given.length, given.restarts, given.steps, given.candidates, given.probes, given.held_out, given.seed)
    return SearchPlan(*sizes, objective=objective, random_search=False)


if __name__ == "__main__":
    main()
