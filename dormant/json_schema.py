"""The JSON Schema of what a dataclass is written as, by the same reading of its fields as `dormant.records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = ["number", "null"]  # what is no number is written as null
PLAIN: dict[Any, Any] = {
    str: "string", int: "integer", float: NUMBER, bool: "boolean", NoneType: "null", Path: "string",
}  # fmt: skip


def json_schema(kind: Any, title: str, version: int) -> dict[str, Any]:
    """The schema of a file that holds one `kind`, or a list of them; `version` changes when a reader must change too."""
    definitions: dict[str, Any] = {}
    body = _schema(kind, definitions)
    head = {"$schema": DIALECT, "title": title, "$comment": f"version {version}"}
    return {**head, **body, **({"$defs": definitions} if definitions else {})}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(one, definitions) for one in inside]}
    if is_dataclass(origin):
        return _reference(origin, definitions)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return {"enum": [member.value for member in origin]}
    if origin in PLAIN:
        return {"type": PLAIN[origin]}
    if origin is tuple and inside[1:] != (...,):
        places = [_schema(one, definitions) for one in inside]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(inside[1], definitions)}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _schema(inside[0], definitions)}
    return {}  # anything


def _reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # so that a kind may hold itself
        hints, listed = get_type_hints(kind), [field for field in fields(kind) if field.init]
        required = [field.name for field in listed if field.default is MISSING and field.default_factory is MISSING]
        definitions[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip().partition("\n")[0],
            "properties": {field.name: _schema(hints[field.name], definitions) for field in listed},
            "required": required,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}
