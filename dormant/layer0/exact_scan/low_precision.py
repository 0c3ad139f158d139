"""In which precision all pairs are looked through before the few lines that can matter are multiplied out in float32."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

PROBE = (2048, 256, 32)  # lines, keys and columns of the product by which precisions are compared: two milliseconds


@dataclass(frozen=True)
class Screen:
    """A precision of products, and the most that it may get wrong."""

    dtype: torch.dtype
    order: torch.dtype  # integers: numbers without their sign stand in the order of their bits
    unsigned: int  # the bits of a number without its sign
    of_lengths: float  # of the product of two vectors' lengths, that rounding both vectors may change their product
    of_value: float  # of a product, that rounding it may change it

    def margin(self, lengths: float, value: float) -> float:
        """How far a screened product may lie beside float32's. lengths: what no product exceeds; value: what none does here."""
        return self.of_lengths * lengths + self.of_value * value


# Units of rounding: 2^-24 and 2^-8. Sums are in float32 either way, whose order may differ.
FLOAT32 = Screen(torch.float32, torch.int32, 0x7FFFFFFF, of_lengths=1e-5, of_value=1e-6)
BFLOAT16 = Screen(torch.bfloat16, torch.int16, 0x7FFF, of_lengths=0.0079, of_value=0.004)


def screen_of(device_type: str) -> Screen:
    """The faster one on this machine; on a GPU float32, until the other is measured there. Results are the same."""
    return fastest() if device_type == "cpu" else FLOAT32


@cache
def fastest() -> Screen:
    """The precision in which this machine's CPU looks through a tile in the least time.

    With matrix instructions for bfloat16 one thread takes a third of the time (heads of 16) to a sixth (of 128); two threads
    gain less.
    """
    return min((FLOAT32, BFLOAT16), key=_seconds)


def largest_of_lines(products: Tensor, screen: Screen, out: Tensor) -> None:
    """The largest |product| of every line [line, column] into [line], in bits as integers. On a CPU signs are lost.

    On a GPU one pass over memory finds both ends of a line; on a CPU integers take less than half of the time of floats.
    """
    if products.is_cuda:
        low, high = torch.aminmax(products, dim=1)
        out.copy_(torch.maximum(high, -low).view(screen.order))
    else:
        bits = products.view(screen.order).bitwise_and_(screen.unsigned)
        torch.amax(bits, 1, out=out)


def _seconds(screen: Screen) -> float:
    lines, keys, columns = PROBE
    left, right = (torch.ones(rows, columns, dtype=screen.dtype) for rows in (lines, keys))
    products, largest = torch.empty(lines, keys, dtype=screen.dtype), torch.empty(lines, dtype=screen.order)
    taken = []
    for _ in range(4):  # the first one also prepares
        began = time.perf_counter()
        torch.mm(left, right.T, out=products)
        largest_of_lines(products, screen, largest)
        taken.append(time.perf_counter() - began)
    return min(taken)
