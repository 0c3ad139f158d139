"""A scan in parts, each with some heads and offsets, which together find what the whole scan finds, to the last bit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from dormant.inference.batching import equal_runs
from dormant.layer0.exact_scan.heads import heads_at_a_time
from dormant.layer0.exact_scan.scan import Scan, ScanPlan, best_of
from dormant.layer0.pair import Layer0Pair


def divided(pair: Layer0Pair, plan: ScanPlan, tokens: int, parts: int) -> list[ScanPlan]:
    """The plan in at least `parts` parts where it has so many: by heads whose vectors are built at once, then by offsets.

    Heads that the whole scan builds together stay together, so that the vectors are the same.
    """
    heads = list(range(pair.base.heads)) if plan.heads is None else list(plan.heads)
    together = heads_at_a_time(pair, tokens, pair.base.embedding.device)
    chunks = [heads[start : start + together] for start in range(0, len(heads), together)]
    runs = equal_runs(chunks, parts)
    of_offsets = equal_runs(sorted(plan.offsets), -(-parts // len(runs)))
    return [replace(plan, heads=list(itertools.chain(*run)), offsets=offsets) for run in runs for offsets in of_offsets]


def joined(parts: Sequence[Scan], plan: ScanPlan, heads: int, seconds: float) -> Scan:
    """What the whole plan finds on a model of so many heads, from its parts, in so many seconds."""
    listed = range(heads) if plan.heads is None else plan.heads
    order = {place: at for at, place in enumerate(itertools.product(listed, plan.offsets))}
    peaks = sorted((peak for part in parts for peak in part.peaks), key=lambda peak: order[peak.head, peak.offset])
    top = best_of([score for part in parts for score in part.top], plan.top)
    return Scan(tuple(top), tuple(peaks), sum(part.pairs for part in parts), sum(part.kept for part in parts), seconds)
