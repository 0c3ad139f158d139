"""Writes the JSON Schemas of the files that runs leave, docs/schemas/*.json: python scripts/schemas.py"""

from __future__ import annotations

import json
from pathlib import Path

from dormant.report.schemas import schemas

for name, schema in schemas().items():
    path = Path(__file__).parents[1] / "docs" / "schemas" / name
    path.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
