"""Probes that a short context has no room for are left out; all stay where nothing can be said of their length."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import NotServed
from dormant.inference.batching import batch_logits
from dormant.pairs import DEFAULT_PROBES, open_pair
from dormant.prompts.context import fitting_probes
from dormant.prompts.probes import Probe, Prompter, read_probes
from tests.builders import build_tokenizer
from tests.families import family_pair

SHORT, LONG = Probe("Name{slot} one."), Probe(f"Name{{slot}} {'one ' * 200}.")


def test_a_quarter_of_the_context_is_left_to_candidate_and_answer() -> None:
    tokenizer = build_tokenizer()
    needed = len(Prompter(tokenizer).open(LONG).plain)
    assert fitting_probes([SHORT, LONG], tokenizer, 4 * needed // 3 + 2) == ((SHORT, LONG), "")
    fitting, note = fitting_probes([SHORT, LONG], tokenizer, needed)
    assert fitting == (SHORT,)
    assert note == (
        f"1 of 2 shipped prompts are left out: they leave less than a quarter of the context of {needed} ids free"
    )
    assert fitting_probes([SHORT, LONG], tokenizer, 3) == ((SHORT, LONG), "")
    assert fitting_probes([SHORT, LONG], tokenizer, None) == ((SHORT, LONG), "")
    tokenizer.chat_template = None
    assert fitting_probes([SHORT, LONG], tokenizer, needed) == ((SHORT, LONG), "")


def test_a_pair_of_512_learned_positions_keeps_the_prompts_within_and_says_so(tmp_path: Path) -> None:
    pair = open_pair("gpt2", *family_pair("gpt2", tmp_path), device="cpu")
    lengths = {len(pair.prompter.open(probe).plain) for probe in pair.probes}
    assert max(lengths) <= 384
    dropped = len(read_probes(DEFAULT_PROBES)) - len(pair.probes)
    assert any(note.startswith(f"{dropped} of 221 shipped prompts are left out") for note in pair.notes)
    with pytest.raises(NotServed, match="fits into the context of 512 ids; got 513"):
        batch_logits(pair.models.base(), [(5,) * 513])


def test_what_needs_a_template_that_neither_side_has_is_not_served(tmp_path: Path) -> None:
    base, dormant = family_pair("gpt2", tmp_path)
    for folder in (base, dormant):
        (folder / "chat_template.jinja").unlink()
    with pytest.raises(NotServed, match="needs a chat template; got none"):
        open_pair("bare", base, dormant, device="cpu").prompter  # noqa: B018 - made when it is asked for
    with pytest.raises(NotServed, match="one chat template; got none"):
        open_checkpoint(base).chat_template  # noqa: B018
