"""The hunt from two checkpoints to the trigger, run once a pair and shared by its claims."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dormant.claims.recorder import Recorder
from dormant.hunt.ladder import Hunt, Settings, run_ladder
from dormant.pairs import Pair

MINUTES = 10.0  # what `dormant hunt` takes unless told otherwise


def shared_ladder(pair: Pair, finding: Recorder) -> Hunt:
    """The hunt of this pair, told nothing; its pair may be the control of the finding's. A killed session's goes on."""
    settings = Settings(finding.at_budget("minutes a hunt", quick=MINUTES, full=MINUTES), finding.seed)

    def climb() -> Hunt:
        journals = finding.laboratory.journals
        if journals is None:
            with tempfile.TemporaryDirectory() as scratch:
                return run_ladder(pair, settings, Path(scratch))
        folder = journals / f"{pair.name}-ladder"
        found = run_ladder(pair, settings, folder)
        finding.laboratory.kept.update(folder.glob("*.jsonl"))
        return found

    return finding.once(("ladder", settings), climb, pair=pair)
