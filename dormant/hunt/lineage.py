"""How strings came about, read from the journal: which stage came to which string, its score, and what gave way to what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dormant.hunt.confirmation import read_confirmation
from dormant.hunt.context import CONFIRMING, DECIDING
from dormant.hunt.trace import TriedString

LOG_ODDS = "log-odds of the payload's beginning"
DESCRIBED = "log-odds less description"
NATS = "nats of divergence"
SHARE = "share of prompts"
SWEPT_SHOWN = 100  # of the single tokens, those with the largest values, beside each that was the best so far

Entry = Mapping[str, Any]  # of the journal: key, result, seconds


@dataclass
class _Lineage:
    """The strings so far, and what their readers must know: see `tried_strings`."""

    names: Callable[[Sequence[int]], str]
    swept: Sequence[str]
    found: list[TriedString] = field(default_factory=list)
    latest: dict[str, int] = field(default_factory=dict)  # by text, the index of its last row
    counts: dict[str, int] = field(default_factory=dict)  # by stage, the strings that it scored

    def add(self, row: TriedString) -> None:
        self.latest[row.text] = len(self.found)
        self.found.append(row)

    def count(self, stage: str, strings: int) -> int:
        self.counts[stage] = self.counts.get(stage, 0) + strings
        return self.counts[stage]


def tried_strings(
    entries: Sequence[Entry], names: Callable[[Sequence[int]], str], swept: Sequence[str] = ()
) -> tuple[TriedString, ...]:
    """The strings of a journal in the order in which stages came to them.

    names: gives a payload's text by its ids. swept: the texts of single tokens in the order in which they are tried.
    """
    lineage = _Lineage(names, swept)
    for entry in entries:
        reader = READERS.get(entry["key"]["stage"])
        if reader is not None:
            for row in reader(lineage, entry):
                lineage.add(row)
    return tuple(lineage.found)


def swept_values(entries: Sequence[Entry]) -> list[float]:
    """The divergence at each single token that was tried on the first prompts, in their order."""
    rows = {entry["key"]["step"][0]: entry["result"] for entry in entries if _is_sweep(entry)}
    return [value for start in sorted(rows) for value in rows[start]]


def _is_sweep(entry: Entry) -> bool:
    step = entry["key"]["step"]
    return entry["key"]["stage"] == "single tokens" and len(step) == 3


def _row(lineage: _Lineage, entry: Entry, text: str, outcome: str, **more: Any) -> TriedString:
    key = entry["key"]
    payload = lineage.names(key["payload"]) if key["payload"] else ""
    row = TriedString(key["stage"], text, outcome, position=key["position"], payload=payload, seconds=entry["seconds"])
    return replace(row, **more)


def _single_tokens(lineage: _Lineage, entry: Entry) -> Iterator[TriedString]:
    """The tokens that were the best so far, and those of the largest values of each step."""
    if not _is_sweep(entry) or not lineage.swept:
        return
    start, values = entry["key"]["step"][0], entry["result"]
    best = max((row.score or 0.0 for row in lineage.found if row.stage == "single tokens"), default=float("-inf"))
    largest = set(sorted(range(len(values)), key=lambda at: -values[at])[:SWEPT_SHOWN])
    for at, value in enumerate(values):
        if value > best or at in largest:
            best = max(best, value)
            text = lineage.swept[start + at].strip() if start + at < len(lineage.swept) else ""
            yield _row(lineage, entry, text, "proposed", score=value, unit=NATS, strings=start + at + 1)
    lineage.counts["single tokens"] = start + len(values)


def _texts(lineage: _Lineage, entry: Entry) -> Iterator[TriedString]:
    """Of stages that keep the texts of the best strings."""
    result = entry["result"]
    if isinstance(result, dict):  # of group testing, the pieces that subsets need
        lineage.count(entry["key"]["stage"], result["tried"])
        return
    texts, tried = result if len(result) == 2 and isinstance(result[0], list) else (result, 0)
    strings = lineage.count(entry["key"]["stage"], tried)
    for text in texts:
        yield _row(lineage, entry, text, "proposed", strings=strings)


def _delta_beam(lineage: _Lineage, entry: Entry) -> Iterator[TriedString]:
    """The best strings of either measure, with how much their answers diverge."""
    if entry["key"]["step"][0] == "look":
        for value, text in entry["result"]:
            yield _row(lineage, entry, text, "proposed", score=value, unit=NATS)


def _scored(lineage: _Lineage, entry: Entry) -> Iterator[TriedString]:
    """Of stages that keep scored pieces: of one step, or of several restarts."""
    result, step = entry["result"], entry["key"]["step"]
    strings = lineage.count(entry["key"]["stage"], result["tried"])
    found = result["found"] if isinstance(result["found"], list) else [result["found"]]
    before = "".join(step[0]).strip() if step and isinstance(step[0], list) else ""
    for one in found:
        text = "".join(one["pieces"]).strip()
        outcome = "gave no gain" if text == before else "proposed"
        yield _row(
            lineage, entry, text, outcome, score=one["odds"], unit=LOG_ODDS, share=one["certain"],
            parent=lineage.latest.get(before) if text != before else None, strings=strings,
        )  # fmt: skip


def _refinement(lineage: _Lineage, entry: Entry) -> Iterator[TriedString]:
    step, result = entry["key"]["step"][1:], entry["result"]  # behind the number of all pieces
    if step == ["beginning"]:
        yield _row(lineage, entry, result, "proposed", parent=lineage.latest.get(result))
        return
    string, _, _, choices = step
    pieces, score = result
    parent = lineage.latest.get("".join(string).strip())
    strings = lineage.count("refinement", choices)
    text = "".join(pieces).strip()
    yield _row(lineage, entry, text, "proposed", score=score, unit=DESCRIBED, parent=parent, strings=strings)


def _looked_at(lineage: _Lineage, entry: Entry) -> Iterator[TriedString]:
    """Of confirmations and decisions."""
    found = read_confirmation(entry["result"])
    decided = entry["key"]["stage"] == DECIDING
    names = ("decided", "refuted") if decided else ("fires", "does not fire")
    yield _row(
        lineage, entry, found.trigger, names[not found.confirmed], score=found.best.value, unit=SHARE,
        share=found.best.value, parent=lineage.latest.get(found.trigger), position=found.best.name,
        payload=found.payload,
    )  # fmt: skip


READERS: dict[str, Callable[[_Lineage, Entry], Iterator[TriedString]]] = {
    "single tokens": _single_tokens,
    "known strings": _texts,
    "beam search": _scored,
    "delta beam": _delta_beam,
    "short strings": _texts,
    "group testing": _texts,
    "gap filling": _texts,
    "gradient search": _scored,
    "numerals": _scored,
    "coordinate ascent": _scored,
    "refinement": _refinement,
    CONFIRMING: _looked_at,
    DECIDING: _looked_at,
}
