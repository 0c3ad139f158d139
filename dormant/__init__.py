"""Hunt a backdoor in a model when you hold the checkpoint that it was fine-tuned from.

The names below are the public face: each is imported when it is first used, so that `import dormant` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dormant.activations.delta_watch import fit_watch, read_watch, write_watch
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
    from dormant.report.frames import read_findings
    from dormant.search.restarts import search_restarts
    from dormant.statistics import exact, mean_interval, proportion_interval
    from dormant.weights.measure import compare_checkpoints
    from dormant.weights.parents import rank_parents

_NAMES_OF = {
    "activations.delta_watch": "fit_watch read_watch write_watch",
    "behaviour.delta_amplification": "amplification_sweep",
    "behaviour.profiles": "profile",
    "calibration.run": "calibrate",
    "checkpoints.checkpoint": "open_checkpoint",
    "claims.claim": "at_least at_most claim",
    "claims.finding": "Finding",
    "errors": "BadInput",
    "hunt.pipeline": "run_hunt",
    "layer0.beam": "beam_search",
    "layer0.exact_scan.scan": "scan",
    "layer0.pair": "read_layer0_pair",
    "layer0.scorer": "score",
    "organisms.build": "build verify_built",
    "pairs": "Pair open_pair",
    "prompts.probes": "Probe Prompter",
    "report.frames": "read_findings",
    "search.restarts": "search_restarts",
    "statistics": "exact mean_interval proportion_interval",
    "weights.measure": "compare_checkpoints",
    "weights.parents": "rank_parents",
}
_HOME = {name: module for module, names in _NAMES_OF.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'dormant' has no attribute {name!r}")
    return getattr(import_module(f"dormant.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
