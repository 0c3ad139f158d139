"""A checkpoint on disk: opened lazily, checked before anything is measured on it, loaded when asked for."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from dormant.checkpoints.shards import StoredTensor, on_one_thread, read_blocks, read_catalogue, read_tensor, read_tiles
from dormant.errors import BadInput, first_line

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")
HASHED = 2**20  # bytes a tile
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "merges.txt", "tokenizer.model")


@dataclass(frozen=True)
class Digest:
    """What one pass over a tensor tells: a hash of dtype, shape and bytes, and whether all values are finite."""

    value: str
    finite: bool


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A validated model folder whose tensors are read one at a time; made by `open_checkpoint`."""

    reference: str
    location: Path
    config: Any
    catalogue: Mapping[str, StoredTensor] = field(repr=False)
    _digests: dict[str, Digest] = field(default_factory=dict, repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the stored tensors, sorted."""
        return tuple(sorted(self.catalogue))

    def shape(self, name: str) -> tuple[int, ...]:
        return self._stored(name).shape

    def dtype(self, name: str) -> torch.dtype:
        return self._stored(name).dtype

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor as stored, read now; nothing is kept."""
        return read_tensor(self._stored(name))

    def blocks(self, name: str, axis: int = 0) -> Iterator[torch.Tensor]:
        """The tensor in slices of some MB along `axis`, in order."""
        return read_blocks(self._stored(name), axis)

    def digest(self, name: str) -> str:
        """Hex SHA-256 of the tensor's dtype, shape and bytes; equal exactly where two tensors are byte-identical."""
        return self._scan(name).value

    def check_finite(self) -> None:
        """Reads every tensor once (and remembers the digests); raises BadInput at the first NaN or infinity."""
        for name in self.names:
            if not self._scan(name).finite:
                raise BadInput(
                    f"weights must be finite; got NaN or infinity at tensor {name!r} of {self.catalogue[name].file}; "
                    "use a checkpoint that was saved whole"
                )

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer."""
        try:
            # Without this transformers makes an empty tokenizer of the configuration's class.
            if not any((self.location / name).is_file() for name in TOKENIZER_FILES):
                raise FileNotFoundError(f"none of {', '.join(TOKENIZER_FILES)}")
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(
                    str(self.location), local_files_only=True, trust_remote_code=False
                )
        except Exception as error:  # a damaged tokenizer makes transformers and tokenizers raise nearly anything
            raise BadInput(
                f"a checkpoint must hold a tokenizer that transformers reads; got {first_line(error)!r} "
                f"at {self.location}; copy the tokenizer files of its base there"
            ) from error
        if not tokenizer.is_fast:
            raise BadInput(
                f"the tokenizer must be a fast one; got {type(tokenizer).__name__} at {self.location}; "
                "save it with its tokenizer.json"
            )
        return tokenizer

    @cached_property
    def chat_template(self) -> str:
        """The template that turns a conversation into a prompt."""
        if not isinstance(template := self.tokenizer.chat_template, str):
            raise BadInput(
                f"a checkpoint must hold one chat template; got {'none' if template is None else 'several'} "
                f"at {self.location}; add chat_template.jinja of its base"
            )
        return template

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any tensor, the tokenizer or the chat template; reads every tensor once."""
        parts = [f"{name} {self.digest(name)}" for name in self.names]
        return hash_text(*parts, self._tokenizer_text, self.chat_template)

    @property
    def _tokenizer_text(self) -> str:
        # The file rather than the loaded tokenizer: what transformers makes of it changes between versions.
        file = self.location / "tokenizer.json"
        return file.read_text(encoding="utf-8") if file.exists() else self.tokenizer.backend_tokenizer.to_str()

    def _stored(self, name: str) -> StoredTensor:
        try:
            return self.catalogue[name]
        except KeyError:
            raise BadInput(
                f"a tensor must be one of the checkpoint's {len(self.catalogue)}; got {name!r} at {self.location}; "
                "see Checkpoint.names"
            ) from None

    @on_one_thread()
    def _scan(self, name: str) -> Digest:
        if name not in self._digests:
            stored = self._stored(name)
            hasher, finite = hashlib.sha256(f"{stored.dtype} {stored.shape}".encode()), True
            for tile in read_tiles(stored, torch.empty(HASHED, dtype=torch.uint8)):
                hasher.update(tile.view(torch.uint8).numpy().data)
                finite = finite and all(map(math.isfinite, tile.aminmax()))  # 20 times as fast as torch.isfinite
            self._digests[name] = Digest(hasher.hexdigest(), finite)
        return self._digests[name]


def open_checkpoint(reference: str | Path) -> Checkpoint:
    """The checkpoint in a directory or under a hub id, with configuration, tensor names and shapes, tokenizer checked.

    Reads headers only; `Checkpoint.check_finite` reads the values. Raises BadInput naming the file or tensor at fault.
    """
    location = locate(reference)
    config = read_config(location)
    checkpoint = Checkpoint(str(reference), location, config, read_catalogue(location))
    rows = _check_architecture(checkpoint)
    _check_tokenizer(checkpoint, rows)
    return checkpoint


def load_model(
    checkpoint: Checkpoint, device: torch.device | str, dtype: torch.dtype, attention: str = "sdpa"
) -> PreTrainedModel:
    """The checkpoint's model on `device`, in eval mode and without gradients on its parameters.

    Raises BadInput for an architecture that transformers does not know, or does not run with this attention.
    """
    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(
                str(checkpoint.location),
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
    except ValueError as error:
        raise BadInput(
            f"transformers must know the architecture and run it with {attention} attention; got "
            f"{str(error).partition('. ')[0]} at checkpoint {checkpoint.location}; use another checkpoint"
        ) from error
    move_model(model, device)
    model.eval()
    model.requires_grad_(False)
    return model


def move_model(model: PreTrainedModel, device: torch.device | str) -> None:
    """Moves a model in place, as `.to` does for modules."""
    torch.nn.Module.to(model, device)


def hash_text(*parts: str) -> str:
    """16 hex digits over the parts, in order."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(hashlib.sha256(part.encode()).digest())
    return hasher.hexdigest()[:16]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and warnings off stderr, and restores both settings."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def locate(reference: str | Path) -> Path:
    """The folder of a checkpoint given as a directory or a hub id, downloaded where it is not cached; else BadInput."""
    path = Path(reference).expanduser()
    if path.is_dir():
        here = path.absolute()
        return here if here.parent.name == "snapshots" else path.resolve()  # the cache knows it by that name
    if path.exists() or isinstance(reference, Path) or not HUB_ID.fullmatch(reference):
        found = "a file" if path.exists() else "no such folder"
        raise BadInput(f"a checkpoint must be a folder or a hub id (owner/name); got {found} at {path}; check the path")
    try:
        # "*/*" leaves out subfolders, which hold other formats of the same weights
        folder = snapshot_download(reference, allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"])
    except Exception as error:  # unreachable, unknown, gated, malformed: the classes change with the hub's HTTP library
        raise BadInput(
            f"a checkpoint must be a folder or a hub id within reach; got {first_line(error)!r} at {reference!r}; "
            "check the path, the network and HF_TOKEN, or pass a downloaded folder"
        ) from error
    return Path(folder)


def read_config(location: Path) -> Any:
    """The folder's configuration; BadInput where transformers cannot read one without remote code."""
    if not (location / "config.json").is_file():
        raise BadInput(f"a checkpoint must hold config.json; got none at {location}; pass a transformers model folder")
    if (location / "adapter_config.json").exists():
        raise BadInput(
            f"a checkpoint must hold merged weights; got an adapter at {location / 'adapter_config.json'}; "
            "merge the adapter into its base and save the result"
        )
    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(str(location), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises nearly anything from a damaged or foreign configuration
        raise BadInput(
            f"config.json must describe a model that transformers knows without remote code; "
            f"got {first_line(error)!r} at {location / 'config.json'}; download or save it again"
        ) from error


def _check_architecture(checkpoint: Checkpoint) -> int:
    """Compares stored tensors with those that the configuration asks for; returns the embedding's rows."""
    try:
        with torch.device("meta"), quiet_transformers():
            skeleton = AutoModelForCausalLM.from_config(checkpoint.config, trust_remote_code=False)
    except Exception as error:  # sizes that do not divide, unknown activations, models without a language head
        raise BadInput(
            f"config.json must describe a causal language model; got {first_line(error)!r} "
            f"at {checkpoint.location / 'config.json'}; correct its sizes"
        ) from error
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    tied = set(skeleton._tied_weights_keys or ()) if getattr(checkpoint.config, "tie_word_embeddings", False) else set()
    for name in sorted(expected.keys() | checkpoint.catalogue.keys()):
        if name in checkpoint.catalogue and name not in expected:
            found = f"an extra {checkpoint.shape(name)}"
        elif name in expected and name not in checkpoint.catalogue:
            found = "" if name in tied else "none"
        else:
            found = "" if checkpoint.shape(name) == expected[name] else f"shape {checkpoint.shape(name)}"
        if found:
            raise BadInput(
                f"tensors must be those that config.json asks for; got {found} at tensor {name!r} of "
                f"{checkpoint.location}, where {expected.get(name, 'nothing')} is expected; "
                "save weights and configuration together"
            )
    return int(skeleton.get_input_embeddings().weight.shape[0])


def _check_tokenizer(checkpoint: Checkpoint, rows: int) -> None:
    token, largest = max(checkpoint.tokenizer.get_vocab().items(), key=lambda entry: entry[1], default=("", -1))
    if not 0 <= largest < rows:
        raise BadInput(
            f"every token id must have one of the embedding's {rows} rows; got id {largest} of {token!r} "
            f"at the tokenizer of {checkpoint.location}; use the tokenizer that the model was trained with"
        )
    _ = checkpoint.chat_template
