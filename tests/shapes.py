"""Checks the shapes that signatures state while tests run; outside tests they cost nothing."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import isclass, isfunction
from types import ModuleType
from typing import Any

from beartype import beartype
from jaxtyping import jaxtyped

ROOMS = ("weights", "layer0", "activations", "inference", "search")


def check_shapes() -> None:
    """Every function and dataclass of the rooms whose annotations hold shapes refuses tensors of others from here on."""
    checked: dict[Callable[..., Any], Callable[..., Any]] = {}
    for room in ROOMS:
        package = import_module(f"dormant.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = import_module(found.name)
            checked |= _check(module, found.name)
            for owned in list(vars(module).values()):
                if isclass(owned) and owned.__module__ == found.name:
                    checked |= _check(owned, found.name)
    for name, loaded in list(sys.modules.items()):
        if name.partition(".")[0] == "dormant":  # what other modules imported before
            for alias, value in list(vars(loaded).items()):
                if isfunction(value) and value in checked:
                    setattr(loaded, alias, checked[value])


def _check(owner: ModuleType | type, module: str) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The owner's functions whose annotations hold shapes, replaced; only these annotations count."""
    replaced: dict[Callable[..., Any], Callable[..., Any]] = {}
    for name, value in list(vars(owner).items()):
        if isfunction(value) and value.__module__ == module:
            shapes = {argument: text for argument, text in value.__annotations__.items() if "[Tensor, " in str(text)}
            if shapes:
                value.__annotations__ = shapes
                replaced[value] = jaxtyped(typechecker=beartype)(value)
                setattr(owner, name, replaced[value])
    return replaced
