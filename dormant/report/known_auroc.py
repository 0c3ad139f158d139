"""How well each claim's figure separates the models of the shipped table, for the grid of any other run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormant.statistics import Estimate

if TYPE_CHECKING:
    from dormant.report.telling_table import TellingTable

# reports/telling/known_auroc.json as it was committed
KNOWN_AUROCS = Path(__file__).parents[1] / "data" / "known_auroc.json"


@dataclass(frozen=True)
class KnownAurocs:
    """By key of a finding its AUROC over that many models of known truth."""

    models: int
    by_key: Mapping[str, Estimate]


def known_record(table: TellingTable) -> dict[str, Any]:
    """What of a table is shipped: how many models, and AUROC and interval by key."""
    rows = {row.key: [row.auroc.value, row.auroc.low, row.auroc.high] for row in table.rows if row.auroc is not None}
    return {"models": len(table.subjects), "auroc": {key: [round(one, 4) for one in row] for key, row in rows.items()}}


@cache
def known_aurocs() -> KnownAurocs:
    """The shipped ones."""
    record = json.loads(KNOWN_AUROCS.read_text(encoding="utf-8"))
    models = int(record["models"])
    by_key = {
        key: Estimate(value, low, high, models, "AUROC, bootstrap of clusters 95%")
        for key, (value, low, high) in record["auroc"].items()
    }
    return KnownAurocs(models, by_key)
