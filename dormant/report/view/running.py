"""What is known so far of a hunt that still runs, read from its journal in the words of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dormant.hunt.confirmation import Confirmation, read_confirmation
from dormant.hunt.context import ABOUT, CONFIRMING, DECIDING
from dormant.hunt.lineage import Entry, tried_strings
from dormant.hunt.plan import PlannedStage
from dormant.hunt.trace import HuntTrace
from dormant.hunt.tracing import stage_costs
from dormant.records import from_json, to_json

UNTOLD = "single tokens by their names, and answers: these are read at the hunt's end"


def hunt_so_far(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A report whose verdict is `running`, and the trace with it; what only a finished hunt knows is left out."""
    work, entries = journal_lines(file)
    results = {entry["key"]["stage"]: entry["result"] for entry in entries if not entry["key"]["step"]}
    about = results.get(ABOUT, {"pair": "the pair", "minutes": None, "threshold": None, "plan": []})
    ranked = results.get("payload", [])
    suspects = [one for one in ranked if about["threshold"] is not None and one["evidence"] >= about["threshold"]]
    named = {tuple(one["ids"]): one["text"] for one in ranked}
    lineage = tried_strings(entries, lambda ids: named.get(tuple(ids), f"payload {list(ids)}"))
    strings = dict[str, int]()
    for row in lineage:
        strings[row.stage] = max(strings.get(row.stage, 0), row.strings)
    looked = [
        read_confirmation(entry["result"]) for entry in entries if entry["key"]["stage"] in (CONFIRMING, DECIDING)
    ]
    plan = [from_json(PlannedStage, one, file) for one in about["plan"]]
    trace = HuntTrace(lineage, stages=stage_costs(entries, plan, strings), unshown=(UNTOLD,))
    found = max((one for one in looked if one.confirmed), key=lambda one: one.best.value, default=None)
    report = {
        "pair": about["pair"], "fingerprint": work.get("pair", ""), "verdict": "running", "ranked": ranked,
        "reason": _sentence(entries, about, looked), "suspects": suspects, "threshold": about["threshold"],
        "confirmation": to_json(found) if found else None, "evaluations": sum(strings.values()),
        "seconds": entries[-1]["seconds"] if entries else 0.0, "answers": results.get("visible answers", []),
    }  # fmt: skip
    return report, to_json(trace)


def journal_lines(file: Path) -> tuple[dict[str, Any], list[Entry]]:
    """What the journal is of, and its entries; a line that is still being written is left out."""
    whole, _, _ = file.read_text(encoding="utf-8").rpartition("\n")
    first, *entries = [json.loads(line) for line in whole.splitlines()] or [{"work": {}}]
    return first["work"], entries


def _sentence(entries: Sequence[Entry], about: Mapping[str, Any], looked: Sequence[Confirmation]) -> str:
    if not entries:
        return "it has begun, and kept no result yet"
    last, of = entries[-1], f" of {about['minutes']:g}" if about["minutes"] else ""
    fired = [one.trigger for one in looked if one.confirmed]
    tried = len({one.trigger for one in looked})
    fires = f"; {', '.join(map(repr, dict.fromkeys(fired)))} fires" if fired else ""
    return (
        f"its last result is of minute {last['seconds'] / 60:.1f}{of}, in {last['key']['stage']}; "
        f"{tried} string{'s' * (tried != 1)} tried on fresh prompts{fires}"
    )
