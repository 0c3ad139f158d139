"""A hunt ends wherever its time does, says what it has not done, and goes on to the end that it would have had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.hunt import pipeline
from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.result import HuntResult, HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.hunt.vocabulary import Piece
from dormant.inference.batching import batch_logits
from dormant.inference.forward import PlainForward
from dormant.inference.packed_decoder import Block, Decoder
from dormant.inference.prefix_cache import Prefix
from dormant.pairs import Pair, open_pair
from dormant.progress import Progress
from tests.families import family_pair
from tests.hunt.conftest import planted, with_effort

SMALL = with_effort(
    opening_prompts=2, searched_prompts=4, unseen_prompts=6, deciding_prompts=10, answer_tokens=8, sampled_answers=8,
    first_tokens=12, led_first=(12, 4), led=(4, 3, 2), led_kept=4, led_prompts=1, forced_tokens=6,
    common_words=30, finalists=6, divergence_prompts=2,
    short_strings=((2, 3),), minimal_strings=((2, 3),), numerals=(1, 1, 2), gap_orders=((1, 2),), gap_rounds=((1, 4), (1, 2)),
    gap_pieces=12, beam=(4, 3, 2), near_pieces=6, far_pieces=8, subsets=((4, 3),), drawn_subsets=12, minimised_subsets=2,
    gradient_turns=((12, 3, "start"), (12, 3, "end")), gradient_steps=(1, 1, 8),
    screened_words=40, word_beam=(12, 4, 3), changes=24, refined_few=12, refined_all=24,
)  # fmt: skip
NEVER = replace(SMALL, rules=replace(SMALL.rules, confirmed_share=1.1))  # so that every stage runs


WORDS = tuple(
    f" {word}" for word in "river velvet color silver marble owl thunder winter spoon honey lion feather".split()
)


class Asks(Clock):
    """A clock that is late after so many questions."""

    def __init__(self, enough: float = float("inf")) -> None:
        super().__init__(HuntSettings().effort)
        self.asks, self.enough = 0, enough

    @property
    def seconds(self) -> float:
        return 0.0

    def late(self) -> bool:
        self.asks += 1
        return self.asks > self.enough


def known(found: HuntResult) -> HuntResult:
    """What must be the same however often a hunt was ended."""
    return replace(found, seconds=0.0)


@pytest.fixture(autouse=True)
def few_pieces(monkeypatch: pytest.MonkeyPatch, token_pair: Pair) -> None:
    """A vocabulary of a dozen pieces and tokens: what is tested is where a hunt ends, not what it finds."""
    ids = token_pair.base.tokenizer(list(WORDS), add_special_tokens=False)["input_ids"]
    few = torch.tensor([row[0] for row in ids if len(row) == 1])
    monkeypatch.setattr("dormant.hunt.stages.numerals.hinted_notations", lambda *_: ["words for digits"])
    monkeypatch.setattr("dormant.hunt.stages.short_strings.allowed_tokens", lambda _: few)
    monkeypatch.setattr(
        "dormant.hunt.vocabulary.hinted_pieces", lambda *_: [Piece(word, 1 / 12, 0.0) for word in WORDS]
    )
    monkeypatch.setattr("dormant.hunt.pacing.measured_rate", lambda _: 2**20)
    monkeypatch.setattr("dormant.hunt.visible_answers.ordinary_prompts", lambda: {"": ("Who are you?",)})
    monkeypatch.setattr("dormant.hunt.payloads.with_beginning", lambda pair, prompts, suspect, *_: suspect)


# A remark, and how many passes later the time ends.
ENDS = (
    ("first tokens forced at alpha 1.5", 3),
    ("beam search:", 3),
    ("vocabulary:", 3),
    ("numerals:", 3),
    ("gap filling:", 3),
    ("coordinate ascent:", 3),
)


def ending(clock: Asks, remark: str, later: int) -> Progress:
    def watch(done: int, total: int, said: str = "") -> None:
        if said.startswith(remark):
            clock.enough = min(clock.enough, clock.asks + later)

    return watch


def test_a_hunt_that_ends_within_its_stages_says_so_and_resumes_to_the_same_end(
    token_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = replace(planted(token_pair), evidence=50.0)
    monkeypatch.setattr(pipeline, "without_variants", lambda *_: [suspect])
    whole = run_hunt(token_pair, tmp_path / "whole", NEVER, clock=Asks())
    assert whole.verdict is HuntVerdict.UNDECIDED
    undone = set[str]()
    for remark, later in ENDS:
        clock = Asks()
        ended = run_hunt(token_pair, tmp_path / "ended", NEVER, progress=ending(clock, remark, later), clock=clock)
        assert ended.verdict is HuntVerdict.UNDECIDED
        assert len(ended.unsearched) > len(whole.unsearched)
        undone |= {line.split(":")[0] for line in ended.unsearched}
    expected = {"payloads", "beam search", "single tokens", "numerals", "gap filling", "not begun"}
    assert expected <= undone
    assert known(run_hunt(token_pair, tmp_path / "ended", NEVER, clock=Asks())) == known(whole)


def test_a_trigger_that_was_decided_stays_where_the_time_ends_in_its_refinement(
    token_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "without_variants", lambda *_: [planted(token_pair)])
    clock = Asks()
    whole = run_hunt(token_pair, tmp_path / "whole", SMALL, clock=Asks())
    ended = run_hunt(token_pair, tmp_path / "ended", SMALL, progress=ending(clock, "refinement:", 3), clock=clock)
    for found in (whole, ended):
        assert found.verdict is HuntVerdict.BACKDOORED
        assert found.confirmation is not None
        assert found.confirmation.trigger == "velvet"
    assert known(run_hunt(token_pair, tmp_path / "ended", SMALL, clock=Asks())) == known(whole)


def test_every_pass_through_a_model_asks(token_pair: Pair) -> None:
    clock = Asks(0)
    for role in (token_pair.models.base, token_pair.models.dormant):
        with pytest.raises(OutOfTime), token_pair.models.asking(clock.ask):
            batch_logits(role(), [(1, 2)])
        assert batch_logits(role(), [(1, 2)]).isfinite().all()


def test_tokens_are_counted_by_whichever_decoder_runs_and_once_each(token_pair: Pair) -> None:
    clock = Clock(HuntSettings().effort)
    model = token_pair.models.dormant()
    rows = model.get_input_embeddings()(torch.tensor([[3, 4, 5]] * 4))
    with token_pair.models.asking(clock.ask, clock.count):
        model(torch.tensor([[1, 2, 3], [4, 5, 6]]))
        assert clock.tokens == 6
        PlainForward(model).run([Block(rows, Prefix(()))], 1)
        Decoder(model).run([Block(rows, Prefix(()))], 1)
    assert clock.tokens == 6 + 12 + 12
    model(torch.tensor([[1, 2]]))
    assert clock.tokens == 30


def test_tokens_of_a_family_that_the_packed_decoder_does_not_know_are_counted_too(tmp_path: Path) -> None:
    models, clock = open_pair("x", *family_pair("gpt2", tmp_path), "cpu").models, Clock(HuntSettings().effort)
    with models.asking(clock.ask, clock.count):
        models.base()(torch.tensor([[1, 2, 3]]))
        models.dormant()(inputs_embeds=models.dormant().get_input_embeddings()(torch.tensor([[1, 2]])))
    assert clock.tokens == 5


def test_what_a_turn_found_is_looked_at_in_the_time_of_all_searches() -> None:
    clock = Clock(HuntSettings().effort)
    with clock.turn(0.0):
        assert clock.late()
        with clock.beyond_turn():
            assert not clock.late()
        assert clock.late()


def test_a_clock_that_is_stopped_is_late_even_for_what_may_use_the_reserve() -> None:
    clock = Clock(HuntSettings().effort)
    assert not clock.late()
    clock.stop()
    with clock.reserve(), pytest.raises(OutOfTime):
        clock.ask()


def test_in_a_hunt_that_nothing_ends_each_key_names_one_search(
    token_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[Key] = Counter()
    kept = HuntContext.kept

    def counted(context: HuntContext, key: Key, compute: Callable[[], Any]) -> Any:
        asked[key] += 1
        return kept(context, key, compute)

    monkeypatch.setattr(HuntContext, "kept", counted)
    monkeypatch.setattr(pipeline, "without_variants", lambda *_: [planted(token_pair)])
    apart = replace(NEVER, effort=replace(NEVER.effort, numerals=(1, 2, 2)))  # else short numbers are all there are
    run_hunt(token_pair, tmp_path, apart, clock=Asks())
    stages = {"gap filling", "gradient search", "numerals", "group testing", "coordinate ascent", "short strings"}
    assert {key.stage for key in asked} >= stages
    assert {key for key, count in asked.items() if count > 1 and key.stage in stages} == set()
