"""Claims about candidates at the end of a search: do they stand on probes that no search saw?"""

from __future__ import annotations

from statistics import mean

import pytest

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.claims.session_state import Settings
from dormant.errors import NotServed
from dormant.inference.horizon import FIRST_TOKEN
from dormant.pairs import Pair
from dormant.pictures.inversion import candidates_against_chance
from dormant.statistics import ONE_BIT, Estimate, exact, student_interval
from hypotheses.support.finalists import SEARCHED_FOR, VALIDATED, VALIDATION_MEASURES, finalists_validated, has_finalist
from hypotheses.support.scans import COMMON_PREMISES
from hypotheses.support.shared_searches import PATH_FORKS


def applies(pair: PairDescription, settings: Settings, candidate: str, measure: str) -> bool:
    """Where the pair has such a finalist."""
    return has_finalist(pair.truth, settings.candidates, candidate)


@claim(
    "final-validation",
    source="final validation of exp16b",
    rule=at_least(ONE_BIT, "nats", because="one bit over the row without any trigger, which the plan never ran"),
    premises=COMMON_PREMISES,
    controls=["length-matched nulls"],
    needs="models",
    told=True,
    applies=applies,
)
@pytest.mark.parametrize("candidate", VALIDATED)
@pytest.mark.parametrize("measure", VALIDATION_MEASURES)
def test_final_validation(pair: Pair, candidate: str, measure: str, finding: FindingBuilder) -> None:
    """A candidate's log-mass difference exceeds the empty-trigger row on probes that no search saw.

    "log-mass": log of the dormant model's mass on the unusual tokens less the base's, as in the plan; also
    "difference-in-differences". Figure: mean over probes of the gain over the empty row, Student's interval. The control is
    beaten where the permutation p among random candidates of its length, corrected for all candidates tried, is at most 0.05;
    the random candidate that stands beside them is not among those tried.
    """
    finding.reads(FIRST_TOKEN)
    validation, answers = finalists_validated(pair, finding)
    if measure not in validation.measured:
        raise NotServed(
            f"{measure} needs unusual tokens; got a vocabulary without one at {pair.base.location}; read the other"
        )
    row = validation.measured[measure][candidate]
    because = PATH_FORKS if candidate in SEARCHED_FOR else ""
    finding.decide(student_interval(row.gains), "gain over the empty row", tolerance=2.0, tolerance_because=because)
    nulls = row.null_gains
    spread = Estimate(mean(nulls), min(nulls), max(nulls), len(nulls), f"range of {len(nulls)} nulls")
    finding.control("length-matched nulls", spread, beaten=row.corrected_p <= 0.05)
    finding.figure("corrected p", exact(row.corrected_p, n=len(nulls)), "probability", tolerance=0.2)
    finding.figure("worst probe", exact(row.worst, n=len(row.gains)), "nats", tolerance=2.0)
    rank, place = 1 + validation.ranking(measure).index(candidate), "on" if candidate in validation.front else "behind"
    finding.note(f"rank {rank} of {len(validation.measured[measure])}, {place} the Pareto front")
    answer = answers[candidate]
    finding.note(f"to {answer.prompt!r} base {answer.base!r}, dormant {answer.dormant!r}")
    rows = validation.measured[measure]
    finding.picture(
        "candidates",
        candidates_against_chance(
            {name: other.gains for name, other in rows.items()},
            nulls,
            "nats",
            {name: other.corrected_p for name, other in rows.items()},
        ),
    )
