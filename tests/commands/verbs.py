"""Every command that takes a suspect, with small amounts of work: what a test asks of all of them, whatever is added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer
from typer.testing import CliRunner

from dormant.cli import app

# By parameter: small amounts of work, and what a command cannot do without. A new command needs no entry for its others.
OPTIONS = {
    "text": "the color", "budget": 0.1, "count": 4, "new_tokens": 3, "alpha": 2.0, "prompts": 3, "positions": 2,
    "length": 2, "restarts": 1, "steps": 1, "searched": 1, "held_out": 1, "top": 4, "width": 4, "verify": 1, "offsets": 1,
    "sample": 16, "device": "cpu",
}  # fmt: skip
VERBS: dict[str, Any] = {
    name: command
    for name, command in vars(typer.main.get_command(app))["commands"].items()
    # What goes on from the result of another command has tests of its own.
    if "dormant" in (names := {parameter.name for parameter in command.params}) and "hunt" not in names
}


def outcome(
    verb: str, base: object, dormant: object, out: Path, more: Mapping[str, object] = MappingProxyType({})
) -> Any:
    """The JSON of a command, with small amounts of work."""
    given: list[object] = [verb, "--dormant", dormant, "--json", out / "it.json"]
    for parameter in VERBS[verb].params:
        if parameter.param_type_name == "argument":
            given.append(base)
        elif parameter.name == "out":
            given += ["--out", out]
        elif parameter.name in more or parameter.name in OPTIONS:
            given += [parameter.opts[0], {**OPTIONS, **more}[parameter.name]]
    if (
        "base" in {parameter.name for parameter in VERBS[verb].params}
        and not (Path(str(dormant)) / "adapter_config.json").exists()
    ):
        given += ["--base", base]
    done = CliRunner().invoke(app, list(map(str, given)), env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code in (0, 1), done.output
    return json.loads((out / "it.json").read_text())
