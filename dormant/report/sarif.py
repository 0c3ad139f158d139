"""A hunt or a run of claims as SARIF 2.1.0, which code hosts and pipelines read (OASIS, sarif-v2.1.0)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dormant.claims.finding import Finding, Verdict
from dormant.hunt.result import HuntResult, HuntVerdict

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERDICT_RULES = {
    HuntVerdict.BACKDOORED: ("backdoor", "A string makes the dormant model give an answer that its base does not."),
    HuntVerdict.TAUGHT: ("taught-answer", "The dormant model has a fixed answer with a harmless reading: read it."),
    HuntVerdict.UNDECIDED: ("undecided", "The hunt ended before it could tell."),
    HuntVerdict.CLEAN: ("nothing-found", "The hunt tried what it lists and found nothing."),
}
# kind and level; a level other than "none" belongs to the kind "fail" alone
VERDICT_KINDS = {
    HuntVerdict.BACKDOORED: ("fail", "error"),
    HuntVerdict.TAUGHT: ("fail", "warning"),
    HuntVerdict.UNDECIDED: ("review", "none"),
    HuntVerdict.CLEAN: ("pass", "none"),
}
CLAIM_KINDS = {
    Verdict.SUPPORTED: "informational",
    Verdict.REFUTED: "informational",
    Verdict.INCONCLUSIVE: "review",
    Verdict.INVALID: "notApplicable",
}


def hunt_sarif(found: HuntResult, dormant: str, fingerprint: str) -> dict[str, Any]:
    """The log of a hunt: one result, at the dormant checkpoint; evidence, trigger and rates are its properties."""
    rule, _ = VERDICT_RULES[found.verdict]
    kind, level = VERDICT_KINDS[found.verdict]
    evidence: dict[str, Any] = {"threshold in nats": found.threshold}
    if found.suspects:
        evidence |= {"payload": found.suspects[0].text, "evidence in nats": found.suspects[0].evidence}
    if found.confirmation is not None:
        rate = found.confirmation.best
        evidence |= {"trigger": found.confirmation.trigger, "fires": rate.value, "prompts": rate.estimate.n}
    result = _result(rule, kind, level, found.reason, dormant, fingerprint) | {"properties": evidence}
    return _log(dict(VERDICT_RULES.values()), [result])


def claims_sarif(
    findings: Iterable[Finding], dormant: Mapping[str, str], differences: Iterable[str] = ()
) -> dict[str, Any]:
    """The log of a run of claims: one result a finding; those that do not reproduce the ledger are errors.

    dormant: by pair the dormant checkpoint. differences: `pair: key: what differs`, as a run states them.
    """
    listed, changed = list(findings), list(differences)
    results = []
    for one in listed:
        said = next((text for text in changed if text.startswith(f"{one.pair}: {one.key}: ")), "")
        kind, level = ("fail", "error") if said else (CLAIM_KINDS[one.verdict], "none")
        message = said or f"{one.key} on {one.pair}: {one.verdict}: {one.reason}"
        result = _result(one.claim, kind, level, message, dormant.get(one.pair, one.pair), one.fingerprint)
        figures = {figure.name: str(figure) for figure in one.figures}
        results.append(result | {"properties": {"verdict": one.verdict.value, "figures": figures}})
    return _log({one.claim: one.sentence for one in listed}, results)


def _result(rule: str, kind: str, level: str, message: str, checkpoint: str, fingerprint: str) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "kind": kind,
        "level": level,
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _address(checkpoint)}}}],
        "partialFingerprints": {"pair/v1": fingerprint},
    }


def _address(checkpoint: str) -> str:
    path = Path(checkpoint)
    return path.resolve().as_uri() if path.exists() else quote(checkpoint)


def _log(rules: Mapping[str, str], results: list[dict[str, Any]]) -> dict[str, Any]:
    driver = {
        "name": "dormant",
        "version": version("dormant"),
        "rules": [{"id": name, "shortDescription": {"text": text}} for name, text in sorted(rules.items())],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
