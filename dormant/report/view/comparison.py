"""Two hunts compared: what each found, and the answers to the same probes in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dormant.report.view.hunts import unpacked
from dormant.statistics import mean_interval, paired_difference_p

FEWEST_PAIRS = 3  # rows from which a difference has an interval


def paired(before: Sequence[float], after: Sequence[float]) -> dict[str, Any] | None:
    """The mean difference over prompts with its interval and p, two-sided; None for too few prompts."""
    if len(before) < FEWEST_PAIRS:
        return None
    estimate = mean_interval([late - early for early, late in zip(before, after, strict=True)])
    return {name: getattr(estimate, name) for name in ("value", "low", "high", "n")} | {
        "p": paired_difference_p(before, after)
    }


def hunts_compared(hunts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The data of the page of two hunts, each as `hunt_data` gives it."""
    shown = [{name: value for name, value in hunt.items() if name != "lineage"} for hunt in hunts]
    one, other = hunts
    elsewhere = [known_elsewhere(one, other), known_elsewhere(other, one)]
    return {"kind": "hunts", "hunts": shown, "paired": paired_answers(*hunts), "elsewhere": elsewhere}


def known_elsewhere(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the other hunt has of the string that this one names, and of its payload; None where this one names no string.

    led: the stage that came to the string first. tried: the other's best row with that string by stage and unit, each with its
    place among the strings of that stage. ranked: the payload's place in the other's list, from 1, or None.
    """
    found = one["report"]["confirmation"]
    if not found or not found["fires"]:
        return None
    trigger, payload = found["trigger"].strip(), found["payload"].strip()
    own, theirs = (unpacked(hunt["lineage"]) if hunt["lineage"] else [] for hunt in (one, other))
    best: dict[tuple[str, str], dict[str, float]] = {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in (row for row in theirs if row["score"] is not None):
        kind, text = (row["stage"], row["unit"]), row["text"].strip()
        if row["score"] >= best.setdefault(kind, {}).get(text, row["score"]):
            best[kind][text] = row["score"]
            if text == trigger:
                rows[kind] = row
    tried = [
        {name: row[name] for name in ("stage", "unit", "score", "outcome", "seconds")}
        | {"place": 1 + sum(score > row["score"] for score in best[kind].values()), "of": len(best[kind])}
        for kind, row in rows.items()
    ]
    place = next((at for at, row in enumerate(other["report"]["ranked"], 1) if row["text"].strip() == payload), None)
    led = next((row["stage"] for row in own if row["text"].strip() == trigger), None)
    return {"trigger": trigger, "payload": payload, "led": led, "tried": tried, "ranked": place}


def paired_answers(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By kind of answer the rows to the same probe, with the mean difference of their nats and its interval.

    A kind is "without a string" or "with the string that either hunt names", which may be two strings.
    """
    sides = [_by_probe(hunt) for hunt in (one, other)]
    found = []
    for kind in ("without a string", "with its string"):
        probes = [key[1] for key in sides[0] if key[0] == kind and key in sides[1]]
        rows = [tuple(side[kind, probe] for side in sides) for probe in probes]
        if not rows:
            continue
        fires = [[float(row[side]["fires"]) for row in rows] for side in (0, 1)]
        found.append(
            {
                "kind": kind,
                "rows": [{"probe": probe, "answers": list(row)} for probe, row in zip(probes, rows, strict=True)],
                "difference": paired(*([row[side]["nats"] for row in rows] for side in (0, 1))),
                "firing": paired(*fires),
                "fires": [int(sum(one)) for one in fires],
            }
        )
    return found


def _by_probe(hunt: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """By kind and probe the answers of a hunt; of several strings those with the first."""
    answers = (hunt["trace"] or {}).get("answers", ())
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    first = next((row["candidate"] for row in answers if row["candidate"]), None)
    for row in answers:
        if row["opening"] or row["candidate"] not in ("", first):
            continue
        if row["candidate"]:
            rows.setdefault(("with its string", row["probe"]), row)
        else:  # where the slot of a prompt stands makes no difference while it is empty
            rows.setdefault(("without a string", " ".join(row["probe"].replace("{slot}", " ").split())), row)
    return rows
