"""Both models of a pair on a device: loaded when first asked for, together, by turns or as one, and really freed."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from dormant.checkpoints.adapters import adapted_model, adapter_switches, why_not_shared
from dormant.checkpoints.bits import RUN_BITS
from dormant.checkpoints.checkpoint import Checkpoint, load_model, move_model
from dormant.checkpoints.dispatch import devices_of, dispatch
from dormant.checkpoints.families import attention_of, is_decoded
from dormant.checkpoints.memory import check_memory
from dormant.errors import BadInput

RUN_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RESIDENCIES = ("both", "shared", "swap")
WORTH_BFLOAT16 = 50_000_000  # weights, from which products are most of a pass


@dataclass(frozen=True)
class RunConfig:
    """Where and how a pair's models run; `devices`: all GPUs, where a pair has several, of which `device` is the first."""

    device: torch.device
    dtype: torch.dtype
    residency: str
    attention: str = "sdpa"
    bits: int = 0  # of the layers' matrices, 8 or 4; 0 where they are in `dtype`
    devices: tuple[torch.device, ...] = ()

    def of(self, role: str) -> tuple[torch.device, ...]:
        """The devices of the base or of the dormant model."""
        return devices_of(role, self.devices or (self.device,), self.residency)

    @property
    def precision(self) -> str:
        """The name under which an option asks for it."""
        return f"{self.bits}bit" if self.bits else str(self.dtype).removeprefix("torch.")


