"""How many restarts the claim `gcg-convergence` needs, and what it gives on three new seeds: JSON and Markdown.

python -m scripts.gcg_seeds --out docs

A killed run goes on where it was. Seed 0 is not among the seeds: six settings of the search were looked at with it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from dormant.behaviour.scan_finalists import DIVERGES
from dormant.catalogue import known_pairs
from dormant.search.diagnostics import late_gain
from dormant.search.restarts import SearchPlan, search_restarts
from dormant.statistics import ONE_BIT, Estimate, difference_interval, sample_size, student_interval
from hypotheses.support.shared_searches import GCG_QUICK, gcg_plan

SEEDS = (1, 2, 3)
# Standard deviations over 32 restarts of the lead over random search in nats, of each organism and of its clean twin: seed 0,
# 48 steps of 8 candidates. They are read off the recorded intervals of the claim as it stood before its plan was computed.
SPREADS = {"circuit": (3.05, 1.66), "pi": (1.88, 2.17), "token": (9.67, 1.79)}


def restarts_for(organism: str, spreads: Mapping[str, tuple[float, ...]] = SPREADS) -> int:
    """Restarts that settle a lead of `DIVERGES` against one bit four times in five, by the other organisms' median spread."""
    others = [spread for name, pair in spreads.items() if name != organism for spread in pair]
    return sample_size(median(others), DIVERGES - ONE_BIT)


def main() -> None:
    """Searches each organism and its control once a seed, and writes all outcomes after every search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gcg-seeds.json and .md")
    given = parser.parse_args()
    path = given.out / "gcg-seeds.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = known_pairs()
    for seed in SEEDS:
        for organism in SPREADS:
            control = known[organism].control(known.values())
            for role, described in (("organism", known[organism]), ("control", control)):
                key = f"{organism} {role} {seed}"
                if described is None or key in kept:
                    continue
                pair = described.open()
                kept[key] = outcome(pair, gcg_plan(3, seed, GCG_QUICK))
                pair.release()
                path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
                (given.out / "gcg-seeds.md").write_text(as_markdown(kept), encoding="utf-8")
                print(key, flush=True)
    (given.out / "gcg-seeds.md").write_text(as_markdown(kept), encoding="utf-8")


def outcome(pair: Any, plan: SearchPlan) -> dict[str, list[float]]:
    """What the readings of the claim are computed from, one value a restart."""
    report = search_restarts(pair, plan)
    return {
        "gain": [string.gain for string in report.found],
        "random gain": [chance.value - report.empty for chance in report.random],
        "held-out gain": [string.held_out_gain for string in report.found],
        "late gain": [late_gain(run.curve) for run in report.searches],
    }


def as_markdown(kept: Mapping[str, Mapping[str, list[float]]]) -> str:
    """The computed plan, then every reading on every organism and seed that ran."""
    needed = {organism: restarts_for(organism) for organism in SPREADS}
    lines = [
        "# The plan of `gcg-convergence`, and three seeds",
        "",
        "`python -m scripts.gcg_seeds --out docs` writes this page. A lead over random search of "
        f"{DIVERGES:.1f} nats (ln 20) is to be told from one bit four times in five. By the median standard deviation of the "
        "lead on the other organisms and their clean twins this takes "
        + ", ".join(f"{count} restarts for `{organism}`" for organism, count in needed.items())
        + f"; the quick budget has {GCG_QUICK['restarts']}. On `token` alone the lead's standard deviation is "
        f"{SPREADS['token'][0]:.1f} nats, for a restart finds the one-token trigger or does not: there so many restarts settle "
        "only larger leads. Each seed from 1 to 3 is run once and all are shown; the ledger's row is seed 1. "
        f"{len(kept)} of {2 * len(SEEDS) * len(SPREADS)} searches (a seed, an organism or its clean twin) have run.",
        "",
        "Mean over restarts with its 95 % interval. Gains are over each pair's own empty row, in nats; "
        "the late gain is the last quarter's share of the whole.",
        "",
        "| organism | seed | lead over random search | lead over the clean twin | kept on held-out probes | late gain |",
        "|---|---|---|---|---|---|",
    ]
    for organism in SPREADS:
        for seed in SEEDS:
            run, twin = (kept.get(f"{organism} {role} {seed}") for role in ("organism", "control"))
            if run is not None:
                transferred = [
                    held / max(own, ONE_BIT) for held, own in zip(run["held-out gain"], run["gain"], strict=True)
                ]
                cells = [
                    _cell(difference_interval(run["gain"], run["random gain"])),
                    _cell(difference_interval(run["gain"], twin["gain"])) if twin is not None else "not run",
                    _cell(student_interval(transferred)),
                    _cell(student_interval(run["late gain"])),
                ]
                lines.append(f"| `{organism}` | {seed} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


if __name__ == "__main__":
    main()
