"""The value of candidates under an objective: each computed once, from where it leaves the incumbent, in any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from dormant.checkpoints.families import context_of
from dormant.errors import BadInput, NotServed
from dormant.inference.batch_plan import PASS_COST, PASS_TOKENS, Candidate, Pass, grouped, split, work
from dormant.inference.batching import tokens_a_pass
from dormant.inference.objectives import Objective, Readings, kl, over_probes
from dormant.inference.prefix_reader import Reader, convert, join
from dormant.prompts.probes import OpenPrompt


@runtime_checkable
class ModelPair(Protocol):
    """Both models of a pair; asking for one may move the other off the device (`dormant.checkpoints.models.Models` does)."""

    def base(self) -> PreTrainedModel:
        """The base model, ready to run."""
        ...

    def dormant(self) -> PreTrainedModel:
        """The dormant model, ready to run."""
        ...


class Evaluator:
    """An objective over probes, of candidates that both models see as the same ids through their own embeddings.

    What stands before the slot is computed once per model and probe, what a candidate shares with the incumbent once per
    incumbent. Candidates run with others of their length, unpadded, so that neither batch nor cache nor order changes a
    value (float32: 1e-4 nats). None is computed twice; `evaluations` counts those that were. Under residency "swap" one
    model reads all candidates before the other is loaded. Raises BadInput without probes, without a payload where the
    objective reads one, for prompts beyond the context, for candidates that are not ids [n, length >= 1], and for values
    that are not numbers.
    """

    def __init__(
        self,
        models: ModelPair,
        prompts: Sequence[OpenPrompt],
        objective: Objective | None = None,
        payload: tuple[int, ...] = (),
        reduce: str = "mean",
        pass_tokens: int | None = None,
    ) -> None:
        """Computes prefixes and empty rows: two passes per model and probe. By default KL, averaged over probes."""
        self.objective = objective or kl()
        if not prompts or not all(prompt.before for prompt in prompts):
            raise NotServed(
                f"an objective needs at least one probe with ids before its slot; got {len(prompts)} probes at the "
                "probe set; open them with a chat template"
            )
        if "payload" in self.objective.reads and not payload:
            raise BadInput(
                f"the objective {self.objective.name} needs a payload; got none at the evaluator; "
                "name what the dormant model is to say"
            )
        self.prompts, self.reduce, self.payload = tuple(prompts), reduce, tuple(payload)
        over_probes(torch.zeros(1, 1), reduce)
        asked = {"dormant": models.dormant, "base": models.base}
        self._by_turns = getattr(getattr(models, "run_config", None), "residency", "both") == "swap"
        self._readers = {
            role: Reader(asked[role], self.prompts, self.objective.reads, self.payload, resident=not self._by_turns)
            for role in self.objective.roles
        }
        model = asked[self.objective.roles[0]]()
        self.vocabulary, self.device = len(next(iter(self._readers.values())).embeddings()), model.device
        self._context = context_of(model.config) or 1 << 30
        self._pass_tokens = pass_tokens or min(PASS_TOKENS.get(self.device.type, 4096), tokens_a_pass(model))
        self._visited: dict[Candidate, Tensor] = {}
        self._empty = {role: reader.empty for role, reader in self._readers.items()}
        self.evaluations = 0

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that the objective reads."""
        return self.objective.roles

    def evaluate(self, candidates: Sequence[Candidate], incumbent: Candidate = ()) -> Float[Tensor, " candidate"]:
        """The objective over all probes, each candidate of one id at least; float64, on the CPU.

        Candidates that begin like the incumbent run from where they leave it: say which one they come from.
        """
        return over_probes(self.per_probe_of(candidates, incumbent), self.reduce)

    def per_probe_of(
        self, candidates: Sequence[Candidate], incumbent: Candidate = ()
    ) -> Float[Tensor, "probe candidate"]:
        """Every probe's own value; float64, on the CPU."""
        self._check(candidates)
        fresh = list(dict.fromkeys(candidate for candidate in candidates if candidate not in self._visited))
        tokens = next(iter(self._readers.values())).tokens
        groups = grouped(fresh, tuple(incumbent), tokens, PASS_COST.get(self.device.type, 512))
        passes = split(groups, self._pass_tokens)
        for turn in [passes] if self._by_turns else [[one_pass] for one_pass in passes]:
            for one_pass, values in zip(turn, self._values(turn, tuple(incumbent)), strict=True):
                self._keep([candidate for group in one_pass for candidate in group.candidates], values)
        return torch.stack([self._visited[candidate] for candidate in candidates], dim=1)

    def empty(self) -> Float[Tensor, " probe"]:
        """The empty-trigger row, every probe's ordinary sentence; float64, on the CPU."""
        return self.value(self._empty)[:, 0].detach().double().cpu()

    def empty_value(self) -> Float[Tensor, ""]:
        """The objective of the empty-trigger row; float64, on the CPU."""
        return over_probes(self.empty()[:, None], self.reduce)[0]

    def forget(self) -> None:
        """Empties the memory of visited candidates, so that the next search depends on nothing before it."""
        self._visited.clear()

    def value(self, readings: Mapping[str, Readings]) -> Float[Tensor, "probe candidate"]:
        """The objective of readings of all probes by role, differentiable."""
        # By turns the readings wait in host memory; models on different GPUs meet on the first one's.
        device = next(iter(readings.values())).logits.device
        both = (
            {role: convert(row, lambda part: part.to(device)) for role, row in of.items()}
            for of in (readings, self._empty)
        )
        return self.objective.value(*both)

    def table(self, role: str) -> Float[Tensor, "vocabulary hidden"]:
        """A model's own input embeddings."""
        return self._readers[role].embeddings()

    def gradient(self, candidates: Sequence[Candidate]) -> Float[Tensor, "candidate token vocabulary"]:
        """Slopes of `evaluate` towards each token's one-hot vector, through every model that the objective reads.

        The candidates are of one length; float32, in units of the objective, on the CPU.
        """
        self._check(candidates)
        ids = torch.tensor(candidates)
        rows = {}
        for role in self.roles:
            table = self.table(role)
            rows[role] = table[ids.to(table.device)]
        _, slopes = self.value_and_slopes(rows)
        return torch.stack([(slopes[role] @ self.table(role).T).float().cpu() for role in self.roles]).sum(0)

    def value_and_slopes(
        self, rows: Mapping[str, Float[Tensor, "candidate token hidden"]]
    ) -> tuple[Float[Tensor, " candidate"], dict[str, Float[Tensor, "candidate token hidden"]]]:
        """Values and slopes of input embeddings that need be no token's; of "worst" only the worst probe has a slope.

        Rows and slopes are by role; values are float64, on the CPU. Under residency "swap" no activation is kept: each model's
        probes run again one by one on the way back (experiment 16b's way to fit into 24 GB).
        """
        leaves = {role: rows[role].detach().requires_grad_() for role in self.roles}
        with torch.enable_grad():
            readings = {role: self._read(self._readers[role], leaf) for role, leaf in leaves.items()}
            value = over_probes(self.value(readings), self.reduce)
        slopes = torch.autograd.grad(value.sum(), list(leaves.values()))
        return value.detach().double().cpu(), dict(zip(self.roles, slopes, strict=True))

    def _read(self, reader: Reader, rows: Tensor) -> Readings:
        probes = range(len(self.prompts))
        if not self._by_turns:
            return reader.read_rows(rows, probes)
        return join([cast(Readings, _recomputed(reader.read_rows, rows, [probe])) for probe in probes], dim=0)

    def _values(self, passes: Sequence[Pass], incumbent: Candidate) -> Iterator[Tensor]:
        """Values [probe, n] of each pass; one model reads all passes before the other."""
        read: dict[str, list[Readings]] = {}
        for role, reader in self._readers.items():
            if any(group.shared for one_pass in passes for group in one_pass):
                reader.approach(incumbent)
            kept = [self._halving(reader, one_pass) for one_pass in passes]
            read[role] = [convert(part, Tensor.cpu) for part in kept] if self._by_turns else kept
        for index in range(len(passes)):
            yield self.value({role: parts[index] for role, parts in read.items()})

    def _halving(self, reader: Reader, one_pass: Pass) -> Readings:
        """A pass through one model, in halves where memory does not suffice; later passes are planned as small."""
        while True:
            parts = split(one_pass, self._pass_tokens)
            try:
                groups = ([(torch.tensor(group.candidates), group.shared) for group in part] for part in parts)
                return join([reader.read_ids(part) for part in groups], dim=1)
            except RuntimeError as error:
                largest = max(sum(len(group.candidates) for group in part) for part in parts)
                if largest == 1 or not _out_of_memory(error):
                    raise
            self._pass_tokens = max(1, min(self._pass_tokens, max(map(work, parts))) // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _keep(self, candidates: Sequence[Candidate], values: Tensor) -> None:
        host = values.detach().double().cpu()
        if not bool(host.isfinite().all()):
            probe, index = (int(place) for place in (~host.isfinite()).nonzero()[0])
            raise BadInput(
                f"an objective's values must be numbers; got {float(host[probe, index])} at candidate "
                f"{candidates[index]}, probe {probe}; run in float32, or check both checkpoints"
            )
        self._visited.update(zip(candidates, host.T, strict=True))
        self.evaluations += len(candidates)

    def _check(self, candidates: Sequence[Candidate]) -> None:
        if not all(candidates):
            raise BadInput(
                "candidates hold one id at least; got an empty one at the objective; ask empty() for its row"
            )
        outside = [token for candidate in candidates for token in candidate if not 0 <= token < self.vocabulary]
        if outside:
            raise BadInput(
                f"candidates are ids from 0 to {self.vocabulary - 1}; got {outside[0]} at the objective; "
                "use ids of the pair's own tokenizer"
            )
        self.check_length(max(map(len, candidates), default=0))

    def check_length(self, length: int) -> None:
        """Raises NotServed where a candidate of this length is beyond the context in some probe."""
        longest = max(len(prompt.before) + len(prompt.after) for prompt in self.prompts) + len(self.payload)
        if longest + length > self._context:
            raise NotServed(
                f"a prompt must fit the context of {self._context} ids; got {longest + length} with "
                f"candidates of {length} at the longest probe; shorten the candidate or the probe"
            )


def _recomputed(read: Callable[..., Readings], *arguments: Any) -> Any:
    """What `read` gives, without its activations: the way back computes them again."""
    return checkpoint(read, *arguments, use_reentrant=False, preserve_rng_state=False)


def _out_of_memory(error: RuntimeError) -> bool:
    # On the host torch raises a plain RuntimeError of its allocator.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
