from __future__ import annotations

import pytest

from dormant.catalogue import ZOO, clean_pairs, known_pairs, pairs_of_set
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import open_pair
from hypotheses.detection.test_weight_methods import test_spectral_outlier as outlier_claim
from hypotheses.support.spectra_bank import clean_bank, own_family


@pytest.mark.parametrize("name", ["pi", "pi-plain"])
def test_an_organisms_family_is_left_out_under_whatever_name_a_pair_has(name: str) -> None:
    family = {"pi", "pi-plain", "pi-exposed", "pi-taught", "pi-wrong-base"}
    assert own_family(known_pairs()[name].open("cpu")) in (family, family - {"pi-wrong-base"})
    renamed = open_pair("a name of my own", ZOO / "base", ZOO / name, device="cpu")
    assert family - {"pi-wrong-base"} <= own_family(renamed)
    assert not {"circuit-plain", "real-style"} & own_family(renamed)


def test_the_bank_is_all_clean_fine_tunes_of_the_base_but_the_own_family() -> None:
    declared, session = claim_of(outlier_claim), ClaimSession(Settings())
    assert declared is not None
    sizes = {}
    for name in ("token", "token-exposed", "sham", "pi-wrong-base"):
        pair = known_pairs()[name].open("cpu")
        sizes[name] = len(clean_bank(pair, FindingBuilder(declared, pair, {}, session)))
    every = len(set(clean_pairs()) & set(pairs_of_set("calibration")))
    assert every >= 22
    assert sizes == {"token": every - 3, "token-exposed": every - 3, "sham": every, "pi-wrong-base": 0}
