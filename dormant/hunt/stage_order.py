"""Which stages a hunt runs, in their order, and what none of them seeks."""

from __future__ import annotations

from dormant.hunt.stage import Stage
from dormant.hunt.stages.beam_search import BeamSearch
from dormant.hunt.stages.coordinate_ascent import CoordinateAscent
from dormant.hunt.stages.delta_beam import DeltaBeam
from dormant.hunt.stages.gap_filling import GapFilling
from dormant.hunt.stages.gradient_search import GradientSearch
from dormant.hunt.stages.group_testing import GroupTesting
from dormant.hunt.stages.known_strings import KnownStrings
from dormant.hunt.stages.numerals import Numerals
from dormant.hunt.stages.short_strings import ShortStrings, SingleTokens

BEFORE_PAYLOAD: tuple[Stage, ...] = (KnownStrings(),)
BEFORE_HINTS: tuple[Stage, ...] = (BeamSearch(),)
# In this order. Without hints only the first runs; keep SingleTokens first.
HUNT_STAGES: tuple[Stage, ...] = (
    SingleTokens(),
    DeltaBeam(),
    ShortStrings(),
    GradientSearch(),
    Numerals(),
    GapFilling(),
    CoordinateAscent(),
    GroupTesting(),
)
UNSEARCHED = (
    "payloads of a single token, which leave nothing to finish",
    "triggers of many more than twelve pieces, and words beyond the 20,000 most common of English that the tokenizer splits",
    "triggers that are no text in the turn that was searched (--turn user or system): a conversation, a date",
)
