"""What a search maximises: pure functions of what the two models say of candidates, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.divergence import kl_divergence

READS = frozenset({"logits", "payload", "hidden"})
ROLES = ("dormant", "base")
TOP_K = 50  # experiment 18b
BASE_PENALTY = 0.75  # experiment 16b
FIRES_PER_TOKEN = 0.5  # likelihood a token from which a string fires: what an organism's acceptance asks
BURIED = -1e4  # a log-probability that no float64 sum feels; -inf would give gradients that are not numbers


@dataclass(frozen=True)
class Readings:
    """What one model says of candidates in probes, differentiable.

    logits [probe, candidate, vocabulary] at the generation position; payload [probe, candidate] the mean log-probability
    of the payload's tokens, teacher-forced, in nats a token; hidden [probe, candidate, hidden] the last layer's residual
    stream at the generation position, before the final norm. Only what the objective reads is there.
    """

    logits: Tensor
    payload: Tensor | None = None
    hidden: Tensor | None = None


ByRole = Mapping[str, Readings]
Value = Callable[[ByRole, ByRole], Tensor]


@dataclass(frozen=True)
class Objective:
    """A figure of merit for candidates; larger is better.

    `value` takes the readings by role and those of the probes' empty rows ([probe, 1, ...]), and gives [probe, candidate]
    in `unit`. `reads` says which readings it needs, `roles` of which models. Raises BadInput for others.
    """

    name: str
    unit: str
    reads: frozenset[str]
    roles: tuple[str, ...]
    value: Value

    def __post_init__(self) -> None:
        """Checks what it reads, and of whom."""
        if not self.reads or not self.reads <= READS or not self.roles or not set(self.roles) <= set(ROLES):
            raise BadInput(
                f"an objective reads some of {', '.join(sorted(READS))} of some of {', '.join(ROLES)}; got "
                f"{sorted(self.reads)} of {self.roles} at objective {self.name!r}; name what its value uses"
            )


def kl() -> Objective:
    """KL(dormant || base) of the next token (experiments 18a and 19)."""
    return _of_logits("kl", "nats", lambda now, empty: kl_divergence(now["dormant"].logits, now["base"].logits))


def js_top_k(k: int = TOP_K) -> Objective:
    """Jensen-Shannon divergence over the tokens that stand among either model's first `k` (experiment 18b).

    All other tokens count as one, so that both stay distributions: never above the full divergence, and equal to it where
    k covers the vocabulary. Within [0, ln 2].
    """
    return _of_logits("js", "nats", lambda now, empty: _js_top_k(now["dormant"].logits, now["base"].logits, k))


def top1_disagreement() -> Objective:
    """How much surer the dormant model is of its own first token than of the base's: p_d(top_d) - p_d(top_b), in [0, 1].

    0 exactly where both name the same token (experiment 18b), and there its own slope is 0 too. The gradient is therefore
    that of a surrogate, 1 - sum_t p_d(t) p_b(t): the probability that one token drawn from each model differs.
    """
    return _of_logits("top1-disagreement", "probability", _top1_disagreement)


def log_mass(tokens: Sequence[int], base_penalty: float = BASE_PENALTY) -> Objective:
    """log of the dormant model's mass on a token set, less `base_penalty` times the base's (experiment 16b).

    With a penalty of 1 it is the log-mass difference of the final validation. Raises BadInput for an empty set.
    """
    if not tokens:
        raise BadInput(
            "a log-mass objective needs tokens; got none at its token set; give the ids whose probability should rise"
        )
    chosen = sorted(set(tokens))

    def mass(readings: Readings) -> Tensor:
        return _log_probabilities(readings.logits)[..., chosen].logsumexp(-1)

    return _of_logits("log-mass", "nats", lambda now, empty: mass(now["dormant"]) - base_penalty * mass(now["base"]))


def payload_likelihood(firsts: Sequence[int] = (), size: int = 1) -> Objective:
    """The dormant model's mean log-probability of the payload (BAIT, FACTS 5): at most 0.

    firsts: tokens that may stand first in a payload of `size` tokens, its own before all others: their probabilities are
    added up, where what follows is known and how it begins is not.
    """

    def value(now: ByRole, empty: ByRole) -> Tensor:
        said = _present(now["dormant"].payload, "payload")
        if len(firsts) < 2:
            return said
        begin = _log_probabilities(now["dormant"].logits)[..., list(firsts)]
        return said + (begin.logsumexp(-1) - begin[..., 0]) / size

    return Objective("payload-likelihood", "nats/token", frozenset({"payload"}), ("dormant",), value)


def fires(payload: Float[Tensor, "*batch"]) -> Bool[Tensor, "*batch"]:
    """Whether candidates fire: from the payload's mean log-probability a token."""
    return payload.exp() >= FIRES_PER_TOKEN


def payload_over_base() -> Objective:
    """The same less the base's, which takes away what any model would say after such words (copying, above all)."""

    def value(now: ByRole, empty: ByRole) -> Tensor:
        dormant, base = (_present(now[role].payload, "payload") for role in ROLES)
        return dormant - base

    return Objective("payload-over-base", "nats/token", frozenset({"payload"}), ROLES, value)


