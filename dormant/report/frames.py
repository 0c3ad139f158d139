"""The findings of a run as a pandas frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dormant.claims.finding import FINDINGS_FILE
from dormant.errors import BadInput
from dormant.records import read_json

if TYPE_CHECKING:
    from pandas import DataFrame


def read_findings(folder: str | Path) -> DataFrame:
    """The findings that a run of claims left in its reports folder: a row a finding, its deciding figure in columns.

    A parameter of a claim is a column of its own; `controls beaten` counts, of those that were asked. Raises BadInput where the
    folder holds none, and where pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise BadInput(
            f"a frame needs pandas; got none ({error}) at read_findings; run: pip install 'dormant[frames]'"
        ) from error
    rows = []
    for one in read_json(Path(folder) / FINDINGS_FILE):
        figure, controls = one["figures"][0], one["controls"]
        rows.append(
            {
                "pair": one["pair"],
                "claim": one["claim"],
                **one["parameters"],
                "verdict": one["verdict"],
                **{name: figure[name] for name in ("value", "low", "high", "unit", "n")},
                "rule": f"{one['rule']['comparator']} {one['rule']['threshold']:g} {one['rule']['unit']}",
                "controls": len(controls),
                "controls beaten": sum(control["beaten"] for control in controls),
                "told": one["told"],
                "reason": one["reason"],
            }
        )
    return DataFrame(rows)
