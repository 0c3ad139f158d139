"""The bank of clean fine-tunes beside which a delta is judged: the catalogue's, of the same base, none of the pair's family."""

from __future__ import annotations

from dormant.catalogue import PairDescription, clean_pairs, pairs_of_set, relatives_among
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.claims.builder import FindingBuilder
from dormant.detection.adapter_spectra import Spectra, spectra_of
from dormant.errors import BadInput
from dormant.pairs import Pair


def clean_bank(pair: Pair, finding: FindingBuilder) -> tuple[Spectra, ...]:
    """The spectra of every clean fine-tune of the catalogue on the pair's base, without the pair and its organism's relatives.

    Clean are the models that say so, and the controls of other pipelines. Those that are not at hand are left out.
    """
    own = own_family(pair)
    chosen = [member for name, member in clean_pairs().items() if name not in own]
    measured = [_measured(member, finding) for member in chosen if _base_of(member, finding) == pair.base.fingerprint]
    return tuple(spectra for model, spectra in measured if spectra and model != pair.dormant.fingerprint)


def own_family(pair: Pair) -> set[str]:
    """The names of the pair itself, of its organism and of all the organism's relatives, whatever the pair is called here."""
    known = pairs_of_set("all")
    places = (str(pair.dormant.location), pair.dormant.reference)
    own = {pair.name, *(name for name, described in known.items() if described.dormant in places)}
    families = ({organism, *family.values()} for organism, family in relatives_among(known.values()).items())
    return own.union(*(family for family in families if family & own))


def _base_of(described: PairDescription, finding: FindingBuilder) -> str:
    """The fingerprint of a pair's base; empty for one that is not at hand."""

    def read() -> str:
        try:
            return open_checkpoint(described.base or "").fingerprint
        except BadInput:
            return ""

    return finding.session.remember(("base of the bank", described.base), read)


def _measured(described: PairDescription, finding: FindingBuilder) -> tuple[str, Spectra]:
    """The dormant model's fingerprint and the spectra of its delta; nothing for one that is not at hand."""

    def measure() -> tuple[str, Spectra]:
        try:
            opened = described.open("cpu")
        except BadInput:
            return "", {}
        return opened.dormant.fingerprint, spectra_of(opened.delta_report)

    return finding.session.remember(("spectra of the bank", described.name), measure)
