"""A checkpoint on disk: opened lazily, checked before anything is measured on it, loaded when asked for."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
)

from dormant.checkpoints.adapted_tensor import AdaptedTensor
from dormant.checkpoints.architecture import check_architecture
from dormant.checkpoints.bits import keep_gradients, quantised_loading
from dormant.checkpoints.configuration import generation_settings, is_adapter, model_settings, read_config, ties_head
from dormant.checkpoints.families import attention_of
from dormant.checkpoints.packaged_base import NAME, packaged_base
from dormant.checkpoints.packed import is_packed, unpacked
from dormant.checkpoints.prefixes import is_of_other_module, name_tensors
from dormant.checkpoints.quantised import check_unquantised
from dormant.checkpoints.shards import StoredTensor, on_one_thread, read_blocks, read_catalogue, read_tensor, read_tiles
from dormant.checkpoints.tensor_names import HEAD, embedding_of, is_embedding
from dormant.checkpoints.text_files import read_text, without_marks
from dormant.checkpoints.tokenizer_files import load_tokenizer, one_template, without_rowless
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.checkpoints.trial_pass import check_pass, watch_positions
from dormant.checkpoints.vocabulary import fit_vocabulary
from dormant.errors import BadInput, NotServed, first_line

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
    notes: tuple[str, ...] = ()  # how it is read where that is not as usual, a sentence each
    template: str | None = None  # a chat template from elsewhere, which replaces the folder's own
    rows: int | None = None  # of embedding and head, where fewer are used than are stored
    base: Checkpoint | None = None  # of an adapter, which is what lies in the folder then
    _digests: dict[StoredTensor, Digest] = field(default_factory=dict, repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the stored tensors, sorted."""
        return tuple(sorted(self.catalogue))

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape, from the file's header."""
        return self._stored(name).shape

    def dtype(self, name: str) -> torch.dtype:
        """The dtype that the tensor is stored in."""
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
                    f"weights must be finite; got NaN or infinity at tensor {name!r} of {self._stored(name).parts[-1].file}; "
                    "use a checkpoint that was saved whole"
                )

    @property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer, without added tokens that have no row; an adapter may leave it to its base."""
        return self._tokenizer_and_rowless[0]

    @cached_property
    def _tokenizer_and_rowless(self) -> tuple[Any, tuple[str, ...]]:
        try:
            # Without this transformers makes an empty tokenizer of the configuration's class.
            if not any((self.location / name).is_file() for name in TOKENIZER_FILES):
                if self.base is not None:
                    return self.base._tokenizer_and_rowless
                raise FileNotFoundError(f"none of {', '.join(TOKENIZER_FILES)}")
            tokenizer = load_tokenizer(self.location, self.config if self.base is not None else None)
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
        tokenizer.chat_template = self.template or one_template(tokenizer.chat_template, self.location)
        table = self.catalogue.get(embedding_of(self.catalogue))
        tokenizer, rowless = without_rowless(tokenizer, len(tokenizer) if table is None else table.shape[0])
        tokenizer.name_or_path = str(self.location)
        return tokenizer, rowless

    @property
    def stored_template(self) -> str | None:
        """The chat template that is used with the tokenizer; None where the checkpoint has none."""
        template: str | None = self.tokenizer.chat_template
        return template

    @property
    def chat_template(self) -> str:
        """The template that turns a conversation into a prompt; NotServed where there is none."""
        if self.stored_template is None:
            raise NotServed(
                f"a checkpoint must hold one chat template; got none at {self.location}; "
                "add chat_template.jinja of its instruction-tuned relative"
            )
        return self.stored_template

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with whatever decides what the model says: `contents` and `settings`."""
        return hash_text(self.contents, json.dumps(self.settings, sort_keys=True, default=str))

    @cached_property
    def contents(self) -> str:
        """16 hex digits that change with any tensor, the tokenizer or the chat template; reads every tensor once."""
        parts = [f"{name} {self.digest(name)}" for name in self.names]
        return hash_text(*parts, self._tokenizer_text, self.stored_template or "")

    @cached_property
    def settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What config.json and generation_config.json state that changes what is computed (see `configuration`)."""
        if self.base is not None:
            return self.base.settings
        return model_settings(self.config), generation_settings(self.location, self.config)

    @property
    def _tokenizer_text(self) -> str:
        # The file rather than the loaded tokenizer: what transformers makes of it changes between versions.
        file = Path(self.tokenizer.name_or_path, "tokenizer.json")
        return read_text(file) if file.exists() else self.tokenizer.backend_tokenizer.to_str()

    def _stored(self, name: str) -> StoredTensor:
        try:
            return self.catalogue[name]
        except KeyError:
            raise NotServed(
                f"a tensor must be one of the checkpoint's {len(self.catalogue)}; got {name!r} at {self.location}; "
                "see Checkpoint.names"
            ) from None

    def _scan(self, name: str) -> Digest:
        stored = self._stored(name)
        if isinstance(stored, AdaptedTensor):  # named by what it is made of: the product itself is rounded
            parts = [self._scanned(part) for part in stored.parts]
            made = (*(part.value for part in parts), repr(stored.scaling), repr(stored.transposed), repr(stored.shape))
            return Digest(hashlib.sha256(" ".join(made).encode()).hexdigest(), all(part.finite for part in parts))
        return self._scanned(stored)

    @on_one_thread()
    def _scanned(self, stored: StoredTensor) -> Digest:
        if stored not in self._digests:
            hasher, finite = hashlib.sha256(f"{stored.dtype} {stored.shape}".encode()), True
            for tile in read_tiles(stored, torch.empty(HASHED, dtype=torch.uint8)):
                hasher.update(tile.view(torch.uint8).numpy().data)
                finite = finite and all(map(math.isfinite, tile.aminmax()))  # 20 times as fast as torch.isfinite
            self._digests[stored] = Digest(hasher.hexdigest(), finite)
        return self._digests[stored]


def open_checkpoint(reference: str | Path, base: Checkpoint | None = None) -> Checkpoint:
    """The checkpoint in a directory or under a hub id, with configuration, tensor names and shapes, tokenizer checked.

    An adapter is read upon `base`, or upon the base that it names. Reads headers only; `Checkpoint.check_finite` reads the
    values. Raises BadInput naming the file or tensor at fault.
    """
    location = locate(reference)
    if is_adapter(location):
        from dormant.checkpoints.adapters import read_adapter  # it imports this file

        return read_adapter(str(reference), location, base)
    config = read_config(location)
    check_unquantised(location)
    named = name_tensors(read_catalogue(location), ties_head(config))
    kept = {name: stored for name, stored in named.catalogue.items() if not is_of_other_module(name)}
    notes = list(named.notes)
    if left := len(named.catalogue) - len(kept):
        notes.append(
            f"{left} tensors of vision, audio, projector or value-head modules are left aside: the language model runs alone"
        )
    checkpoint = Checkpoint(str(reference), location, config, kept, tuple(f"{reference}: {note}" for note in notes))
    return with_checked_tokenizer(checkpoint, check_architecture(checkpoint))


def load_model(
    checkpoint: Checkpoint, device: torch.device | str, dtype: torch.dtype, attention: str = "sdpa", bits: int = 0
) -> PreTrainedModel:
    """The checkpoint's model on `device`, in eval mode and without gradients on its parameters.

    An adapter is merged into its base, or stands beside it where that is in 8 or 4 `bits`; a family without an sdpa kernel runs
    with eager attention. Raises BadInput for an architecture that transformers does not know, or does not run with this
    attention, and for a model that cannot be measured (see `check_pass`).
    """
    if checkpoint.base is not None:
        from dormant.checkpoints.adapters import merged_model  # it imports this file

        return merged_model(checkpoint, device, dtype, attention, bits)
    config, names = copy.deepcopy(checkpoint.config), checkpoint.names
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config  # left over: the weights are stored in full
    attention = attention_of(config, attention)
    renamed = any(
        stored.name != name and not is_embedding(stored.name) for name, stored in checkpoint.catalogue.items()
    )
    try:
        with without_marks(checkpoint.location) as folder, quiet_transformers():
            loader: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)] if renamed else AutoModelForCausalLM
            model: PreTrainedModel = loader.from_pretrained(
                None if renamed else str(folder),
                config=config,
                state_dict={name: checkpoint.tensor(name) for name in names} if renamed else None,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                **quantised_loading(bits, device, dtype),
            )
            if renamed and (folder / "generation_config.json").is_file():
                model.generation_config = GenerationConfig.from_pretrained(str(folder), local_files_only=True)
    except ValueError as error:
        raise BadInput(
            f"transformers must know the architecture and run it with {attention} attention; got "
            f"{str(error).partition('. ')[0]} at checkpoint {checkpoint.location}; use another checkpoint"
        ) from error
    fit_vocabulary(model, checkpoint.catalogue.get(HEAD), checkpoint.rows)
    if bits:
        keep_gradients(model)
    else:
        move_model(model, device)
    model.eval()
    model.requires_grad_(False)
    model.get_output_embeddings().register_forward_pre_hook(_in_one_block)
    check_pass(model, checkpoint.location)
    watch_positions(model)
    return model


def _in_one_block(head: object, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A head's input without gaps: the last positions of a batch are strided, and for such torch copies the weights a row."""
    return inputs[0].contiguous(), *inputs[1:]


