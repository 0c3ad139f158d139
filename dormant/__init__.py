"""Hunt a backdoor in a model when you hold the checkpoint that it was fine-tuned from.

The names below are the public face: each is imported when it is first used, so that `import dormant` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dormant.behaviour.delta_amplification import amplification_sweep
    from dormant.behaviour.profiles import profile
    from dormant.calibration.run import calibrate
    from dormant.checkpoints.checkpoint import open_checkpoint
    from dormant.claims.claim import at_least, at_most, claim
    from dormant.claims.finding import Finding
    from dormant.errors import BadInput
    from dormant.hunt.pipeline import run_hunt
    from dormant.layer0.beam import beam_search
    from dormant.layer0.exact_scan.scan import scan
    from dormant.layer0.pair import read_layer0_pair
    from dormant.layer0.scorer import score
    from dormant.organisms.build import build, verify_built
    from dormant.pairs import Pair, open_pair
    from dormant.prompts.probes import Probe, Prompter
    from dormant.search.campaign import run_campaign
    from dormant.statistics import exact, mean_interval, proportion_interval
    from dormant.weights.measure import compare_checkpoints
    from dormant.weights.parents import rank_parents

_HOME = {
    "BadInput": "errors",
    "Finding": "claims.finding",
    "Pair": "pairs",
    "Probe": "prompts.probes",
    "Prompter": "prompts.probes",
    "amplification_sweep": "behaviour.delta_amplification",
    "at_least": "claims.claim",
    "at_most": "claims.claim",
    "beam_search": "layer0.beam",
    "build": "organisms.build",
    "calibrate": "calibration.run",
    "claim": "claims.claim",
    "compare_checkpoints": "weights.measure",
    "exact": "statistics",
    "mean_interval": "statistics",
    "open_checkpoint": "checkpoints.checkpoint",
    "open_pair": "pairs",
    "profile": "behaviour.profiles",
    "proportion_interval": "statistics",
    "rank_parents": "weights.parents",
    "read_layer0_pair": "layer0.pair",
    "run_campaign": "search.campaign",
    "run_hunt": "hunt.pipeline",
    "scan": "layer0.exact_scan.scan",
    "score": "layer0.scorer",
    "verify_built": "organisms.build",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'dormant' has no attribute {name!r}")
    return getattr(import_module(f"dormant.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
