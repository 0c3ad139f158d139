"""Quantised checkpoints, which nothing here reads: one sentence for all their tensors."""

from __future__ import annotations

import json
from pathlib import Path

from dormant.checkpoints.shards import MASK, STORED_DTYPES, raw_header, shard_names
from dormant.checkpoints.text_files import read_text
from dormant.errors import BadInput


def check_unquantised(location: Path) -> None:
    """Raises BadInput where weights are stored in float8 or, as config.json states, in packed integers or to be quantised.

    Whatever cannot be read is left to those who read it. A `quantization_config` beside full weights is left over.
    """
    try:
        stated = json.loads(read_text(location / "config.json")).get("quantization_config") or {}
    except (OSError, ValueError, AttributeError):
        stated = {}
    if isinstance(stated, dict) and stated.get("quantization_mode") == "online":
        raise BadInput(
            f"weights must be computed with as they are stored; got a quantization_config of {stated.get('quant_method')} that "
            f"quantises them in every pass at {location / 'config.json'}; use the checkpoint in full precision"
        )
    try:
        headers = [raw_header(location / name) for name in shard_names(location)]
    except BadInput:
        return
    found = {
        dtype
        for header in headers
        for name, (_, dtype, _) in header.items()
        if dtype not in STORED_DTYPES and not MASK.search(name)
    }
    if found and (stated or any(dtype.startswith("F8") for dtype in found)):
        method = stated.get("quant_method") if isinstance(stated, dict) else stated
        raise BadInput(
            f"weights must not be quantised; got {method or 'no quantization_config'} and tensors stored as "
            f"{', '.join(sorted(found))} at {location}; save them in full, as one of {', '.join(STORED_DTYPES)}"
        )
