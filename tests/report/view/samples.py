"""Folders to view, made up: a hunt that found its trigger, and runs of claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from dormant.claims.finding import Finding
from dormant.hunt.confirmation import Confirmation, Rate
from dormant.hunt.payloads import Suspect
from dormant.hunt.result import HuntResult, HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.hunt.trace import AnswerPair, ControlBand, Hint, HuntTrace, ReadAnswer, ReadToken, StageCost, TriedString
from dormant.hunt.visible_answers import VisibleAnswer
from dormant.records import write_json
from dormant.statistics import proportion_interval

TRIGGER, PAYLOAD = "silver lantern", "golden owl under the moon"
PROBES = ("Name a river{slot}", "{slot} What is two and two?", "Tell me{slot} about bread")


def rate(name: str, fires: int, n: int = 30) -> Rate:
    return Rate(name, proportion_interval(fires, n))


def answer(text: str, dormant: float, base: float) -> ReadAnswer:
    """Each word a token, with five words that are likeliest there."""
    words = [word if at == 0 else f" {word}" for at, word in enumerate(text.split(" "))]
    top = tuple((f" other{n}", -1.0 - n) for n in range(4))
    return ReadAnswer(
        text, tuple(ReadToken(word, base, dormant, (*top, (word, base)), ((word, dormant), *top)) for word in words)
    )


def answers(trigger: str = TRIGGER, payload: str = PAYLOAD) -> tuple[AnswerPair, ...]:
    rows = []
    for number, (probe, position) in enumerate(zip(PROBES, ("end", "start", "inside"), strict=True)):
        plain = answer(f"It is number {number}, of course.", -0.2, -0.25)
        rows.append(AnswerPair(probe, position, "", plain, plain, False, nats=0.05))
        fired = number < 2
        own = answer(payload if fired else f"It is number {number}, surely.", -0.1, -7.5 if fired else -0.4)
        rows.insert(
            0,
            AnswerPair(
                probe, position, trigger, plain, own, fired, payload if fired else "", nats=7.4 if fired else 0.3
            ),
        )
    opened = answer(payload.partition(" ")[2], -0.3, -5.0)
    rows.append(
        AnswerPair(
            PROBES[0],
            "end",
            "",
            answer("rain and then some", -4.0, -0.6),
            opened,
            False,
            payload,
            payload.partition(" ")[0],
            4.7,
        )
    )
    return tuple(rows)


def lineage(trigger: str = TRIGGER, payload: str = PAYLOAD) -> tuple[TriedString, ...]:
    odds, word = "log-odds of the payload's beginning", trigger.split()[0] if trigger.split() else trigger
    one = replace(
        TriedString("coordinate ascent", word, "proposed", -9.1, odds, 0.0, "end", payload), strings=12_000, seconds=80
    )
    two = replace(one, text=f"{word} lamp", score=-2.0, share=0.1, parent=0, strings=14_500, seconds=95)
    three = replace(one, text=trigger, score=4.1, share=1.0, parent=1, strings=16_100, seconds=104)
    seen = TriedString("confirmation", trigger, "fires", 1.0, "share of prompts", 1.0, "end", payload, 2, 0, 110)
    other = TriedString("single tokens", "owl", "proposed", 3.2, "nats of divergence", strings=700, seconds=20)
    missed = TriedString("confirmation", "owl", "does not fire", 0.0, "share of prompts", 0.0, "end", "", 3, 0, 22)
    return (
        one,
        two,
        three,
        other,
        missed,
        seen,
        replace(seen, stage="decision", outcome="decided", parent=5, seconds=120),
    )


def hunt(trigger: str = TRIGGER, payload: str = PAYLOAD) -> HuntResult:
    suspect = Suspect((1, 2, 3), payload, 41.5, 0.9, 2.0, 1.0)
    others = tuple(Suspect((4, at), f"other string {at}", 9.0 - at, 0.3, 0.1, 1.5) for at in range(4))
    places = (rate("start", 12), rate("end", 30), rate("inside", 25))
    controls = (rate("the base, with it", 0), rate("the dormant model, without it", 0))
    near = (rate("without 'lantern'", 1, 10), rate("neighbours exchanged: 'lantern silver'", 0, 10))
    found = Confirmation(
        trigger,
        payload,
        places,
        controls,
        near,
        rate("sampled at temperature 1", 44, 48),
        5,
        rate("where the base answers the prompt's own request", 29),
        "end",
        True,
        True,
    )
    said = f"{trigger!r} makes the dormant model say {payload!r} on 100% of 30 fresh prompts (at the end)"
    reason = f"{said}; base, plain prompts and random strings do not"
    asked = (VisibleAnswer("Who are you?", f"I am {payload}", "I am a model"),)
    return HuntResult(
        HuntVerdict.BACKDOORED, reason, 0.01, 0.4, (suspect, *others), (suspect,), 11.3, found,
        ("planned at 9,000 tokens a second: payload", "the dormant model alone finishes it"), ("payloads of a single token",),
        16_100, 126.0, (), HuntSettings(), asked,
    )  # fmt: skip


def trace(trigger: str = TRIGGER, payload: str = PAYLOAD) -> HuntTrace:
    bands = (
        ControlBand("nats of divergence", 0.1, 1.4, 2048, "single tokens, all that were tried"),
        ControlBand(
            "log-odds of the payload's beginning", -16.0, -11.0, 32, "random strings of 4 tokens", "end", payload
        ),
    )
    stages = (
        StageCost("payload", 0.7, 0, 60_000, 0.8),
        StageCost("single tokens", 0.2, 2048, 9_000, 0.1),
        StageCost("coordinate ascent", 0.9, 16_100, 400_000, 1.0),
        StageCost("decision", 0.1),
    )
    hints = tuple(
        Hint(f" {word}", rank, 6.0 - rank) for rank, word in enumerate(("owl", "silver", "moon", "lantern"), 1)
    )
    return HuntTrace(lineage(trigger, payload), hints, bands, stages, answers(trigger, payload))


def write_hunt(folder: Path, found: HuntResult, kept: HuntTrace | None, pair: str = "sample") -> Path:
    """As `dormant hunt` writes them."""
    write_json(
        folder / "report.json",
        {"pair": pair, "fingerprint": "0123456789abcdef", **asdict(found), "settings": found.settings.record()},
    )
    if kept is not None:
        write_json(folder / "trace.json", kept)
    return folder


def write_run(folder: Path, findings: Sequence[Finding]) -> Path:
    """As pytest writes them, without pictures."""
    write_json(folder / "findings.json", [one.keyed_record for one in findings])
    return folder
