"""Every command on the real base smollm2 beside itself, an adapter upon it and its copy in another dtype; `make real`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.checkpoints.packaged_base import NAME, user_cache
from dormant.checkpoints.shards import SINGLE
from dormant.organisms.lora_training import quick_dtype
from tests.builders import build_adapter
from tests.checkpoints.situations import copied, stored_as
from tests.commands.verbs import VERBS, outcome

FOLDER = user_cache() / NAME
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / SINGLE).is_file(), reason=f"{NAME} is not made: run `make real`"),
]
# A head and an offset are a hundredth of a scan: 2 s of a core.
SMALL = {
    "heads": "0", "offsets": 0, "roles": "slot", "sample": 8, "searched": 1, "candidates": 8, "prompts": 4, "count": 2,
    "residency": "both",
}  # fmt: skip
# For `.ci/run`. The beam takes 30 s of a core and is left out. bfloat16 is quick on some processors, and never ends on others.
QUICK = SMALL | {
    "dtype": str(quick_dtype()).removeprefix("torch."),
    "prompts": 2,
    "count": 1,
    "new_tokens": 2,
    "budget": 1,
}
QUICK_VERBS = [verb for verb in VERBS if verb != "beam"]
CLAIMS = "modules or layers or rank or concentration or identical or base_is_parent or prompt_geometry or embeddings"


@pytest.fixture(scope="module")
def suspects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The base itself, a random adapter of rank 4 upon it, and its copy in float16."""
    place = tmp_path_factory.mktemp("real")
    build_adapter(place / "adapter", FOLDER, size=0.05, r=4, target_modules=["q_proj", "down_proj"])
    copied(FOLDER, place / "float16", stored_as(torch.float16))
    return {"itself": NAME, "adapter": str(place / "adapter"), "float16": str(place / "float16")}


def says(verb: str, kind: str, found: Any) -> bool:
    """Whether a command tells the adapter from the base, and nothing else."""
    moved = kind == "adapter"
    if verb == "diff":
        ranks = {row.get("rank") for row in found["tensors"].values() if not row["identical"]}
        return ranks == ({4} if moved else set())
    if verb == "bases":
        return str(found["parent"]) == NAME
    if verb == "profile":
        return bool(found["divergence"][0]["value"] > 1e-3) == moved
    if verb == "score":
        return bool(found["scores"][0]["max-head"] > 1e-3) == moved
    if verb == "vocabulary":
        return bool(max(map(abs, found["effects"]["kl"])) > 1e-3) == moved
    if verb == "hunt":
        return moved or found["verdict"] == "clean"
    return bool(found)


@pytest.mark.parametrize("kind", ["itself", "adapter", "float16"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_tells_an_adapter_from_its_real_base_and_no_copy(
    verb: str, kind: str, suspects: dict[str, str], tmp_path: Path
) -> None:
    found = outcome(verb, NAME, suspects[kind], tmp_path, SMALL)
    assert says(verb, kind, found), json.dumps(found)[:500]


@pytest.mark.parametrize("kind", ["itself", "adapter", "float16"])
@pytest.mark.parametrize("verb", QUICK_VERBS)
def test_quick_a_verb_tells_an_adapter_from_its_real_base_and_no_copy_within_seconds(
    verb: str, kind: str, suspects: dict[str, str], tmp_path: Path
) -> None:
    found = outcome(verb, NAME, suspects[kind], tmp_path, QUICK)
    assert says(verb, kind, found), json.dumps(found)[:500]


@pytest.mark.parametrize("kind", ["itself", "adapter", "float16"])
def test_cheap_claims_are_decided_beside_the_real_base(kind: str, suspects: dict[str, str], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "hypotheses",
        "-m",
        "hypothesis",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        CLAIMS,
    ]
    command += [
        "--dormant",
        suspects[kind],
        "--device",
        "cpu",
        f"--reports={tmp_path}",
        "--ledger",
        str(tmp_path / "ledger"),
    ]
    command += [] if kind == "adapter" else ["--base", NAME]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600)
    assert "error" not in done.stdout.splitlines()[-1], done.stdout[-2000:]
    assert len(json.loads((tmp_path / "findings.json").read_text())) >= 10
