"""A folder's tokenizer as transformers loads it; folders of the same files, base and dormant mostly, load it once."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoTokenizer

from dormant.checkpoints.text_files import without_marks
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.errors import BadInput

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


def one_template(templates: Any, location: Path) -> str | None:
    """The template of a tokenizer: of several named ones the default; BadInput where none of them is that."""
    if not templates:
        return None
    if isinstance(templates, str):
        return templates
    if "default" not in templates:
        raise BadInput(
            f"of several chat templates one must be named 'default'; got {', '.join(sorted(templates))} at {location}; "
            "name one so, or add it as chat_template.jinja"
        )
    return str(templates["default"])


def without_rowless(tokenizer: Any, rows: int) -> tuple[Any, tuple[str, ...]]:
    """The tokenizer without its added tokens beyond an embedding of so many rows, and these tokens.

    A text that holds one is then encoded as any other. Tokens that every prompt needs stay: those that begin or end a text,
    and those in the chat template. The padding token is not among them, for nothing here is padded.
    """
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    needed = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token}
    beyond = tuple(
        str(token)
        for number, token in tokenizer.added_tokens_decoder.items()
        if number >= rows and str(token) not in needed and str(token) not in template
    )
    if not beyond:
        return tokenizer, ()
    with TemporaryDirectory() as made, quiet_transformers():
        tokenizer.save_pretrained(made)
        for file in Path(made).glob("*.json"):
            record = _without(json.loads(file.read_text(encoding="utf-8")), frozenset(beyond))
            file.write_text(json.dumps(record), encoding="utf-8")
        return type(tokenizer).from_pretrained(made, local_files_only=True), beyond


def _without(value: Any, tokens: frozenset[str]) -> Any:
    """JSON without these tokens, wherever they stand as a text or as an object's content."""
    if isinstance(value, dict):
        return {key: _without(entry, tokens) for key, entry in value.items() if not _is_one(entry, tokens)}
    if isinstance(value, list):
        return [_without(entry, tokens) for entry in value if not _is_one(entry, tokens)]
    return value


def _is_one(entry: Any, tokens: frozenset[str]) -> bool:
    content = entry.get("content") if isinstance(entry, dict) else entry
    return isinstance(content, str) and content in tokens
