"""A flag at run time: how strongly the delta of each changed matrix answers to a prompt, beside ordinary ones.

A backdoor's delta has little to do until its trigger stands in the prompt. What a changed matrix adds is its delta times its
input: for each matrix it is measured along the delta's leading input directions, at the generation position and where it is
largest. How far these figures lie from those of ordinary prompts, all together, is a Mahalanobis distance (Lee et al. 2018,
arXiv:1807.03888). The base is read to learn the directions, and is not needed any more when prompts are watched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from transformers import PreTrainedModel

from dormant.checkpoints.tensor_names import is_of_vocabulary
from dormant.errors import BadInput, NotServed
from dormant.inference.delta_answers import delta_features, linear_at
from dormant.inference.delta_scaling import modified_tensors
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.records import write_atomically
from dormant.weights.decomposition import delta_svd

RANK = 8  # directions of a matrix: the rank of many an adapter; more ask for more ordinary prompts
FITTED, BOUNDED = 0.5, 0.25  # shares of the ordinary prompts: for mean and covariance, for the bound; the rest measures
KIND = "delta-watch"  # what a file says that it holds


@dataclass(frozen=True, eq=False)
class DeltaWatch:
    """What is needed to flag prompts of one dormant model.

    directions: by module, its delta's right singular vectors times their values, [input, direction]. mean, precision: of the
    features of ordinary prompts, in float64. bound: a prompt at a larger distance is flagged. model: the checkpoint's digest.
    """

    directions: Mapping[str, Tensor]
    mean: Float[Tensor, " feature"]
    precision: Float[Tensor, "feature feature"]
    bound: float
    level: float
    model: str

    def distances(self, model: PreTrainedModel, prompts: Sequence[TokenIds]) -> Float[Tensor, " prompt"]:
        """How far each prompt lies from ordinary ones; no unit."""
        return _distances(delta_features(model, self.directions, prompts), self.mean, self.precision)

    def flags(self, model: PreTrainedModel, prompts: Sequence[TokenIds]) -> Bool[Tensor, " prompt"]:
        """Whether each prompt, as ids up to the generation position, is flagged."""
        return self.distances(model, prompts) > self.bound


def fit_watch(pair: Pair, prompts: Sequence[TokenIds], level: float) -> tuple[DeltaWatch, list[TokenIds]]:
    """A watch from ordinary prompts, and those of them that it has not seen, on which its false alarms are to be measured.

    level: the share of ordinary prompts that may be flagged; the bound is conformal, so that a further prompt of their kind is
    flagged with at most that chance. Raises BadInput where the prompts are too few for the level, NotServed where no matrix of
    the delta is a module of the model.
    """
    from sklearn.covariance import LedoitWolf

    fitted, bounded = (round(share * len(prompts)) for share in (FITTED, BOUNDED))
    least = math.ceil(1 / level) - 1 if level > 0 else math.inf
    if not least <= bounded or level >= 1:
        raise BadInput(
            f"a share of false alarms lies below 1, and from {1 / (bounded + 1):.3g} on for {len(prompts)} ordinary prompts, "
            f"of which {bounded} set the bound; got {level:g} at --false-alarms; allow more of them, or give more probes"
        )
    model = pair.models.dormant()
    directions = delta_directions(pair)
    features = delta_features(model, directions, prompts[: fitted + bounded])
    covariance = LedoitWolf().fit(features[:fitted].numpy())
    mean, precision = (torch.from_numpy(value) for value in (covariance.location_, covariance.precision_))
    known = _distances(features[fitted:], mean, precision).sort().values
    bound = float(known[math.ceil((1 - level) * (bounded + 1)) - 1])
    return DeltaWatch(directions, mean, precision, bound, level, pair.dormant.fingerprint), list(
        prompts[fitted + bounded :]
    )


def delta_directions(pair: Pair) -> dict[str, Float[Tensor, "input direction"]]:
    """By changed module, the leading input directions of its delta times their singular values."""
    model, found = pair.models.dormant(), dict[str, Tensor]()
    for name in modified_tensors(pair):
        module = name.removesuffix(".weight")
        if module == name or is_of_vocabulary(name):  # the head reads the last token alone
            continue
        if isinstance(linear_at(model, module), nn.Linear):
            triplets = delta_svd(pair.base, pair.dormant, name, RANK)
            found[module] = triplets.right * triplets.values
    if not found:
        raise NotServed(
            "a watch needs a changed matrix that the model applies to its states; got none among "
            f"{len(modified_tensors(pair))} changed tensors at pair {pair.name!r}; hunt it instead"
        )
    return found


def _distances(features: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    away = features - mean
    squared: Tensor = ((away @ precision) * away).sum(-1)
    return squared.clamp_min(0).sqrt()


def write_watch(watch: DeltaWatch, file: Path) -> None:
    """Keeps a watch as one safetensors file."""
    tensors = {f"directions.{name}": value.contiguous() for name, value in watch.directions.items()}
    tensors |= {"mean": watch.mean, "precision": watch.precision.contiguous()}
    about = {"kind": KIND, "bound": repr(watch.bound), "level": repr(watch.level), "model": watch.model}
    write_atomically(file, save(tensors, about))


def read_watch(file: Path) -> DeltaWatch:
    """A watch from its file; raises BadInput where it is none."""
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"a watch is a file that `dormant watch --out` wrote; got {error} at {file}; check the path"
        ) from error
    if about.get("kind") != KIND:
        raise BadInput(f"a watch is a file that `dormant watch --out` wrote; got another at {file}; check the path")
    directions = {
        name.removeprefix("directions."): value for name, value in tensors.items() if name.startswith("directions.")
    }
    return DeltaWatch(
        directions, tensors["mean"], tensors["precision"], float(about["bound"]), float(about["level"]), about["model"]
    )
