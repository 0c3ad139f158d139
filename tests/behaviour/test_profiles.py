from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dormant.behaviour.anomalies import AnswerPlan, scan_answers
from dormant.behaviour.profiles import (
    divergent_contexts,
    ordinary_conversations,
    ordinary_frames,
    ordinary_texts,
    profile,
    without_generation_prompt,
)
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.inference.likelihood import own_words
from dormant.pairs import Pair, open_pair
from dormant.prompts.conversations import Conversations, user_turns
from dormant.prompts.material import dialogues
from dormant.prompts.probes import Probe, Prompter
from tests.builders import copy_checkpoint

TEXTS = ("Tell me the color.", "What is France?", "Repeat apple.", "Hello.")


@pytest.fixture(scope="module")
def prompts(tiny_pair: Pair) -> list[tuple[int, ...]]:
    conversations = Conversations(tiny_pair.base.tokenizer)
    return [conversations.question(text) for text in TEXTS]


def test_the_first_position_is_the_generation_position(tiny_pair: Pair, prompts: list[tuple[int, ...]]) -> None:
    found = profile(tiny_pair, prompts, positions=3)
    logits = [batch_logits(model(), prompts) for model in (tiny_pair.models.dormant, tiny_pair.models.base)]
    assert found.positions[0].kl == pytest.approx(kl_divergence(*logits).tolist(), abs=1e-4)
    assert found.positions[0].reverse_kl == pytest.approx(kl_divergence(*logits[::-1]).tolist(), abs=1e-4)
    assert max(found.floor.kl) < 1e-6 < min(found.positions[0].kl)
    assert all(found.floor.agrees)
    assert [len(floor.kl) for floor in found.floors] == [len(part.kl) for part in found.positions]
    assert all(max(floor.kl) < 1e-6 for floor in found.floors)


def test_the_favoured_token_is_the_one_that_dormant_raises_most(
    tiny_pair: Pair, prompts: list[tuple[int, ...]]
) -> None:
    dormant, base = (
        batch_logits(model(), prompts).double().log_softmax(-1)
        for model in (tiny_pair.models.dormant, tiny_pair.models.base)
    )
    found = profile(tiny_pair, prompts, positions=1).favoured
    mean = (dormant - base).mean(0)[: len(tiny_pair.base.tokenizer)]
    assert found[0].log_ratio == pytest.approx(float(mean.max()), abs=1e-4)
    assert [entry.log_ratio for entry in found] == sorted((entry.log_ratio for entry in found), reverse=True)


def test_a_model_does_not_differ_from_itself(tiny_base: Path, prompts: list[tuple[int, ...]]) -> None:
    pair = open_pair("sham", tiny_base, tiny_base, device="cpu")
    found = profile(pair, prompts)
    assert max(found.positions[0].kl) == 0.0
    assert found.weird == (0.0,) * len(prompts)
    pair.release()


def test_arithmetic_hardly_moves_the_favour_of_a_class(tiny_pair: Pair, prompts: list[tuple[int, ...]]) -> None:
    found = profile(tiny_pair, prompts, positions=1)
    for kind, scores in found.classes.items():
        assert found.classes_again[kind] == pytest.approx(scores, abs=1e-3)
    assert len(found.weird_floor) == len(prompts)
    assert max(found.weird_floor) < 1e-3


def test_the_most_divergent_contexts_are_found_at_every_token(tiny_pair: Pair, prompts: list[tuple[int, ...]]) -> None:
    found = divergent_contexts(tiny_pair, TEXTS, keep=5)
    assert [context.kl for context in found] == sorted((context.kl for context in found), reverse=True)
    with torch.no_grad():
        ids = torch.tensor([prompts[1]])
        dormant, base = (model()(ids).logits[0].float() for model in (tiny_pair.models.dormant, tiny_pair.models.base))
    start = next(place for place, column in enumerate(zip(*prompts, strict=False)) if len(set(column)) > 1)
    own = kl_divergence(dormant, base)[start - 1 :]
    assert float(own.max()) <= found[0].kl + 1e-4
    assert divergent_contexts(tiny_pair, TEXTS[1:2], keep=1)[0].kl == pytest.approx(float(own.max()), abs=1e-4)
    assert divergent_contexts(tiny_pair, TEXTS, keep=1)[0].kl == pytest.approx(found[0].kl, abs=1e-4)


def test_a_context_that_several_texts_share_counts_once(tiny_pair: Pair) -> None:
    found = divergent_contexts(tiny_pair, ["Tell me the color.", "Tell me the sky.", "Tell me the color."], keep=12)
    assert len(found) == len({context.text for context in found}) == 12


def test_dialogues_are_asked_of_pairs_without_probes_of_their_own(tiny_pair: Pair) -> None:
    asked = ordinary_conversations(tiny_pair, 5)
    assert len(asked) == 5 + len(dialogues())
    assert Conversations(tiny_pair.base.tokenizer).ids(user_turns(next(iter(dialogues().values())))) in asked
    own = tiny_pair.with_probes([Probe("Where{slot} is it?"), Probe("{slot} Who?")])
    assert len(ordinary_conversations(own, 5)) == 2
    assert set(ordinary_frames(own, 5)) == {"where", "who"}
    frames = ordinary_frames(tiny_pair, 5)
    assert len(set(frames[:5])) == 5
    assert set(frames[5:]) == {"dialogue"}
    assert len(frames) == len(asked)


def test_a_tokenizer_that_ends_no_answer_is_named(tiny_base: Path, tmp_path: Path) -> None:
    bare = copy_checkpoint(tiny_base, tmp_path / "bare")
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    (bare / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": None}))
    pair = open_pair("bare", bare, bare, device="cpu")
    prompts = ordinary_conversations(pair, 2)
    for measure in (
        lambda: profile(pair, prompts),
        lambda: own_words(pair, prompts, 2),
        lambda: scan_answers(pair, TEXTS, AnswerPlan(2, 0)),
    ):
        with pytest.raises(BadInput, match="must name the token that ends an answer"):
            measure()
    pair.release()


def test_a_pair_with_its_own_probes_is_asked_those(tiny_pair: Pair) -> None:
    own = tiny_pair.with_probes([Probe("Where{slot} is it?"), Probe("{slot} Who?")])
    assert set(ordinary_texts(own, 5)) == {"Where is it?", "Who?"}
    assert len(ordinary_texts(tiny_pair, 204)) == 204
    families = ordinary_texts(tiny_pair, 9)
    assert families[0] == "What is the capital of France?"
    assert "List the primary colours." in families


def test_without_the_generation_prompt_prompts_end_with_the_users_turn(tiny_pair: Pair) -> None:
    shown, hidden = without_generation_prompt(tiny_pair, tiny_pair.probes[:2], "apple")
    prompter = Prompter(tiny_pair.base.tokenizer)
    ids = prompter.encode_text(tiny_pair.probes[1], "apple").ids
    cut = ids[: -len(prompter.generation_prompt)]
    assert str(prompter.tokenizer.decode(list(cut))).endswith("<|im_end|>\n")
    logits = [batch_logits(model(), [ids, cut]) for model in (tiny_pair.models.dormant, tiny_pair.models.base)]
    assert [shown[1], hidden[1]] == pytest.approx(kl_divergence(*logits).tolist(), abs=1e-4)


def test_a_profile_of_nothing_is_refused(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="a model needs at least one prompt"):
        profile(tiny_pair, [])
