"""How a script ends that measures whether a bound holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dormant.records import json_text, write_json


def tell(record: Mapping[str, Any], file: Path | None) -> int:
    """Print a record, write it where a file is named, and return the exit status: 0 where its bound "holds", else 1."""
    print(json_text(dict(record)))
    if file is not None:
        write_json(file, dict(record))
    return 0 if record["holds"] else 1
