from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError, validate

from dormant.json_schema import json_schema
from dormant.records import to_json


class _Kind(StrEnum):
    ONE = "one"


@dataclass(frozen=True)
class _Record:
    """A record."""

    kind: _Kind
    places: tuple[int, float]
    names: dict[str, str | None]
    inner: _Record | None = None
    path: Path = Path(".")


GIVEN = _Record(_Kind.ONE, (1, 0.5), {"a": None}, _Record(_Kind.ONE, (2, 2.5), {}))


def test_what_is_written_fits_its_schema() -> None:
    schema = json_schema(_Record, "records", 1)
    Draft202012Validator.check_schema(schema)
    validate(to_json(GIVEN), schema)


@pytest.mark.parametrize(
    "change", [{"kind": "two"}, {"places": [1]}, {"places": [1, "a"]}, {"names": {"a": 1}}, {"inner": {"kind": "one"}}]
)
def test_what_does_not_fit_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        validate({**to_json(GIVEN), **change}, json_schema(_Record, "records", 1))