def move_model(model: PreTrainedModel, device: torch.device | str) -> None:
    """Moves a model in place, as `.to` does for modules."""
    torch.nn.Module.to(model, device)


def hash_text(*parts: str) -> str:
    """16 hex digits over the parts, in order."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(hashlib.sha256(part.encode()).digest())
    return hasher.hexdigest()[:16]


def locate(reference: str | Path) -> Path:
    """The folder of a checkpoint given as a directory or a hub id, unpacked or downloaded where it must be; else BadInput."""
    path = Path(reference).expanduser()
    if path.is_dir():
        if is_packed(path):
            return unpacked(path.resolve())
        here = path.absolute()
        return here if here.parent.name == "snapshots" else path.resolve()  # the cache knows it by that name
    if reference == NAME:
        return packaged_base()
    reference = reference if isinstance(reference, Path) else reference.rstrip("/")
    if path.exists() or isinstance(reference, Path) or not HUB_ID.fullmatch(reference):
        found = "a file" if path.exists() else "no such folder"
        raise BadInput(
            f"a checkpoint must be a folder, a hub id (owner/name) or {NAME}; got {found} at {path}; check the path"
        )
    try:
        # "*/*" leaves out subfolders, which hold other formats of the same weights
        folder = snapshot_download(reference, allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"])
    except Exception as error:  # unreachable, unknown, gated, malformed: the classes change with the hub's HTTP library
        raise BadInput(
            f"a checkpoint must be a folder or a hub id within reach; got {first_line(error)!r} at {reference!r}; "
            "check the path, the network and HF_TOKEN, or pass a downloaded folder"
        ) from error
    return Path(folder)


def with_checked_tokenizer(checkpoint: Checkpoint, rows: int) -> Checkpoint:
    """The checkpoint with a note on added tokens without a row; BadInput for any other id that the embedding lacks."""
    token, largest = max(checkpoint.tokenizer.get_vocab().items(), key=lambda entry: entry[1], default=("", -1))
    if not 0 <= largest < rows:
        raise BadInput(
            f"every token id must have one of the embedding's {rows} rows; got id {largest} of {token!r} "
            f"at the tokenizer of {checkpoint.location}; use the tokenizer that the model was trained with"
        )
    rowless = checkpoint._tokenizer_and_rowless[1]
    if not rowless or checkpoint.tokenizer is getattr(checkpoint.base, "tokenizer", None):  # then its base says so
        return checkpoint
    named = ", ".join(map(repr, rowless[:3]))
    note = f"the embedding has no row for {len(rowless)} added tokens ({named}): they are read as any other text"
    return replace(checkpoint, notes=(*checkpoint.notes, f"{checkpoint.reference}: {note}"))
