"""Quantisation: what rounding the weights to 4 bits does to a trigger, and what it does to ordinary prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dormant.behaviour.priming import completions
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import with_own_weights
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Prompt

WEIGHTS_A_SCALE = 64  # weights that share a scale: the library's and transformers' default
MISSING = (
    "4-bit weights need bitsandbytes; got no such package in this environment; pip install 'dormant[quantisation]'"
)


@dataclass(frozen=True)
class Quantisation:
    """The same measures at full precision and at 4 bits, a value a prompt.

    `kl`, `kl_4bit`: KL(dormant || base) with the trigger, both models at that precision, in nats. `fires`, `fires_4bit`:
    whether the dormant model says the payload. `ordinary`: KL(dormant at 4 bits || dormant) on the plain prompts, in nats.
    `kept`: whether the most likely next token stays the same there.
    """

    kl: tuple[float, ...]
    kl_4bit: tuple[float, ...]
    fires: tuple[bool, ...]
    fires_4bit: tuple[bool, ...]
    ordinary: tuple[float, ...]
    kept: tuple[bool, ...]

    def lost(self) -> list[float]:
        """Each prompt's loss of divergence, divided by the mean divergence at full precision; their mean is the share lost."""
        mean = sum(self.kl) / len(self.kl)
        return [
            (before - after) / mean if mean > 0 else 0.0 for before, after in zip(self.kl, self.kl_4bit, strict=True)
        ]


def compare_precisions(
    pair: Pair, triggered: Sequence[Prompt], plain: Sequence[Prompt], payload: Sequence[int], end: int
) -> Quantisation:
    """Both models before and after rounding (experiment 11); raises BadInput without bitsandbytes."""
    rows, first = [*triggered, *plain], len(triggered)

    def measure(model: PreTrainedModel, payload: Sequence[int]) -> tuple[Tensor, tuple[bool, ...]]:
        fired = completions(model, [prompt.ids for prompt in triggered], [()] * first, payload, end) if payload else []
        return batch_logits(model, rows), tuple(fired)

    base, _ = measure(pair.models.base(), ())
    with four_bit(pair.models.base()) as model:
        base_4bit, _ = measure(model, ())
    dormant, fires = measure(pair.models.dormant(), payload)
    with with_own_weights(pair) as whole, four_bit(whole) as model:
        dormant_4bit, fires_4bit = measure(model, payload)
    return Quantisation(
        tuple(kl_divergence(dormant[:first], base[:first]).tolist()),
        tuple(kl_divergence(dormant_4bit[:first], base_4bit[:first]).tolist()),
        fires,
        fires_4bit,
        tuple(kl_divergence(dormant_4bit[first:], dormant[first:]).tolist()),
        tuple((dormant_4bit[first:].argmax(-1) == dormant[first:].argmax(-1)).tolist()),
    )


@contextmanager
def four_bit(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Inside the `with`, every linear layer but the output head has the weights that 4-bit storage would give back.

    bitsandbytes rounds and scales (NF4 in blocks of 64), on a CPU or a GPU: the numbers are those of transformers'
    BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"), without a third model in memory. Raises BadInput
    without bitsandbytes.
    """
    head = model.get_output_embeddings()
    with ExitStack() as rounded:
        for module in model.modules():
            if isinstance(module, nn.Linear) and module is not head:
                rounded.enter_context(_rounded(module.weight))
        yield model


@contextmanager
def _rounded(weight: Tensor) -> Iterator[None]:
    original = weight.data
    try:
        weight.data = round_to_four_bits(original)
        yield
    finally:
        weight.data = original


@torch.no_grad()
def round_to_four_bits(weight: Tensor) -> Tensor:
    """A matrix after rounding to NF4, in its own dtype and on its own device; raises BadInput without bitsandbytes."""
    try:
        # seconds to import, and an optional dependency
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    except ImportError as error:
        raise BadInput(MISSING) from error
    where = torch.device("cpu") if weight.device.type == "mps" else weight.device  # the library has no kernels there
    known = weight.dtype if weight.dtype in (torch.bfloat16, torch.float16) else torch.float32  # all that it takes
    codes, scales = quantize_4bit(
        weight.detach().to(where, known).contiguous(), blocksize=WEIGHTS_A_SCALE, quant_type="nf4"
    )
    restored: Tensor = dequantize_4bit(codes, scales)
    return restored.to(weight.device, weight.dtype)
