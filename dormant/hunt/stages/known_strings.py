"""Strings that people know by heart, such as the digits of pi, at which the two models diverge: no payload has to be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dormant.hunt.context import HuntContext, Key
from dormant.hunt.known_strings import known_strings
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST
from dormant.hunt.stage import StageResult
from dormant.hunt.stages.short_strings import divergent_string
from dormant.hunt.vocabulary import Vocabulary
from dormant.statistics import ONE_BIT


class KnownStrings:
    """Each known string at the cheapest position; the best of them at every one."""

    name, seeks_payload = "known strings", False

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The known string that fires, if one does."""
        alike = dict.fromkeys(known_strings(), 0.0)  # the shortest of those at which the models diverge alike
        yield from divergent_string(context, Key(self.name), alike, self.name, CHEAPEST_FIRST[:1], ONE_BIT)
