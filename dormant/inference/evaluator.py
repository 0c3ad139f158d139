"""The value of candidates under an objective: each computed once, from where it leaves the incumbent, in any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference.objectives import Objective, Readings, kl, over_probes
from dormant.inference.prefix_reader import Reader, convert, join
from dormant.prompts.probes import OpenPrompt

Candidate = tuple[int, ...]

# Ids that one pass runs, and ids whose work equals the fixed cost of a pass (a launch for every kernel). On a CPU 2048 ids
# cost one thread what 512 do and two threads a fifth less; a GPU wants all it can hold, and takes half where that is too much.
PASS_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 4096}
PASS_COST = {"cpu": 16, "cuda": 2048, "mps": 512}


class ModelPair(Protocol):
    """Both models of a pair; asking for one may move the other off the device (`dormant.checkpoints.models.Models` does)."""

    def base(self) -> PreTrainedModel:
        """The base model, ready to run."""
        ...

    def dormant(self) -> PreTrainedModel:
        """The dormant model, ready to run."""
        ...


@dataclass(frozen=True)
class _Group:
    """Candidates of one length that run from behind their `shared` first ids, which are the incumbent's."""

    candidates: tuple[Candidate, ...]
    shared: int
    tokens: int  # ids that each of them runs in all probes together


