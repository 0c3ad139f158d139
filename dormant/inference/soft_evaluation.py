"""The value of embeddings that are no token's, and its slope, with one probe's activations held at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import Readings, over_probes
from dormant.inference.prefix_reader import convert, join


class SoftEvaluator:
    """What a soft inversion needs of an evaluator: values and slopes of rows of input embeddings.

    Sequential: all readings without activations first, then the slope at the readings, then each model's probes one by
    one carry their part back (experiment 16b's way to fit into 24 GB). A second forward pass pays for it, and models may
    take turns on the device. Not sequential: one pass whose activations stay; the same numbers.
    """

    def __init__(self, evaluator: Evaluator, sequential: bool = True) -> None:
        self.evaluator, self.sequential = evaluator, sequential
        self.roles = evaluator.objective.roles

    def table(self, role: str) -> Tensor:
        """A model's own input embeddings: [vocabulary, hidden]."""
        return self.evaluator.table(role)

    def evaluate(self, candidates: Tensor) -> Tensor:
        """Real ids [n, length] -> [n], float64, on the CPU."""
        return self.evaluator.evaluate(candidates)

    def value_and_slopes(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Rows by role [n, length, hidden] -> values [n], float64, on the CPU, and slopes by role like the rows.

        The slopes are those of the sum, so that each candidate keeps its own.
        """
        if self.sequential:
            return self._by_turns({role: rows[role].detach() for role in self.roles})
        leaves = {role: rows[role].detach().requires_grad_() for role in self.roles}
        value = self._value({role: self.evaluator.readings(role, leaf) for role, leaf in leaves.items()})
        slopes = torch.autograd.grad(value.sum(), list(leaves.values()))
        return value.detach().double().cpu(), dict(zip(self.roles, slopes, strict=True))

    def _by_turns(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        probes = range(len(self.evaluator.prompts))
        readings = {}
        for role, row in rows.items():
            with torch.no_grad():
                read = [self.evaluator.readings(role, row, [probe]) for probe in probes]
            readings[role] = convert(join(read, dim=0), lambda part: part.requires_grad_())
        value = self._value(readings)
        leaves = [(role, leaf) for role, reading in readings.items() for leaf in _parts(reading)]
        found = torch.autograd.grad(
            value.sum(), [leaf for _, leaf in leaves], allow_unused=True, materialize_grads=True
        )
        slopes = {}
        for role, row in rows.items():
            parts = [slope for (owner, _), slope in zip(leaves, found, strict=True) if owner == role]
            leaf, total = row.requires_grad_(), torch.zeros_like(row)
            for probe in probes:
                outputs = _parts(self.evaluator.readings(role, leaf, [probe]))
                total += torch.autograd.grad(outputs, leaf, [part[probe : probe + 1] for part in parts])[0]
            slopes[role] = total
        return value.detach().double().cpu(), slopes

    def _value(self, readings: Mapping[str, Readings]) -> Tensor:
        return over_probes(self.evaluator.value(readings), self.evaluator.reduce)


def _parts(readings: Readings) -> list[Tensor]:
    return [part for part in (readings.logits, readings.payload, readings.hidden) if part is not None]
