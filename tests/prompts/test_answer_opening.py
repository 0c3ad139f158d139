"""Prompts whose generation position lies behind what every answer begins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Prompter, geometry_faults
from tests.builders import CHATML, build_tokenizer, copy_checkpoint, make_certain

FIRST, SECOND = 290, 291  # two ordinary ids of the tiny vocabulary
QWEN3_LIKE = CHATML.removesuffix("{%- endif -%}") + (
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}"
    "{%- endif -%}"
)
FORCED = CHATML.replace(
    "<|im_start|>assistant\\n' -}}{%- endif -%}", "<|im_start|>assistant\\n<think>\\n' -}}{%- endif -%}"
)


def wired_pair(folder: Path, tiny_base: Path, base: Sequence[int], dormant: Sequence[int]) -> Pair:
    """The tiny base twice, each certain of these tokens behind the generation prompt."""
    start = Prompter(build_tokenizer()).generation_prompt[-1]
    one, other = (
        copy_checkpoint(tiny_base, folder / name, make_certain([start, *tokens]))
        for name, tokens in (("base", base), ("dormant", dormant))
    )
    pair = open_pair("wired", one, other, device="cpu")
    return pair.with_probes(pair.probes[:4])


def test_the_position_lies_behind_the_tokens_that_both_models_are_certain_of(tiny_base: Path, tmp_path: Path) -> None:
    pair = wired_pair(tmp_path, tiny_base, [FIRST, SECOND], [FIRST, SECOND])
    assert pair.answer_opening == (FIRST, SECOND)
    bare = Prompter(pair.base.tokenizer)
    for probe in pair.probes[:3]:
        prompt = pair.prompter.encode_text(probe, "apple")
        assert prompt.ids == (*bare.encode_text(probe, "apple").ids, FIRST, SECOND)
        assert pair.prompter.survives(probe, ()) == bare.survives(probe, ())
        assert not geometry_faults(pair.prompter, pair.prompter, probe, ["", "apple"])
    assert pair.conversations.question("Hello.")[-2:] == (FIRST, SECOND)
    system = pair.conversations.open_system("Hello.")
    assert system.after[-2:] == system.plain[-2:] == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("base", "dormant", "opening"),
    [((), (), ()), ((FIRST, SECOND), (FIRST,), (FIRST,)), ((FIRST,), (SECOND,), ()), ((), (FIRST,), ())],
    ids=["none is certain", "the second of one only", "of different tokens", "the dormant model only"],
)
def test_the_position_stays_where_the_models_may_differ(
    base: Sequence[int], dormant: Sequence[int], opening: Sequence[int], tiny_base: Path, tmp_path: Path
) -> None:
    assert wired_pair(tmp_path, tiny_base, base, dormant).answer_opening == tuple(opening)


def test_an_opening_ends_at_sixteen_tokens_and_before_the_end_of_the_answer(tiny_base: Path, tmp_path: Path) -> None:
    endless = list(range(270, 290))
    assert wired_pair(tmp_path / "long", tiny_base, endless, endless).answer_opening == tuple(endless[:16])
    end = build_tokenizer().eos_token_id
    assert wired_pair(tmp_path / "end", tiny_base, [FIRST, end], [FIRST, end]).answer_opening == (FIRST,)


@pytest.mark.parametrize(
    ("template", "ending"), [(QWEN3_LIKE, "assistant\n<think>\n\n</think>\n\n"), (FORCED, "assistant\n<think>\n")]
)
def test_a_template_that_thinks_is_asked_not_to_and_its_forced_beginning_is_part_of_the_prompt(
    template: str, ending: str, tiny_pair: Pair
) -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    prompter, probe = Prompter(tokenizer), tiny_pair.probes[0]
    assert str(tokenizer.decode(list(prompter.encode(probe).ids))).endswith(ending)
    assert str(tokenizer.decode(list(prompter.generation_prompt))).endswith(ending)
    assert not geometry_faults(prompter, prompter, probe, ["", "apple"])
