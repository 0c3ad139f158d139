"""What the committed calibration of the hunt found, as shipped."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

# reports/calibration/power.json as it was committed
CALIBRATED = Path(__file__).parents[1] / "data" / "calibrated.json"


@cache
def calibrated() -> dict[str, Any]:
    """Its numbers by name; "clean evidence" has the nats that each clean model reaches at most."""
    return dict(json.loads(CALIBRATED.read_text(encoding="utf-8")))
