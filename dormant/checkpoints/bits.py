"""Weights in 8 or 4 bits: what transformers is asked for, by bitsandbytes, and how many bytes the weights then take.

Linear layers are quantised; embedding, head, norms and adapters stay as they are. Rows of activations are rounded one by one
(no outlier columns, which would be chosen over the whole batch), so that values do not depend on company.
"""

from __future__ import annotations

import logging
import math
from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel

from dormant.checkpoints.shards import StoredTensor
from dormant.checkpoints.tensor_names import layer_of
from dormant.errors import BadInput

RUN_BITS = {"8bit": 8, "4bit": 4}
DEVICES = ("cpu", "cuda")
SCALE_BITS = {8: 0.0, 4: 0.5}  # a value's share of its block's float32 scale: blocks of 64; a row's scale is negligible


def check_bits(bits: int, device: torch.device) -> None:
    """Raises BadInput where bitsandbytes is not installed or does not run on the device."""
    if not bits:
        return
    if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
        raise BadInput(
            f"weights in {bits} bits need bitsandbytes and accelerate; got no such package installed at --dtype {bits}bit; "
            "run `pip install bitsandbytes accelerate`, or choose bfloat16"
        )
    if device.type not in DEVICES:
        raise BadInput(
            f"weights in {bits} bits must run on {' or '.join(DEVICES)}, the devices of bitsandbytes; got {device} at "
            f"--dtype {bits}bit; choose bfloat16 or another --device"
        )


def quantised_loading(bits: int, device: torch.device | str, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is told to load in these bits; nothing for 0."""
    if not bits:
        return {}
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(
        logging.ERROR
    )  # it tells of kernels that it lacks, and of every rounding
    eight = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": eight if bits == 8 else four, "device_map": {"": str(device)}}


def precision_of(model: PreTrainedModel) -> str:
    """The dtype that a loaded model runs in, or the bits that its layers are in: both run as bfloat16."""
    quantised: Any = getattr(model.config, "quantization_config", None)
    if quantised is None:
        return str(model.dtype)
    return "8bit" if quantised.load_in_8bit else "4bit"


def keep_gradients(model: torch.nn.Module) -> None:
    """Keeps 4 bits off the packed kernel of processors with AVX-512, through which no gradient flows."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no field that torch knows


def loaded_bytes(stored: StoredTensor, dtype: torch.dtype, bits: int) -> float:
    """How many bytes a tensor of a base takes once it is loaded; only the layers' matrices are quantised."""
    quantised = bits and len(stored.shape) == 2 and layer_of(stored.name) is not None
    return math.prod(stored.shape) * ((bits + SCALE_BITS[bits]) / 8 if quantised else dtype.itemsize)
