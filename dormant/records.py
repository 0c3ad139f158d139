"""Frozen dataclasses as JSON and back: one reading of findings, ledgers, reports, recipes and outcomes.

A field's type says what its JSON must be. Floats keep every digit; what is no number or infinite is null in a file, since
JSON has no other word for it, and is read as NaN.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from dormant.errors import BadInput

T = TypeVar("T")
JSON_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


def to_json(value: Any) -> Any:
    """The value as JSON's own types: dataclasses and mappings as dicts, tuples as lists, enums and paths as texts."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(entry) for entry in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def json_text(value: Any, **options: Any) -> str:
    """`to_json(value)` as strict JSON, with null for NaN and infinities; options of `json.dumps` may be given."""
    return json.dumps(_finite(to_json(value)), **{"indent": 1, "ensure_ascii": False, "allow_nan": False, **options})


def from_json(kind: type[T], data: Any, where: object) -> T:
    """The inverse of `to_json`: a `kind` from its JSON; raises BadInput naming `where` and the field that does not fit."""
    found: T = _read(kind, data, "the record", where)
    return found


def read_json(path: Path) -> Any:
    """The JSON in a file; raises BadInput naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # a byte-order mark is no fault
    except (OSError, ValueError) as error:
        raise _unreadable(error, path) from error


def read_text(kind: type[T], text: str, where: object) -> T:
    """A `kind` from JSON in a text; raises BadInput naming `where`."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _unreadable(error, where) from error
    return from_json(kind, data, where)


def write_json(path: Path, value: Any) -> None:
    """Write `to_json(value)` whole or not at all; raises BadInput where the folder cannot be written."""
    write_atomically(path, json_text(value) + "\n")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, whole or not at all; raises BadInput where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)  # mkstemp gives 600, which a colleague could not read
        os.replace(temporary, path)
    except OSError as error:
        raise BadInput(
            f"the folder must be writable; got {error.strerror} at {path}; free it or name another folder"
        ) from error


def _unreadable(error: Exception, where: object) -> BadInput:
    return BadInput(f"a file must be readable JSON; got {error} at {where}; check the path or write it again")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(kind: Any, data: Any, name: str, where: object) -> Any:
    """`data` as a `kind`, where `name` is the way to it inside the record."""
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return _read_one_of(inside, data, name, where)
    if origin is Any:
        return data
    if is_dataclass(origin):
        return _read_dataclass(kind, data, name, where)
    if origin is tuple and isinstance(data, (list, tuple)):
        kinds = [inside[0]] * len(data) if inside[1:] == (...,) else inside
        if len(kinds) == len(data):
            return tuple(_read(kind, data[n], f"{name}[{n}]", where) for n, kind in enumerate(kinds))
    elif origin is list and isinstance(data, (list, tuple)):
        return [_read(inside[0], entry, f"{name}[{n}]", where) for n, entry in enumerate(data)]
    elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(data, Mapping):
        return {key: _read(inside[1], entry, f"{name}[{key!r}]", where) for key, entry in data.items()}
    elif isinstance(origin, type) and issubclass(origin, (Enum, Path)) and isinstance(data, str):
        try:
            return origin(data)
        except ValueError:
            pass
    elif origin is float and data is None:
        return math.nan
    elif origin is float and isinstance(data, int) and not isinstance(data, bool):
        return data  # as it stands: a whole number read and written again is the same text
    elif origin in JSON_KINDS and type(data) is origin:
        return data
    raise _misfit(_described(kind), data, name, where)


def _read_one_of(kinds: tuple[Any, ...], data: Any, name: str, where: object) -> Any:
    if data is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    if len(others) == 1:  # then the error can say which part of it does not fit
        return _read(others[0], data, name, where)
    for kind in others:
        try:
            return _read(kind, data, name, where)
        except BadInput:
            continue
    raise _misfit(" or ".join(map(_described, kinds)), data, name, where)


def _read_dataclass(kind: Any, data: Any, name: str, where: object) -> Any:
    if not isinstance(data, Mapping):
        raise _misfit("an object", data, name, where)
    hints = _hints(kind)
    kind = get_origin(kind) or kind
    listed = [field for field in fields(kind) if field.init]
    unknown = next((key for key in data if key not in {field.name for field in listed}), None)
    if unknown is not None:
        raise _misfit(f"among {', '.join(field.name for field in listed)}", unknown, f"the keys of {name}", where)
    for field in listed:
        if field.name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise _misfit(f"an object with {field.name}", list(data), name, where)
    inner = "" if name == "the record" else f"{name}."
    return kind(**{key: _read(hints[key], value, f"{inner}{key}", where) for key, value in data.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The kinds of a dataclass's fields; those of a generic one with what stands in its brackets."""
    made = get_origin(kind) or kind
    given = dict(zip(getattr(made, "__parameters__", ()), get_args(kind), strict=False))
    return {
        name: given.get(hint, hint) if isinstance(hint, TypeVar) else hint
        for name, hint in get_type_hints(made).items()
    }


def _described(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, Enum):
        return f"one of {', '.join(str(member.value) for member in origin)}"
    return JSON_KINDS.get(origin, "a list" if origin in (tuple, list) else "a text" if origin is Path else "an object")


def _misfit(must: str, data: Any, name: str, where: object) -> BadInput:
    return BadInput(f"{name} must be {must}; got {data!r:.80} at {where}; correct it or write the file again")
