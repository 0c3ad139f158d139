"""The findings, ledgers and pages of many jobs as one report with one grid."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormant.catalogue import PairDescription, pairs_of_set, relatives_among
from dormant.claims.finding import FINDINGS_FILE, Finding
from dormant.claims.ledger import Ledger
from dormant.errors import BadInput
from dormant.records import from_json, read_json, write_json
from dormant.report.grid import escape_markdown, pair_columns
from dormant.report.summary import Run, summary_markdown
from dormant.report.telling import Relatives
from dormant.sweeps.job import ATTEMPTS, read_failure
from dormant.sweeps.outcome import RESULT, outcome_of
from dormant.sweeps.store import Folder

PAGES = {"hunt": ("report.html", "hunt.json"), "diff": ("delta.json",), "profile": ("profile.json",), "claims": ()}
SAME = ("claim", "parameters", "fingerprint", "figures", "verdict", "controls", "premises")  # of equal findings


@dataclass(frozen=True)
class PairResult:
    """What one job gave, or why it gave nothing: the verb, the pair, what there is to say, and its files."""

    verb: str
    pair: str
    said: str
    pages: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Merged:
    """Everything that was found under some folders."""

    findings: tuple[Finding, ...]
    results: tuple[PairResult, ...]
    pairs: Mapping[str, PairDescription]
    folders: tuple[Path, ...]  # with findings, and the pictures that these name

    @property
    def relatives(self) -> Relatives:
        """Organism's pair -> kind -> clean relative's pair."""
        return relatives_among(self.pairs.values())


def read_merged(folders: Iterable[Path]) -> Merged:
    """What lies in folders of sweeps, of their jobs, or with the reports of a pytest run.

    Raises BadInput for a folder that holds none of these, and for one finding or page that two places give differently.
    """
    results, holders, pairs = list[PairResult](), list[Path](), pairs_of_set("all")
    for folder in folders:
        jobs = list(_jobs_in(folder))
        if not jobs and not (folder / FINDINGS_FILE).exists():
            raise BadInput(
                f"a report must be of a sweep's folder, a job's, or one with {FINDINGS_FILE}; got none at {folder}; correct it"
            )
        if (folder / FINDINGS_FILE).exists():
            holders.append(folder)
        for job in jobs:
            result = _result_of(job)
            if (outcome := outcome_of(Folder(job))) is not None:
                pairs.setdefault(outcome.pair.name, outcome.pair)
            results.append(result)
            if (job / RESULT / FINDINGS_FILE).exists():
                holders.append(job / RESULT)
    taken = set[str]()
    for result in results:
        if result.pages and (name := f"{result.verb} of {result.pair}") in taken:
            raise BadInput(f"a report holds one result of a verb on a pair; got two: {name}; leave one folder out")
        taken.add(f"{result.verb} of {result.pair}")
    return Merged(_one_of_each(holders), tuple(results), pairs, tuple(holders))


def write_merged(found: Merged, out: Path, ledger: Path) -> Path:
    """Write findings, ledger, pictures, pages and the summary, whose path is returned; `ledger`: the one to compare with.

    Raises BadInput where the folder cannot be written.
    """
    try:
        for folder in found.folders:
            for part in ("pictures", "allure-results"):
                if (folder / part).is_dir():
                    shutil.copytree(folder / part, out / part, dirs_exist_ok=True)
        for result in found.results:
            for page in result.pages:
                (out / "pages").mkdir(parents=True, exist_ok=True)
                shutil.copyfile(page, out / _page_name(result, page))
        write_json(out / FINDINGS_FILE, [finding.keyed_record for finding in found.findings])
        budgets = {_budget(finding) for finding in found.findings}
        for budget in budgets:
            Ledger(out / "ledger" / budget).record(one for one in found.findings if _budget(one) == budget)
        summary = out / "summary.md"
        summary.write_text(merged_markdown(found, ledger), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"the report must be writable; got {error.strerror} at {out}; name another with --out"
        ) from error
    return summary


def merged_markdown(found: Merged, ledger: Path) -> str:
    """The summary: what each job gave, then the claims as after a pytest run, where there are any."""
    lines = ["# Results by pair", "", "| pair | verb | result | files |", "| --- | --- | --- | --- |"]
    for result in found.results:
        links = ", ".join(f"[{page.name}]({_page_name(result, page)})" for page in result.pages)
        lines.append(f"| {result.pair} | {result.verb} | {escape_markdown(result.said)} | {links} |")
    parts = ["\n".join(lines) + "\n"] if found.results else []
    if found.findings:
        budgets = sorted({_budget(finding) for finding in found.findings})
        differences = [
            f"{finding.pair}: {finding.key}: {'; '.join(different)}"
            for finding in found.findings
            if (different := Ledger(ledger / _budget(finding)).differences(finding))
        ]
        run = Run(
            _common(finding.provenance for finding in found.findings), ", ".join(budgets), differences=differences
        )
        parts.append(summary_markdown(found.findings, run, found.relatives))
    return "\n".join(parts)


def _jobs_in(folder: Path) -> Iterator[Path]:
    for place in (folder, *sorted(folder.iterdir() if folder.is_dir() else ())):
        if (place / ATTEMPTS).exists():
            yield place


def _result_of(job: Path) -> PairResult:
    outcome = outcome_of(Folder(job))
    if outcome is None:
        failure = read_failure(Folder(job))
        return PairResult("-", job.name, f"no result: {failure.reason if failure else 'it has not ended'}")
    files = tuple(job / RESULT / name for name in PAGES.get(outcome.verb, ()))
    said = outcome.meaning
    if outcome.verb == "hunt":
        record = read_json(job / RESULT / "hunt.json")
        said = f"{record['verdict']}: {record['reason']}"
    return PairResult(outcome.verb, outcome.pair.name, said, tuple(file for file in files if file.exists()))


def _one_of_each(holders: Sequence[Path]) -> tuple[Finding, ...]:
    found: dict[tuple[str, str], tuple[Finding, Path]] = {}
    for holder in holders:
        for record in read_json(holder / FINDINGS_FILE):
            fields = {name: value for name, value in record.items() if name != "key"}
            finding = from_json(Finding, fields, holder / FINDINGS_FILE)
            first, where = found.setdefault((finding.pair, finding.key), (finding, holder))
            if _comparable(first) != _comparable(finding):
                raise BadInput(
                    f"a finding must be the same wherever it stands; got two of {finding.key} on {finding.pair} at {where} "
                    f"and {holder}; leave one folder out"
                )
    findings = [finding for finding, _ in found.values()]
    columns = pair_columns(findings)
    return tuple(sorted(findings, key=lambda finding: (columns.index(finding.pair), finding.key)))


def _comparable(finding: Finding) -> tuple[Any, ...]:
    return tuple(getattr(finding, name) for name in SAME)


def _budget(finding: Finding) -> str:
    return finding.provenance.get("option budget", "quick")


def _page_name(result: PairResult, page: Path) -> str:
    return f"pages/{result.pair}-{result.verb}-{page.name}"


def _common(provenances: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The conditions by name, with every value that occurs."""
    values: dict[str, list[str]] = {}
    for provenance in provenances:
        for name, value in provenance.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    return {name: "; ".join(sorted(every)) for name, every in values.items()}
