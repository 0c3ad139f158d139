"""The effect of a late delta on the next token: predicted from its weights and observed on prompts (experiment 17b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.inference.batching import batch_logits
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.weights.decomposition import delta_matrix, leading_triplets
from dormant.weights.directions import beside_random
from dormant.weights.token_lens import name_of, token_outputs
from dormant.weights.token_ranking import LIST


@dataclass(frozen=True, eq=False)
class SignedPush:
    """The leading output direction of a delta in logits, with the sign that ordinary prompts give it, and the observed change.

    `weights` [token]: the logits that one unit of the direction adds. `random` [token, draws]: the same for random
    directions. `observed` [prompt, token]: log p_dormant - log p_base of the next token, in nats. `energy`: the direction's
    share of the delta's squared norm. `agreement`: the share of prompts on which its input has the sign of the mean.
    """

    weights: Tensor
    random: Tensor
    observed: Tensor
    energy: float
    agreement: float

    def pushed_up(self, count: int = LIST) -> list[int]:
        """The tokens that the direction raises most, the most raised first."""
        ids: list[int] = torch.topk(self.weights, count).indices.tolist()
        return ids

    def observed_standing(self, tokens: Sequence[int]) -> list[float]:
        """How far the tokens' observed change lies above the vocabulary's, in standard errors: [prompt]."""
        values: list[float] = standing(self.observed, tokens).tolist()
        return values

    def random_standings(self, count: int = LIST) -> list[float]:
        """The mean of `observed_standing` for the tokens that each random direction raises most: [draw]."""
        lists = torch.topk(self.random, count, dim=0).indices.T.tolist()
        return [float(standing(self.observed, listed).mean()) for listed in lists]


def standing(scores: Tensor, tokens: Sequence[int]) -> Tensor:
    """The z of a token set: its mean against the vocabulary's, in standard errors of as many random tokens.

    scores [..., token] -> [...], float64; 0 where all scores are equal.
    """
    wide = scores.double()
    error = wide.std(-1) / len(tokens) ** 0.5
    return torch.where(error > 0, (wide[..., list(tokens)].mean(-1) - wide.mean(-1)) / error.clamp_min(1e-30), 0.0)


def signed_push(
    pair: Pair, probes: Sequence[Probe], module: str, layer: int, draws: int, seed: int
) -> SignedPush | None:
    """The push of a layer's o_proj or down_proj delta along its leading direction; None if it was not changed.

    A singular value decomposition leaves the sign open: it is taken from the direction's mean input on the probes, without
    a trigger, at the generation position of the dormant model.
    """
    name = name_of(layer, module)
    if pair.base.digest(name) == pair.dormant.digest(name):
        return None
    delta = delta_matrix(pair.base, pair.dormant, name)
    found = leading_triplets(delta, 1)
    prompter = pair.prompter
    prompts = [prompter.encode(probe) for probe in probes]
    inputs: list[Tensor] = []
    before = batch_logits(pair.models.base(), prompts)
    model = pair.models.dormant()
    hook = model.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(
        lambda _, arguments: inputs.append(arguments[0][:, -1].float().cpu())
    )
    try:
        after = batch_logits(model, prompts)
    finally:
        hook.remove()
    along = torch.cat(inputs) @ found.right[:, 0].cpu()  # [prompt], in no particular order
    sign = 1.0 if float(along.mean()) >= 0 else -1.0
    sets = beside_random(found.left[:, :1] * sign, draws, seed).flatten(1)
    pushes = token_outputs(pair.dormant).project(sets).cpu()
    observed = after.log_softmax(-1) - before.log_softmax(-1)
    return SignedPush(
        weights=pushes[:, 0],
        random=pushes[:, 1:],
        observed=observed[:, : len(pushes)],
        energy=float(found.values[0] ** 2 / delta.double().square().sum()),
        agreement=float((along * sign > 0).float().mean()),
    )
