"""`import dormant` gives the functions that the README uses, and costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dormant

HEAVY = ("torch", "transformers", "matplotlib", "scipy", "sklearn")


@pytest.mark.parametrize("name", dormant.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(dormant)
    assert getattr(dormant, name).__doc__


def test_an_unknown_name_is_refused_by_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'backdoor'"):
        getattr(dormant, "backdoor")  # noqa: B009


@pytest.mark.parametrize(
    "code", ["import dormant", "from dormant.cli import app; app(['--help'], standalone_mode=False)"]
)
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    code += f"\nimport sys\nprint('imported:', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.endswith("imported: []\n")
