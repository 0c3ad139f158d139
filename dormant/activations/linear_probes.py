"""Linear probes on the residual stream: what they tell apart on prompts they never saw, and the direction they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from dormant.errors import BadInput, NotServed
from dormant.inference.objectives import ByRole, Objective
from dormant.statistics import Estimate, auroc_interval

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 4
STRENGTH = 0.1  # inverse penalty: few prompts in many dimensions are separable by chance, a strong penalty says how far


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A direction in the residual stream after one layer: `direction` [hidden] of norm one, float32.

    The score of a state is (state . direction - middle) / width: 1 at the mean of the positives, -1 at that of the negatives.
    """

    layer: int
    direction: Float[Tensor, " hidden"]
    middle: float
    width: float

    def score(self, states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch"]:
        """[..., hidden] -> [...], differentiable."""
        return (states.float() @ self.direction.to(states.device) - self.middle) / self.width


def probe_objective(probe: LinearProbe, layers: int) -> Objective:
    """What a search maximises: the dormant model's score on a probe of the last of its layers (experiment 5).

    Raises BadInput for a probe of another layer.
    """
    if probe.layer != layers - 1:
        raise BadInput(
            f"a search for a probe's score reads the last layer, {layers - 1}; got a probe of layer {probe.layer}; "
            "fit one there"
        )

    def score(now: ByRole, empty: ByRole) -> Tensor:
        return probe.score(cast(Tensor, now["dormant"].hidden))

    return Objective("probe score", "of the probe", frozenset({"hidden"}), ("dormant",), score)


def probe_curve(positives: Tensor, negatives: Tensor, seed: int, shuffled: bool = False) -> list[Estimate]:
    """AUROC of a logistic probe after each layer, cross-validated: states [prompt, layer, hidden] twice -> [layer].

    The i-th prompt of both sides belongs together (one question, with and without): a couple never stands on both sides of
    a split, so that a probe cannot win by knowing the question. `shuffled` gives the labels to the states at random, couple
    by couple: what this many dimensions tell apart by chance. Raises BadInput for other shapes, NotServed for too few couples.
    """
    from sklearn.model_selection import GroupKFold, cross_val_predict

    _check(positives, negatives)
    labels = _labels(len(positives), seed, shuffled)
    couples = np.tile(np.arange(len(positives)), 2)
    curve = []
    for layer in range(positives.shape[1]):
        states = np.concatenate((positives[:, layer].numpy(), negatives[:, layer].numpy()))
        scores = cross_val_predict(
            _classifier(), states, labels, groups=couples, cv=GroupKFold(FOLDS), method="decision_function"
        )
        curve.append(auroc_interval(scores[labels], scores[~labels]))
    return curve


def transferred_curve(
    fitted: tuple[Tensor, Tensor], tested: tuple[Tensor, Tensor], seed: int, shuffled: bool = False
) -> list[Estimate]:
    """AUROC after each layer of a probe fitted on some states, on others: (positives, negatives) twice -> [layer].

    The tested negatives may be of another kind than those that the probe was fitted on. `shuffled` fits on labels given at
    random, couple by couple. Raises BadInput for other shapes, NotServed for too few couples.
    """
    positives, negatives = fitted
    _check(positives, negatives)
    labels = _labels(len(positives), seed, shuffled)
    curve = []
    for layer in range(positives.shape[1]):
        probe = _classifier().fit(np.concatenate((positives[:, layer].numpy(), negatives[:, layer].numpy())), labels)
        curve.append(auroc_interval(*(probe.decision_function(states[:, layer].numpy()) for states in tested)))
    return curve


def _labels(couples: int, seed: int, shuffled: bool) -> npt.NDArray[np.bool_]:
    swap = np.random.default_rng(seed).random(couples) < 0.5 if shuffled else np.zeros(couples, dtype=bool)
    return np.concatenate((~swap, swap))


def best_layer(curve: Sequence[Estimate]) -> int:
    """The layer of the highest AUROC, the earliest of equals."""
    return max(range(len(curve)), key=lambda layer: curve[layer].value)


def fit_probe(positives: Tensor, negatives: Tensor, layer: int) -> LinearProbe:
    """The logistic probe after one layer on all couples: states [prompt, layer, hidden] twice (experiments 3 to 6)."""
    _check(positives, negatives)
    ours, theirs = positives[:, layer].numpy(), negatives[:, layer].numpy()
    labels = np.repeat([True, False], [len(ours), len(theirs)])
    fitted = _classifier().fit(np.concatenate((ours, theirs)), labels)
    weights = fitted[-1].coef_[0] / fitted[0].scale_  # undo the scaling: the direction lives in the stream itself
    return _aligned(layer, weights, ours, theirs)


def fit_mean_difference(positives: Tensor, negatives: Tensor, layer: int) -> LinearProbe:
    """The direction from the negatives' mean to the positives': states [prompt, layer, hidden] twice."""
    _check(positives, negatives)
    ours, theirs = positives[:, layer].numpy(), negatives[:, layer].numpy()
    return _aligned(layer, ours.mean(0) - theirs.mean(0), ours, theirs)


def _aligned(
    layer: int, weights: npt.NDArray[np.floating], ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating]
) -> LinearProbe:
    direction = weights / (np.linalg.norm(weights) or 1.0)
    above, below = float(ours.mean(0) @ direction), float(theirs.mean(0) @ direction)
    width = (above - below) / 2
    return LinearProbe(layer, Tensor(direction), (above + below) / 2, width if width > 0 else 1.0)


def _classifier() -> Pipeline:
    # scikit-learn takes seconds to import: only those who fit a probe shall wait for it
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))


def _check(positives: Tensor, negatives: Tensor) -> None:
    if positives.shape != negatives.shape or positives.dim() != 3:
        raise BadInput(
            f"a probe needs states [prompt, layer, hidden] of as many positives as negatives; got {tuple(positives.shape)} "
            f"and {tuple(negatives.shape)} at the probe; capture both alike"
        )
    if len(positives) < 2 * FOLDS:
        raise NotServed(
            f"a probe needs the states of {2 * FOLDS} prompts of either kind; got {len(positives)} at the probe; "
            "give more prompts with --probes"
        )
