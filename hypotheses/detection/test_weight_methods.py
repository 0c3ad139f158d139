"""Claims of methods that read weights alone: a model is suspect by the shape of its delta."""

from __future__ import annotations

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.detection.adapter_spectra import LEAST_BANK, spectral_outlier
from dormant.detection.suspicion import Suspicion
from dormant.errors import BadInput, NotServed
from dormant.pairs import Pair
from dormant.statistics import exact
from hypotheses.support.scans import TWIN
from hypotheses.support.spectra_bank import clean_bank
from hypotheses.support.suspicions import control_by_twin


@claim(
    "spectral-outlier",
    source="arXiv:2602.15195",
    rule=at_least(
        2.0, "standard deviations", because="on average a statistic then lies where one in twenty of clean ones does"
    ),
    premises=["base-is-parent"],
    controls=[TWIN],
    needs="weights",
)
def test_spectral_outlier(pair: Pair, finding: FindingBuilder) -> None:
    """By the spectra of its delta beside those of clean fine-tunes of the same base, the dormant model is suspect.

    Figure: the mean distance of five statistics of the changed matrices from those of the bank, in standard deviations. The
    paper's: the statistics and z-scores against a bank, there of 400 clean adapters. Ours: the bank (the catalogue's clean
    fine-tunes of this base, none of the organism's own family), the mean in place of a regression that labelled adapters train.
    """
    bank = len(clean_bank(pair, finding))
    try:
        found = spectral_outlying(pair, finding)
    except NotServed:
        raise
    except BadInput:  # there is next to no bank
        finding.inconclusive(
            f"the bank has {bank} clean fine-tunes of this base, and {LEAST_BANK} are needed", exact(0.0)
        )
        return
    if bank < LEAST_BANK:
        finding.inconclusive(f"the bank has {bank} clean fine-tunes of this base, and {LEAST_BANK} are needed")
    finding.decide(found.estimate, "distance from the bank")
    finding.figure("clean fine-tunes in the bank", exact(bank), "fine-tunes")
    control_by_twin(finding, spectral_outlying)


def spectral_outlying(pair: Pair, finding: FindingBuilder) -> Suspicion:
    """What the spectra say of a pair, measured once a session."""
    return finding.once(("spectral outlier",), lambda: spectral_outlier(pair, clean_bank(pair, finding)), pair=pair)