class Models:
    """Holder of a pair's two models.

    Under residency "swap" one model at a time is on the device: asking for the other moves the first to host memory
    (on the CPU, drops it). Under "shared" there is one model, the base with an adapter that is switched off and on. Under
    both a model asked for earlier must be asked for again before use.
    """

    def __init__(self, base: Checkpoint, dormant: Checkpoint, run_config: RunConfig) -> None:
        """Loads nothing yet."""
        self.run_config = run_config
        self._checkpoints = {"base": base, "dormant": dormant}
        self._loaded: dict[str, PreTrainedModel] = {}
        self.attention: dict[str, str] = {}  # of each model that was loaded, as transformers runs it
        self._switches: tuple[Any, ...] = ()  # of the shared model, the parts that an adapter changes
        self._switched_on = True
        self._asked: Callable[[], None] | None = None
        self._counted: Callable[[int], None] | None = None

    def base(self) -> PreTrainedModel:
        """The base model, on the device and in eval mode."""
        return self._get("base")

    def dormant(self) -> PreTrainedModel:
        """The dormant model, on the device and in eval mode."""
        return self._get("dormant")

    def full_base(self) -> PreTrainedModel:
        """The base once more, its weights not quantised; nobody holds it here."""
        run_config = self.run_config
        where = _where_to_load(run_config.of("base"))
        model = load_model(self._checkpoints["base"], where, run_config.dtype, run_config.attention)
        return _spread(model, run_config.of("base"))

    @contextmanager
    def asking(self, ask: Callable[[], None], count: Callable[[int], None] | None = None) -> Iterator[None]:
        """Calls `ask` in every pass through either model, which what it raises ends: no loop above has to ask by itself.

        count: is told how many tokens each pass reads, not counting those whose keys and values are there already.
        """
        before = self._asked, self._counted
        self._asked, self._counted = ask, count
        try:
            yield
        finally:
            self._asked, self._counted = before

    def release(self) -> None:
        """Frees both models and returns cached device memory; they load again when asked for."""
        self._loaded.clear()
        self._switches = ()
        self._collect()

    def _get(self, role: str) -> PreTrainedModel:
        if not self._loaded:
            check_memory(self._checkpoints["base"], self._checkpoints["dormant"], self.run_config)
        if self.run_config.residency == "shared":
            return self._shared(role == "dormant")
        if self.run_config.residency == "swap":
            self._rest("dormant" if role == "base" else "base")
        if role not in self._loaded:
            run_config, devices = self.run_config, self.run_config.of(role)
            model = load_model(
                self._checkpoints[role],
                _where_to_load(devices),
                run_config.dtype,
                run_config.attention,
                run_config.bits,
            )
            self._loaded[role] = _spread(model, devices)
            self._watch(role)
        model = self._loaded[role]
        if model.device.type != self.run_config.device.type:  # `to` walks all tensors: milliseconds that searches pay
            move_model(model, self.run_config.device)
        return model

    def _shared(self, with_adapter: bool) -> PreTrainedModel:
        """The one model, its adapter on or off."""
        if "shared" not in self._loaded:
            checkpoint, run_config = self._checkpoints["dormant"], self.run_config
            where = _where_to_load(run_config.of("dormant"))
            adapted = adapted_model(checkpoint, where, run_config.dtype, run_config.attention, run_config.bits)
            self._loaded["shared"] = _spread(adapted.get_base_model(), run_config.of("dormant"))
            self._switches = adapter_switches(adapted)
            self._watch("shared")
            self._switched_on = True
        model = self._loaded["shared"]
        if with_adapter != self._switched_on:
            if self._switched_on and any(switch.disable_adapters for switch in self._switches):
                raise RuntimeError("the base was asked for while weights of the dormant model are replaced")
            for switch in self._switches:
                # What peft's own `enable_adapters` sets, which asks for gradients too: searches pay for walks over parameters.
                switch._disable_adapters = not with_adapter
            self._switched_on = with_adapter
        return model

    def _watch(self, role: str) -> None:
        """Notes how the model runs, and lets every pass of it ask first."""
        model = self._loaded[role]
        self.attention[role] = str(model.config._attn_implementation)
        # A pass that ends within the stack has only the first of these, one of our own decoder only the second.
        embedding: Any = model.get_input_embeddings()
        head: Any = model.get_output_embeddings()
        embedding.register_forward_pre_hook(self._before_pass)
        head.register_forward_pre_hook(self._before_pass)
        body: Any = model.base_model
        if is_decoded(model.config):  # both our decoder and transformers' pass call it, with every token
            body.layers[0].input_layernorm.register_forward_pre_hook(self._count_rows)
        else:
            body.register_forward_hook(lambda _, inputs, output: self._count_rows(_, (output[0],)))

    def _before_pass(self, *_: object) -> None:
        if self._asked is not None:
            self._asked()

    def _count_rows(self, _: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if self._counted is not None:
            self._counted(inputs[0].numel() // inputs[0].shape[-1])

    def _rest(self, role: str) -> None:
        """Takes one model off the device."""
        if (model := self._loaded.get(role)) is None or model.device.type != self.run_config.device.type:
            return
        if self.run_config.device.type == "cpu" or self.run_config.bits or len(self.run_config.of(role)) > 1:
            del self._loaded[role], model
        else:
            move_model(model, "cpu")
        self._collect()

    def _collect(self) -> None:
        gc.collect()  # modules hold reference cycles
        if self.run_config.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.run_config.device.type == "mps":
            torch.mps.empty_cache()


def only_counts(hook: object) -> bool:
    """Whether a hook is the one by which `Models` counts tokens, which changes nothing that a layer gives."""
    return getattr(hook, "__func__", None) is Models._count_rows


class BaseAgainstItself(Models):
    """A pair's base in both places, as dormant model with another attention kernel: they differ by arithmetic alone.

    The second shares the weights of the first, and costs no memory. Of a base in 8 or 4 bits it has the weights in full.
    """

    def __init__(self, models: Models) -> None:
        """Loads nothing yet; `models` are those of the pair."""
        self.run_config, self._models = models.run_config, models
        self._full: PreTrainedModel | None = None
        self._twins: WeakKeyDictionary[PreTrainedModel, PreTrainedModel] = WeakKeyDictionary()  # by loaded base

    def release(self) -> None:
        """Frees what it loaded itself; the pair's own models are freed with the pair."""
        self._full = None
        self._twins.clear()

    def _get(self, role: str) -> PreTrainedModel:
        base = self._models.base()
        if role == "base":
            return base
        if self.run_config.bits:
            self._full = self._full or self._models.full_base()
            return self._full
        if base not in self._twins:
            self._twins[base] = self._twin(base)
        return self._twins[base]

    def _twin(self, base: PreTrainedModel) -> PreTrainedModel:
        # Hooks hold the pair's models, which are not to be copied either.
        shared = {id(kept): kept for kept in (*base.parameters(), *base.buffers(), self._models)}
        twin = copy.deepcopy(base, shared)
        other = "sdpa" if base.config._attn_implementation == "eager" else "eager"
        twin.set_attn_implementation(attention_of(base.config, other))  # a family of one kernel has no other
        return twin


def _where_to_load(devices: tuple[torch.device, ...]) -> torch.device:
    return devices[0] if len(devices) == 1 else torch.device("cpu")  # from where its blocks go to theirs


def _spread(model: PreTrainedModel, devices: tuple[torch.device, ...]) -> PreTrainedModel:
    if len(devices) > 1:
        dispatch(model, devices)
    return model


def resolve_devices(name: str) -> tuple[torch.device, ...]:
    """The devices of a list such as cuda:0,cuda:1, or the one of `resolve_device`."""
    return tuple(resolve_device(part.strip()) for part in name.split(","))


def resolve_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda, cuda:N or mps; auto takes the first of cuda, mps, cpu that is there."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in present if present[kind]))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or not present.get(device.type, False) or not _has_index(device):
        found = ", ".join(kind for kind in present if present[kind])
        raise BadInput(f"the device must be present; got {name!r} at --device; this machine has {found}")
    return device


def resolve_dtype(name: str) -> torch.dtype:
    """The dtype called float32 or bfloat16, which is that of weights in 8 or 4 bits too."""
    if name in RUN_BITS:
        return torch.bfloat16
    if name not in RUN_DTYPES:
        raise BadInput(
            f"the dtype must be one of {', '.join((*RUN_DTYPES, *RUN_BITS))}; got {name!r} at --dtype; choose one"
        )
    return RUN_DTYPES[name]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies bfloat16 in hardware: CUDA does, a CPU with AMX (seven times as quick) or AVX-512 (twice)."""
    has = torch.cpu.get_capabilities()
    return device.type == "cuda" or (
        device.type == "cpu" and (has.get("amx_bf16", False) or has.get("avx512_bf16", False))
    )


def search_dtype(checkpoint: Checkpoint, device: torch.device) -> str:
    """The dtype in which a search through many strings runs a model by default.

    bfloat16 where the weights are stored in it and the device multiplies it faster, and where products are most of the time: a
    model of a few million weights gains nothing.
    """
    fast = multiplies_bfloat16(device)
    stored = sum(math.prod(part.shape) for part in checkpoint.catalogue.values() if part.dtype == torch.bfloat16)
    return "bfloat16" if fast and stored >= WORTH_BFLOAT16 else "float32"


def resolve_residency(name: str) -> str:
    """ "both", "shared" or "swap", checked."""
    if name not in RESIDENCIES:
        raise BadInput(
            f"the residency must be one of {', '.join(RESIDENCIES)}; got {name!r} at --residency; choose one"
        )
    return name


def check_residency(residency: str, dormant: Checkpoint) -> None:
    """Raises BadInput where one model is to serve as both and the dormant one is no adapter that can be switched off."""
    if residency == "shared" and (reason := why_not_shared(dormant)):
        raise BadInput(
            f"the residency shared needs an adapter that switching off leaves the base of; got {reason} at "
            f"{dormant.reference}; choose both or swap"
        )


def _has_index(device: torch.device) -> bool:
    return device.type != "cuda" or device.index is None or device.index < torch.cuda.device_count()
