"""One claim on one pair as one test: measure, decide, compare with the ledger, and pass, fail or skip."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim
from dormant.claims.finding import Finding, Parameter, Verdict
from dormant.claims.ledger import HOW_TO_ACCEPT, Ledger
from dormant.claims.premises import PREMISES, premise_finding, settle
from dormant.claims.session_state import ClaimSession
from dormant.pictures.svg import drawn
from dormant.records import from_json, to_json
from dormant.report.allure import attach_finding

FINDING, RECORD, DIFFERS = "dormant-finding", "dormant-record", "dormant-differs"


def claim_parameters(item: pytest.Function) -> dict[str, Parameter]:
    """A claim's parameters without the pair, as in its key; raises TypeError for objects."""
    parameters = {name: value for name, value in _parameters(item).items() if name != "pair"}
    for name, value in parameters.items():
        if not isinstance(value, (str, int, float)):
            raise TypeError(f"a claim's parameters must be strings or numbers; got {value!r} for {name} at {item.name}")
    return parameters


def _parameters(item: pytest.Function) -> dict[str, Any]:
    return dict(item.callspec.params)


def run_claim(
    item: pytest.Function, claim: Claim, claim_session: ClaimSession, ledger: Ledger, update: bool, reports: Path
) -> None:
    """Run a claim's test to its outcome; `user_properties` carry its finding to xdist's controller."""
    __tracebackhide__ = True
    arguments = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
    builder = cast(FindingBuilder, item.funcargs["finding"])
    began = time.perf_counter()
    if claim.id in PREMISES:
        finding, pictures = premise_finding(claim.id, builder.pair, claim_session)
    else:
        item.obj(**arguments)
        finding = settle(builder)
        pictures = builder.pictures
    files = {name: drawn(picture) for name, picture in pictures.items()}
    finding = replace(with_pictures(finding, files, reports), seconds=round(time.perf_counter() - began, 3))
    compared = ledger.differences(finding)
    differences = compared or []
    item.user_properties.append((FINDING, json.dumps(to_json(finding))))
    if differences:
        item.user_properties.append((DIFFERS, f"{finding.pair}: {finding.key}: {'; '.join(differences)}"))
    attach_finding(finding, {name: svg for name, (_, svg) in files.items()}, differs=bool(differences))
    conclude(item, finding, compared is not None, differences, update)


def conclude(item: pytest.Function, finding: Finding, recorded: bool, differences: list[str], update: bool) -> None:
    """Pass, fail or skip: by the ledger if it has an entry, else by the verdict."""
    __tracebackhide__ = True
    title = f"{finding.key} on {finding.pair}"
    if update and (differences or not recorded):
        item.user_properties.append((RECORD, finding.key))
        what = "\n  ".join(differences) if recorded else f"{finding.verdict}: {finding.reason}"
        pytest.fail(
            f"{title}: the ledger was rewritten; this run fails so that the change is seen\n  {what}", pytrace=False
        )
    if differences:
        listed = "\n  ".join(differences)
        pytest.fail(f"{title} does not reproduce the ledger\n  {listed}\n  {HOW_TO_ACCEPT}", pytrace=False)
    if recorded or finding.verdict is Verdict.SUPPORTED:
        return
    if finding.verdict is Verdict.REFUTED:
        pytest.fail(f"{title} is refuted: {finding.reason}", pytrace=False)
    pytest.skip(f"{finding.verdict}: {finding.reason}")


def with_pictures(finding: Finding, pictures: Mapping[str, tuple[bytes, str]], reports: Path) -> Finding:
    """Save the pictures as PNG under `reports/pictures`, which the finding names, and beside each its SVG, which pages show."""
    names: list[str] = []
    for name, (png, svg) in pictures.items():
        label = re.sub(r"[^\w.=,-]+", "-", f"{finding.key}-{name}").replace("[", "-").replace("]", "")
        path = Path("pictures", finding.pair, f"{label}.png")
        (reports / path).parent.mkdir(parents=True, exist_ok=True)
        (reports / path).write_bytes(png)
        (reports / path).with_suffix(".svg").write_text(svg, encoding="utf-8")
        names.append(path.as_posix())
    return replace(finding, pictures=tuple(names))


def finding_in(properties: list[tuple[str, Any]]) -> Finding | None:
    """The finding that a test's report carries."""
    records = (json.loads(value) for name, value in properties if name == FINDING)
    return next((from_json(Finding, record, "the test's properties") for record in records), None)
