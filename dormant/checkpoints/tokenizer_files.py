"""A folder's tokenizer as transformers loads it; folders of the same files, base and dormant mostly, load it once."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from dormant.checkpoints.text_files import without_marks
from dormant.checkpoints.transformers_output import quiet_transformers

# What transformers makes a tokenizer of; config.json names the class where tokenizer_config.json does not.
SOURCES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "config.json",
)  # fmt: skip


@dataclass(frozen=True)
class _Files:
    """A folder by what its files hold: two with equal ones are equal."""

    contents: tuple[str, ...]
    family: str  # of the model, where another folder states it
    location: Path = field(compare=False)
    config: Any = field(compare=False)


def load_tokenizer(location: Path, config: Any = None) -> Any:
    """The folder's tokenizer; settings of what is given back are its own, the tables below are shared with equal folders.

    An adapter's folder states no family of models, by which transformers chooses the class: `config` is its base's.
    """
    files = [
        path for path in (*(location / name for name in SOURCES), *location.glob("*templates/*")) if path.is_file()
    ]
    contents = (f"{path.relative_to(location)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
    loaded = _loaded(_Files(tuple(contents), str(getattr(config, "model_type", "")), location, config))
    tokenizer = copy.copy(loaded)
    for name, value in vars(loaded).items():
        if isinstance(value, dict | list | set):
            setattr(tokenizer, name, copy.copy(value))
    return tokenizer


@lru_cache(maxsize=4)
def _loaded(files: _Files) -> Any:
    with without_marks(files.location) as folder, quiet_transformers():
        return AutoTokenizer.from_pretrained(
            str(folder), config=files.config, local_files_only=True, trust_remote_code=False
        )