_Pass = tuple[_Group, ...]  # what runs together


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
            raise BadInput(
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
        self._context = int(getattr(model.config, "max_position_embeddings", 1 << 30))
        self._pass_tokens = pass_tokens or PASS_TOKENS.get(self.device.type, 4096)
        self._visited: dict[Candidate, Tensor] = {}
        self._empty = {role: reader.empty for role, reader in self._readers.items()}
        self.evaluations = 0

    def evaluate(self, candidates: Tensor, incumbent: Sequence[int] = ()) -> Tensor:
        """The objective over all probes: candidates [n, length] -> [n], float64, on the CPU.

        Candidates that begin like the incumbent run from where they leave it: say which one they come from.
        """
        return over_probes(self.per_probe(candidates, incumbent), self.reduce)

    def per_probe(self, candidates: Tensor, incumbent: Sequence[int] = ()) -> Tensor:
        """Every probe's own value: candidates [n, length] -> [probe, n], float64, on the CPU."""
        self._check(candidates)
        return self.per_probe_of([tuple(row) for row in candidates.tolist()], incumbent)

    def per_probe_of(self, candidates: Sequence[Candidate], incumbent: Sequence[int] = ()) -> Tensor:
        """The same for candidates of several lengths, each of one id at least."""
        if not all(candidates):
            raise BadInput(
                "candidates hold one id at least; got an empty one at the objective; ask empty() for its row"
            )
        fresh = list(dict.fromkeys(candidate for candidate in candidates if candidate not in self._visited))
        passes = self._split(self._groups(fresh, tuple(incumbent)))
        for turn in [passes] if self._by_turns else [[one] for one in passes]:
            for one, values in zip(turn, self._values(turn, tuple(incumbent)), strict=True):
                self._keep([candidate for group in one for candidate in group.candidates], values)
        return torch.stack([self._visited[candidate] for candidate in candidates], dim=1)

    def empty(self) -> Tensor:
        """The empty-trigger row, every probe's ordinary sentence: [probe], float64, on the CPU."""
        return self.value(self._empty)[:, 0].detach().double().cpu()

    def empty_value(self) -> Tensor:
        """The objective of the empty-trigger row: scalar, float64, on the CPU."""
        return over_probes(self.empty()[:, None], self.reduce)[0]

    def forget(self) -> None:
        """Empties the memory of visited candidates, so that the next search depends on nothing before it."""
        self._visited.clear()

    def readings(self, role: str, rows: Tensor, probes: Sequence[int] | None = None) -> Readings:
        """One model's readings of input embeddings, differentiable: rows [n, length, hidden] -> [probe, n, ...]."""
        chosen = range(len(self.prompts)) if probes is None else probes
        return self._readers[role].read_rows(rows, chosen)

    def value(self, readings: Mapping[str, Readings], probe: int | None = None) -> Tensor:
        """The objective of readings by role, differentiable: [probe, candidate]; of all probes, or of one."""
        device = next(iter(readings.values())).logits.device  # by turns the readings wait in host memory
        rows = slice(None) if probe is None else slice(probe, probe + 1)
        empty = {role: convert(row, lambda part: part[rows].to(device)) for role, row in self._empty.items()}
        return self.objective.value(readings, empty)

    def table(self, role: str) -> Tensor:
        """A model's own input embeddings: [vocabulary, hidden]."""
        return self._readers[role].embeddings()

    def gradient(self, ids: Tensor) -> Tensor:
        """Slope of `evaluate` towards each token's one-hot vector, through every model that the objective reads.

        ids [length] -> [length, vocabulary], float32, units of the objective, on the CPU. One probe at a time, so that a
        backward pass holds one probe's activations; of "worst" only the worst probe has a slope.
        """
        self._check(ids[None])
        probes: Sequence[int] = range(len(self.prompts))
        if self.reduce == "worst":
            probes = [int(self.per_probe(ids[None])[:, 0].argmin())]
        slopes = self._slopes_by_turns if self._by_turns else self._slopes_together
        table_slopes = slopes(ids, probes)
        return torch.stack(table_slopes).sum(0) / len(probes)

    def _slopes_together(self, ids: Tensor, probes: Sequence[int]) -> list[Tensor]:
        rows = {
            role: reader.embeddings()[ids.to(self.device)][None].requires_grad_()
            for role, reader in self._readers.items()
        }
        totals = {role: torch.zeros_like(row) for role, row in rows.items()}
        for probe in probes:
            readings = {role: self._readers[role].read_rows(row, [probe]) for role, row in rows.items()}
            value = self.value(readings, probe).sum()
            for role, slope in zip(rows, torch.autograd.grad(value, list(rows.values())), strict=True):
                totals[role] += slope
        return [self._project(role, total) for role, total in totals.items()]

    def _slopes_by_turns(self, ids: Tensor, probes: Sequence[int]) -> list[Tensor]:
        # First the slope at the readings, then each model alone carries its part back to its own embedding.
        readings: dict[str, list[Readings]] = {}
        for role, reader in self._readers.items():
            readings[role] = [
                convert(self._alone(reader, ids, probe), lambda part: part.detach().requires_grad_())
                for probe in probes
            ]
        slopes: dict[str, list[Tensor]] = {role: [] for role in readings}
        for index, probe in enumerate(probes):
            here = {role: parts[index] for role, parts in readings.items()}
            leaves = [_parts(reading) for reading in here.values()]
            flat = [leaf for part in leaves for leaf in part]
            found = iter(
                torch.autograd.grad(self.value(here, probe).sum(), flat, materialize_grads=True, allow_unused=True)
            )
            for role, part in zip(readings, leaves, strict=True):
                slopes[role].append([next(found) for _ in part])  # type: ignore[arg-type]
        totals = []
        for role, reader in self._readers.items():
            row = reader.embeddings()[ids.to(self.device)][None].requires_grad_()
            total = torch.zeros_like(row)
            for index, probe in enumerate(probes):
                outputs = _parts(reader.read_rows(row, [probe]))
                total += torch.autograd.grad(outputs, row, slopes[role][index])[0]
            totals.append(self._project(role, total))
        return totals

    @staticmethod
    def _alone(reader: Reader, ids: Tensor, probe: int) -> Readings:
        table = reader.embeddings()
        with torch.no_grad():
            return reader.read_rows(table[ids.to(table.device)][None], [probe])

    def _project(self, role: str, slope: Tensor) -> Tensor:  # [1, length, hidden] -> [length, vocabulary]
        return (slope[0] @ self._readers[role].embeddings().T).float().cpu()

    def _values(self, passes: Sequence[_Pass], incumbent: Candidate) -> Iterator[Tensor]:
        """Values [probe, n] of each pass; one model reads all passes before the other."""
        read: dict[str, list[Readings]] = {}
        for role, reader in self._readers.items():
            if any(group.shared for one in passes for group in one):
                reader.approach(incumbent)
            kept = [self._halving(reader, one) for one in passes]
            read[role] = [convert(part, Tensor.cpu) for part in kept] if self._by_turns else kept
        for index in range(len(passes)):
            yield self.value({role: parts[index] for role, parts in read.items()})

    def _halving(self, reader: Reader, one: _Pass) -> Readings:
        """A pass through one model, in halves where memory does not suffice; later passes are planned as small."""
        while True:
            parts = self._split(one)
            try:
                groups = ([(torch.tensor(group.candidates), group.shared) for group in part] for part in parts)
                return join([reader.read_ids(part) for part in groups], dim=1)
            except RuntimeError as error:
                largest = max(sum(len(group.candidates) for group in part) for part in parts)
                if largest == 1 or not _out_of_memory(error):
                    raise
            self._pass_tokens = max(1, min(self._pass_tokens, max(map(_work, parts))) // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _groups(self, fresh: Sequence[Candidate], incumbent: Candidate) -> list[_Group]:
        """Candidates of one length begin together where the first of them leaves the incumbent."""
        lengths: dict[int, list[tuple[int, Candidate]]] = {}
        for candidate in fresh:
            lengths.setdefault(len(candidate), []).append((_shared(candidate, incumbent), candidate))
        reader = next(iter(self._readers.values()))
        cost = PASS_COST.get(self.device.type, 512)
        groups = []
        for length, members in lengths.items():
            members.sort(key=lambda member: member[0])
            for shared, part in _merge(members, partial(reader.tokens, length), cost):
                groups.append(_Group(tuple(part), shared, reader.tokens(length, shared)))
        return groups

    def _split(self, groups: Sequence[_Group]) -> list[_Pass]:
        """Passes of at most `pass_tokens` ids, and of one candidate at least; the order stays."""
        passes: list[list[_Group]] = [[]]
        room = self._pass_tokens
        for group in groups:
            left = group.candidates
            while left:
                fitting = max(room // group.tokens, 0 if passes[-1] else 1)
                if fitting:
                    passes[-1].append(replace(group, candidates=left[:fitting]))
                    left, room = left[fitting:], room - len(left[:fitting]) * group.tokens
                if left:
                    passes.append([])
                    room = self._pass_tokens
        return [tuple(one) for one in passes if one]

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

    def _check(self, candidates: Tensor) -> None:
        whole = candidates.dim() == 2 and candidates.numel() > 0 and not candidates.is_floating_point()
        if not whole or candidates.min() < 0 or candidates.max() >= self.vocabulary:
            raise BadInput(
                f"candidates are ids [n, length >= 1] from 0 to {self.vocabulary - 1}; got shape "
                f"{tuple(candidates.shape)}, {candidates.dtype} at the objective; an empty slot has its own row"
            )
        self.check_length(candidates.shape[1])

    def check_length(self, length: int) -> None:
        """Raises BadInput where a candidate of this length is beyond the context in some probe."""
        longest = max(len(prompt.before) + len(prompt.after) for prompt in self.prompts) + len(self.payload)
        if longest + length > self._context:
            raise BadInput(
                f"a prompt must fit the context of {self._context} ids; got {longest + length} with "
                f"candidates of {length} at the longest probe; shorten the candidate or the probe"
            )


def _parts(readings: Readings) -> list[Tensor]:
    return [part for part in (readings.logits, readings.payload, readings.hidden) if part is not None]


def _shared(candidate: Candidate, incumbent: Candidate) -> int:
    """How many first ids both have; never a whole candidate, of which something must run."""
    both = zip(candidate, incumbent, strict=False)
    equal = next(
        (place for place, (ours, theirs) in enumerate(both) if ours != theirs), min(len(candidate), len(incumbent))
    )
    return equal


def _merge(
    members: Sequence[tuple[int, Candidate]], tokens: Callable[[int], int], cost: int
) -> list[tuple[int, list[Candidate]]]:
    """Splits members, sorted by what they share, into groups of the least work: each costs `cost` ids besides its own.

    The best split of the first k places is found from the best splits of fewer. `tokens` of a place: what one member runs.
    """
    places = sorted({shared for shared, _ in members})
    counts = [sum(shared == place for shared, _ in members) for place in places]
    work = [tokens(place) for place in places]
    best: list[tuple[int, int]] = [(0, 0)]  # least work of the first k places, and where its last group begins
    for end in range(1, len(places) + 1):
        options = ((best[begin][0] + cost + sum(counts[begin:end]) * work[begin], begin) for begin in range(end))
        best.append(min(options))
    cuts, end = list[tuple[int, int]](), len(places)
    while end:
        cuts.append((best[end][1], end))
        end = best[end][1]
    return [
        (places[begin], [candidate for shared, candidate in members if places[begin] <= shared <= places[end - 1]])
        for begin, end in reversed(cuts)
    ]


def _work(one: _Pass) -> int:
    return sum(len(group.candidates) * group.tokens for group in one)


def _out_of_memory(error: RuntimeError) -> bool:
    # On the host torch raises a plain RuntimeError of its allocator.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
