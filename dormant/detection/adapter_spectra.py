"""Spectra of a delta beside those of clean fine-tunes of the same base, from the weights alone (arXiv:2602.15195)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from dormant.detection.suspicion import Suspicion
from dormant.errors import BadInput, NotServed
from dormant.pairs import Pair
from dormant.statistics import exact, jackknife_interval
from dormant.weights.delta_report import DeltaReport, TensorDelta
from dormant.weights.low_rank import changed_matrices

LEAST_BANK = 5  # the standard deviation of fewer is wrong by more than a third: 1 / sqrt(2 (n - 1))
EVERY_MATRIX = "every matrix"
SPECTRAL = ("log largest", "log norm", "share of the largest", "entropy", "kurtosis")

Spectra = Mapping[str, tuple[float, ...]]  # by kind of matrix the values of `SPECTRAL`


def spectra_of(report: DeltaReport) -> dict[str, tuple[float, ...]]:
    """By kind of matrix in a layer its five statistics, averaged over layers, and under `EVERY_MATRIX` those of all.

    Logs of the largest singular value and of the Frobenius norm, the largest's share of the energy, entropy in nats of the
    sixteen leading values over their sum, and their excess kurtosis. Empty for a delta without a changed matrix.
    """
    rows = {
        kind: [
            _statistics(delta) for delta in by_layer.values() if delta.singular_values and delta.singular_values[0] > 0
        ]
        for kind, by_layer in changed_matrices(report).items()
    }
    rows[EVERY_MATRIX] = [row for kind in list(rows.values()) for row in kind]
    return {kind: tuple(np.mean(values, axis=0).tolist()) for kind, values in rows.items() if values}


def spectral_outlier(pair: Pair, bank: Sequence[Spectra]) -> Suspicion:
    """How far the delta's spectra lie from those of a bank of clean fine-tunes of the same base, in standard deviations.

    The mean over kinds of matrix and statistics of the distance from the bank's mean; a further clean fine-tune comes to about
    0.8. A kind counts if at least `LEAST_BANK` of the bank changed it, all matrices together always. The interval is the
    jackknife's over the bank. 0 for a model that equals its base. Statistics and z-scores against a bank are the paper's, whose
    bank has 400 adapters, its signature the attention's matrices, and a logistic regression behind it that labelled adapters
    train; ours are the logs, the mean and whatever kinds changed. Raises BadInput for fewer than three in the bank,
    NotServed where only other tensors changed.
    """
    known = [member for member in bank if member]
    if len(known) < 3:
        raise BadInput(
            f"an outlier needs three clean fine-tunes to lie outside of; got {len(known)} at the bank of pair {pair.name!r}; "
            "give more fine-tunes of its base"
        )
    own = spectra_of(pair.delta_report)
    if not own and (report := pair.delta_report).total_norm:
        raise NotServed(
            f"spectra need a changed matrix within a layer; got none among {len(report.modified)} changed tensors at pair "
            f"{pair.name!r}; ask a method that reads answers"
        )
    if not own:
        return Suspicion(exact(0.0))
    kinds = [kind for kind in own if kind == EVERY_MATRIX or sum(kind in member for member in known) >= LEAST_BANK]
    left_out = [_distance(own, known[:at] + known[at + 1 :], kinds) for at in range(len(known))]
    return Suspicion(jackknife_interval(_distance(own, known, kinds), left_out))


def _distance(own: Spectra, bank: Sequence[Spectra], kinds: Sequence[str]) -> float:
    """The mean over kinds and statistics of how many standard deviations of a further member lie between."""
    scores = []
    for kind in kinds:
        members = np.array([member[kind] for member in bank if kind in member], dtype=np.float64)
        spread = members.std(axis=0, ddof=1) * np.sqrt(
            1 + 1 / len(members)
        )  # that of a further one, as the mean scatters too
        away = np.abs(np.array(own[kind]) - members.mean(axis=0))
        scores.append(away / np.maximum(spread, 1e-9))
    return float(np.mean(scores))


def _statistics(delta: TensorDelta) -> tuple[float, ...]:
    values: npt.NDArray[np.float64] = np.array(delta.singular_values, dtype=np.float64)
    shares = values[values > 0] / values.sum()
    peaked = float(stats.kurtosis(values)) if np.ptp(values) > 0 else 0.0
    return (
        float(np.log(values[0])),
        float(np.log(delta.energy) / 2),
        delta.energy_share(1),
        float(-(shares * np.log(shares)).sum()),
        peaked,
    )