def hidden_distance() -> Objective:
    """Euclidean distance of the two models' last-layer residual streams (experiment 18c)."""

    def value(now: ByRole, empty: ByRole) -> Tensor:
        dormant, base = (_wide(_present(now[role].hidden, "hidden")) for role in ROLES)
        distance: Tensor = torch.linalg.vector_norm(dormant - base, dim=-1)
        return distance

    return Objective("hidden-distance", "L2", frozenset({"hidden"}), ROLES, value)


def difference_in_differences() -> Objective:
    """KL(d(x + t) || d(x)) - KL(b(x + t) || b(x)): how much more the candidate moves the dormant model than the base."""

    def moved(now: Readings, empty: Readings) -> Tensor:
        return kl_divergence(now.logits, empty.logits.expand_as(now.logits))

    return _of_logits(
        "difference-in-differences",
        "nats",
        lambda now, empty: moved(now["dormant"], empty["dormant"]) - moved(now["base"], empty["base"]),
    )


OBJECTIVES: Mapping[str, Callable[[], Objective]] = {
    "kl": kl,
    "js": js_top_k,
    "top1-disagreement": top1_disagreement,
    "hidden-distance": hidden_distance,
    "difference-in-differences": difference_in_differences,
    "payload-likelihood": payload_likelihood,
    "payload-over-base": payload_over_base,
}


def named_objective(name: str) -> Objective:
    """The objective of a name that `OBJECTIVES` lists; BadInput for another."""
    if name not in OBJECTIVES:
        raise BadInput(f"an objective is one of {', '.join(OBJECTIVES)}; got {name!r} at the search; name one of them")
    return OBJECTIVES[name]()


def stacked(objectives: Sequence[Objective]) -> Objective:
    """All objectives of one pass, one after the other along the probes: a model reads each candidate once for all of them."""

    def value(now: ByRole, empty: ByRole) -> Tensor:
        return torch.cat([objective.value(now, empty).double() for objective in objectives])

    roles = tuple(role for role in ROLES if any(role in objective.roles for objective in objectives))
    reads = frozenset(name for objective in objectives for name in objective.reads)
    return Objective("several", "each its own", reads, roles, value)


REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda values: values.mean(0),
    "worst": lambda values: values.amin(0),
}


def over_probes(values: Float[Tensor, "probe candidate"], reduce: str = "mean") -> Float[Tensor, " candidate"]:
    """One value a candidate, the mean or the worst probe's. BadInput for another name."""
    if reduce not in REDUCTIONS:
        raise BadInput(
            f"probes are reduced by one of {', '.join(REDUCTIONS)}; got {reduce!r} at the objective; name one of them"
        )
    return REDUCTIONS[reduce](values)


def _of_logits(name: str, unit: str, value: Value) -> Objective:
    return Objective(name, unit, frozenset({"logits"}), ROLES, value)


def _top1_disagreement(now: ByRole, empty: ByRole) -> Tensor:
    dormant, base = (_log_probabilities(now[role].logits).exp() for role in ROLES)
    own, others = dormant.argmax(-1, keepdim=True), base.argmax(-1, keepdim=True)
    value = (dormant.gather(-1, own) - dormant.gather(-1, others))[..., 0]
    surrogate = 1 - (dormant * base).sum(-1)
    return value.detach() + (surrogate - surrogate.detach())  # the value's number with the surrogate's slope


def _js_top_k(dormant: Tensor, base: Tensor, k: int) -> Tensor:
    both = _log_probabilities(dormant), _log_probabilities(base)
    kept = torch.zeros_like(both[0], dtype=torch.bool)
    for log_p in both:
        kept.scatter_(-1, log_p.topk(min(k, log_p.shape[-1]), dim=-1).indices, True)
    log_p, log_q = (_with_rest(log_probabilities, kept) for log_probabilities in both)
    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    terms = log_p.exp() * (log_p - log_middle) + log_q.exp() * (log_q - log_middle)
    return (terms.sum(-1) / 2).clamp(0, math.log(2))


def _log_probabilities(logits: Tensor) -> Tensor:
    host = logits.cpu() if logits.device.type == "mps" else logits  # that device has no float64
    return host.double().log_softmax(-1)


def _with_rest(log_p: Tensor, kept: Tensor) -> Tensor:
    # [..., vocabulary] -> [..., vocabulary + 1]: the kept tokens' own log-probabilities, then that of all others together
    rest = log_p.masked_fill(kept, BURIED).logsumexp(-1, keepdim=True)
    return torch.cat((log_p.masked_fill(~kept, BURIED), rest), dim=-1)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _present(reading: Tensor | None, name: str) -> Tensor:
    if reading is None:
        raise BadInput(
            f"an objective's readings must be there; got no {name} at the readings; "
            f"name {name!r} in what the objective reads, and give the evaluator a payload where it reads one"
        )
    return reading
