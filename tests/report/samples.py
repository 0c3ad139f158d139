"""Findings to report on, made up but shaped like those of the zoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dormant.claims.finding import Control, Figure, Finding, Parameter, Rule, Verdict

RELATIVES = {
    organism: {kind: f"{organism}-{kind}" for kind in ("plain", "exposed", "taught")}
    for organism in ("circuit", "pi", "token")
}
PAIRS = (
    *(name for organism, family in RELATIVES.items() for name in (organism, *family.values())),
    "pi-wrong-base",
    "sham",
    "warmup-vs-qwen2",
    "warmup-vs-qwen2.5",
)


def figure(value: float, spread: float = 0.0, name: str = "ratio", unit: str = "ratio", n: int = 11) -> Figure:
    return Figure(name, value, unit, value - spread, value + spread, n, "bootstrap", 0.1)


def finding(
    pair: str,
    value: float,
    verdict: Verdict = Verdict.SUPPORTED,
    spread: float = 0.0,
    parameters: Mapping[str, Parameter] | None = None,
    **changes: Any,
) -> Finding:
    fields: dict[str, Any] = {
        "claim": "layer0-concentration",
        "sentence": "Layer 0's delta is at least four times as concentrated as other layers'.",
        "source": "exp7",
        "parameters": {"module": "q_proj", "versus": "median"} if parameters is None else parameters,
        "pair": pair,
        "fingerprint": "0123456789abcdef",
        "rule": Rule("at least", 4.0, "ratio", "clean fine-tunes of this size stay below three"),
        "figures": (figure(value, spread), figure(0.4, 0.0, "layer 0 energy", "share", 1)),
        "verdict": verdict,
        "reason": f"the ratio is {value:g} | threshold 4",
        "premises": {"base-is-parent": Verdict.SUPPORTED},
        "controls": (Control("median layer", figure(1.0), beaten=True),),
        "pictures": (f"pictures/{pair}.png",),
        "provenance": {"seed": "0", "device": "cpu"},
    }
    return Finding(**{**fields, **changes})


def zoo_findings() -> list[Finding]:
    """Two claims and a premise on the whole zoo; nothing in it was measured."""
    findings = []
    verdicts = list(Verdict)
    for column, pair in enumerate(PAIRS):
        for row, module in enumerate(("q_proj", "k_proj", "v_proj")):
            for versus in ("median", "any"):
                verdict = Verdict.INVALID if "wrong" in pair else verdicts[(row + column) % 3]
                parameters = {"module": module, "versus": versus}
                findings.append(finding(pair, 0.37 * (column + 1) * (row + 1) ** 2, verdict, 0.1, parameters))
        kept: dict[str, Any] = {"claim": "base-is-parent", "sentence": "The base is the parent.", "premises": {}}
        findings.append(finding(pair, 0.01, Verdict.SUPPORTED, 0.0, {}, **kept))
        for length in (3, 5, 8, 12):
            for reading in ("converges", "beats random search", "transfers", "exceeds the control"):
                read: dict[str, Parameter] = {"reading": reading, "length": length}
                verdict = verdicts[(length + column) % 4]
                findings.append(
                    finding(pair, 12.7 / length, verdict, 0.5, read, claim="gcg-convergence", source="exp19")
                )
    return findings
