"""The evaluator against plain forward passes through the models."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Qwen2ForCausalLM

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.checkpoints.models import Models, RunConfig
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import (
    OBJECTIVES,
    Objective,
    Readings,
    hidden_distance,
    kl,
    named_objective,
    over_probes,
    payload_over_base,
)
from dormant.inference.packed_decoder import Block, Decoder
from dormant.inference.prefix_reader import join
from dormant.prompts.probes import OpenPrompt, Probe, Prompter
from tests.builders import build_adapter, build_tokenizer

PAYLOAD = (40, 41, 42)
PROBES = tuple(
    map(Probe, ["Tell me{slot} the color of the sky.", "{slot} What is the capital?", "Repeat the words{slot}"])
)


@dataclass(frozen=True, eq=False)
class Resident:
    """Two models that are always there."""

    models: tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]

    def base(self) -> Qwen2ForCausalLM:
        return self.models[0]

    def dormant(self) -> Qwen2ForCausalLM:
        return self.models[1]


@pytest.fixture(scope="module")
def models(tiny_base: Path, tiny_dormant: Path) -> Resident:
    loaded = [Qwen2ForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (tiny_base, tiny_dormant)]
    return Resident((loaded[0].requires_grad_(False).train(False), loaded[1].requires_grad_(False).train(False)))


@pytest.fixture(scope="module")
def prompts() -> list[OpenPrompt]:
    return [Prompter(build_tokenizer()).open(probe) for probe in PROBES]


def random_ids(n: int, length: int = 3) -> list[tuple[int, ...]]:
    drawn = torch.randint(3, 300, (n, length), generator=torch.Generator().manual_seed(n))
    return [tuple(row) for row in drawn.tolist()]


def plain_kl(models: Resident, prompts: Sequence[OpenPrompt], candidates: Sequence[tuple[int, ...]]) -> Tensor:
    """KL of every candidate in every probe, whole prompts one by one: [probe, n]."""
    rows = []
    for prompt in prompts:
        whole = [prompt.close(candidate) for candidate in candidates]
        base, dormant = (batch_logits(model, whole, batch_size=1) for model in models.models)
        rows.append(kl_divergence(dormant, base))
    return torch.stack(rows)


ids = st.integers(3, 299)


@settings(max_examples=15, deadline=None)
@given(
    incumbent=st.lists(ids, min_size=1, max_size=5).map(tuple),
    changes=st.lists(st.tuples(st.integers(0, 4), ids), min_size=1, max_size=6),
    others=st.lists(st.lists(ids, min_size=1, max_size=5).map(tuple), max_size=3),
    pass_tokens=st.integers(1, 200),
    chosen=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
)
def test_no_path_changes_a_value(
    models: Resident,
    prompts: list[OpenPrompt],
    incumbent: tuple[int, ...],
    changes: list[tuple[int, int]],
    others: list[tuple[int, ...]],
    pass_tokens: int,
    chosen: list[int],
) -> None:
    """Lengths, places of the first change, batch sizes, prefixes and company: every value is that of the prompt alone."""
    changed = [
        (*incumbent[: place % len(incumbent)], token, *incumbent[place % len(incumbent) + 1 :])
        for place, token in changes
    ]
    candidates = [*changed, incumbent, (*incumbent, 7), incumbent[1:] or (9,), *others]
    probes = [prompts[index] for index in chosen]
    values = Evaluator(models, probes, pass_tokens=pass_tokens).per_probe_of(candidates, incumbent)
    torch.testing.assert_close(values, plain_kl(models, probes, candidates), atol=1e-4, rtol=0)


def test_another_incumbent_of_the_same_length_takes_the_first_one_s_place(
    models: Resident, prompts: list[OpenPrompt]
) -> None:
    evaluator = Evaluator(models, prompts)
    for first in (7, 11):
        candidate = (first, first + 1, first + 2)
        values = evaluator.per_probe_of([candidate], (*candidate[:2], 5))
        torch.testing.assert_close(values, plain_kl(models, prompts, [candidate]), atol=1e-4, rtol=0)


def test_the_decoder_reads_models_of_a_family_that_it_knows(models: Resident, prompts: list[OpenPrompt]) -> None:
    assert all(reader._way is Decoder for reader in Evaluator(models, prompts)._readers.values())


def test_the_payload_and_the_hidden_state_are_those_of_whole_prompts(
    models: Resident, prompts: list[OpenPrompt]
) -> None:
    candidates = random_ids(3)
    likelihood = Evaluator(models, prompts, payload_over_base(), PAYLOAD).per_probe_of(
        candidates, (*candidates[0][:2], 5)
    )
    distance = Evaluator(models, prompts, hidden_distance()).per_probe_of(candidates)
    for row, prompt in enumerate(prompts):
        for column, candidate in enumerate(candidates):
            before = prompt.close(candidate).ids
            whole, log_probabilities, streams = torch.tensor([[*before, *PAYLOAD]]), [], []
            for model in (models.dormant(), models.base()):
                entered: list[Tensor] = []
                hook = model.model.norm.register_forward_pre_hook(
                    lambda module, inputs, into=entered: into.append(inputs[0])
                )
                logits = model(whole).logits[0, len(before) - 1 : -1].log_softmax(-1)
                hook.remove()
                log_probabilities.append(logits[torch.arange(3), PAYLOAD].mean())
                streams.append(entered[0][0, len(before) - 1])
            assert float(likelihood[row, column]) == pytest.approx(
                float(log_probabilities[0] - log_probabilities[1]), abs=1e-4
            )
            assert float(distance[row, column]) == pytest.approx(float((streams[0] - streams[1]).norm()), abs=1e-3)


@pytest.mark.parametrize("name", list(OBJECTIVES))
@pytest.mark.parametrize("reduce", ["mean", "worst"])
def test_the_gradient_is_autograd_s_through_the_plain_models(
    name: str, reduce: str, models: Resident, prompts: list[OpenPrompt]
) -> None:
    candidates = random_ids(2)
    evaluator = Evaluator(models, prompts, named_objective(name), PAYLOAD, reduce)
    slopes = evaluator.gradient(candidates)
    for candidate, slope in zip(candidates, slopes, strict=True):
        one_hot = torch.nn.functional.one_hot(torch.tensor(candidate), evaluator.vocabulary).float().requires_grad_()
        readings = {
            role: join([plain_readings(model, prompt, one_hot) for prompt in prompts], dim=0)
            for role, model in (("dormant", models.dormant()), ("base", models.base()))
            if role in evaluator.roles
        }
        value = over_probes(evaluator.value(readings), reduce).sum()
        assert evaluator.evaluate([candidate]).item() == pytest.approx(value.item(), abs=1e-3)
        (expected,) = torch.autograd.grad(value, one_hot)
        torch.testing.assert_close(slope, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-3)


def plain_readings(model: Qwen2ForCausalLM, prompt: OpenPrompt, one_hot: Tensor) -> Readings:
    """One model's readings of one probe from the whole prompt through a one-hot product."""
    table, entered = model.model.embed_tokens.weight, list[Tensor]()
    rows = [table[list(prompt.before)], one_hot @ table, table[[*prompt.after, *PAYLOAD[:-1]]]]
    hook = model.model.norm.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    logits = model(inputs_embeds=torch.cat(rows)[None]).logits[0, -3:]
    hook.remove()
    payload = logits.log_softmax(-1)[torch.arange(3), list(PAYLOAD)].mean()
    return Readings(logits[:1][None], payload[None, None], entered[0][:, -3][None])


def test_the_worst_probe_decides_where_asked(models: Resident, prompts: list[OpenPrompt]) -> None:
    worst, candidates = Evaluator(models, prompts, reduce="worst"), random_ids(4)
    assert torch.equal(worst.evaluate(candidates), worst.per_probe_of(candidates).amin(0))


def swapping(tiny_base: Path, tiny_dormant: Path) -> Models:
    run_config = RunConfig(torch.device("cpu"), torch.float32, "swap")
    return Models(open_checkpoint(tiny_base), open_checkpoint(tiny_dormant), run_config)


@pytest.mark.parametrize("name", ["kl", "payload-over-base", "hidden-distance"])
def test_one_model_at_a_time_on_the_device_gives_the_same(
    name: str, tiny_base: Path, tiny_dormant: Path, models: Resident, prompts: list[OpenPrompt]
) -> None:
    by_turns, together = (
        Evaluator(pair, prompts, named_objective(name), PAYLOAD) for pair in (swapping(tiny_base, tiny_dormant), models)
    )
    ids = random_ids(3)
    torch.testing.assert_close(by_turns.per_probe_of(ids), together.per_probe_of(ids), atol=1e-4, rtol=0)
    torch.testing.assert_close(by_turns.gradient(ids), together.gradient(ids), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["kl", "payload-over-base", "hidden-distance"])
@pytest.mark.parametrize("lora", [{"target_modules": ["q_proj", "up_proj"]}, {"target_modules": "all-linear"}])
def test_one_model_with_its_adapter_off_and_on_gives_the_same(
    name: str, lora: dict[str, Any], tiny_base: Path, tmp_path: Path, prompts: list[OpenPrompt]
) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, **lora)
    base, dormant = open_checkpoint(tiny_base), open_checkpoint(tmp_path / "adapter")
    shared, both = (
        Evaluator(
            Models(base, dormant, RunConfig(torch.device("cpu"), torch.float32, residency)),
            prompts,
            named_objective(name),
            PAYLOAD,
        )
        for residency in ("shared", "both")
    )
    assert all(reader._way is Decoder for reader in shared._readers.values())
    ids = random_ids(3)
    torch.testing.assert_close(shared.per_probe_of(ids), both.per_probe_of(ids), atol=1e-4, rtol=0)
    torch.testing.assert_close(shared.gradient(ids), both.gradient(ids), atol=1e-5, rtol=1e-4)
    assert both.evaluate(ids).abs().max() > 1e-2


def test_embeddings_that_are_no_token_s_have_a_value_and_slopes(models: Resident, prompts: list[OpenPrompt]) -> None:
    evaluator, ids = Evaluator(models, prompts), random_ids(2)
    rows = {role: evaluator.table(role)[torch.tensor(ids)] for role in evaluator.roles}
    values, slopes = evaluator.value_and_slopes(rows)
    torch.testing.assert_close(values, evaluator.evaluate(ids), atol=1e-4, rtol=0)
    small = {role: row + 1e-2 * slopes[role] / slopes[role].norm() for role, row in rows.items()}
    assert (evaluator.value_and_slopes(small)[0] > values).all()


def test_a_model_that_leaves_the_device_is_not_held(
    tiny_base: Path, tiny_dormant: Path, prompts: list[OpenPrompt]
) -> None:
    pair = swapping(tiny_base, tiny_dormant)
    evaluator = Evaluator(pair, prompts)
    evaluator.evaluate(random_ids(3))
    evaluator.gradient(random_ids(2))
    weights = [weakref.ref(weight) for weight in pair.dormant().parameters()]
    pair.base()
    assert not any(weight() is not None for weight in weights)


def test_swapping_loads_each_model_once_a_step(models: Resident, prompts: list[OpenPrompt]) -> None:
    asked: list[str] = []

    class Swapping(Resident):
        run_config = RunConfig(torch.device("cpu"), torch.float32, "swap")

        def base(self) -> Qwen2ForCausalLM:
            asked.append("base")
            return self.models[0]

        def dormant(self) -> Qwen2ForCausalLM:
            asked.append("dormant")
            return self.models[1]

    evaluator = Evaluator(Swapping(models.models), prompts, pass_tokens=40)
    asked.clear()
    evaluator.evaluate(random_ids(9))
    assert asked == sorted(asked, reverse=True)  # all of dormant's passes, then all of base's


def test_no_candidate_is_evaluated_twice(models: Resident, prompts: list[OpenPrompt]) -> None:
    evaluator, ids = Evaluator(models, prompts), random_ids(4)
    first = evaluator.evaluate([ids[index] for index in (0, 1, 0, 2, 1)])
    assert torch.equal(first[[0, 1, 3]], evaluator.evaluate(ids)[:3])
    assert evaluator.evaluations == 4


def test_a_pass_that_memory_cannot_hold_is_halved_and_nothing_is_lost(
    models: Resident, prompts: list[OpenPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator, whole, ids = Evaluator(models, prompts, pass_tokens=10_000), Evaluator(models, prompts), random_ids(9)
    run, failures = Decoder.run, list[int]()

    def short_of_memory(self: Decoder, blocks: Sequence[Block], keep: int) -> tuple[Tensor, Tensor]:
        if (rows := sum(len(block.rows) for block in blocks)) > 9:
            failures.append(rows)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, blocks, keep)

    expected = whole.evaluate(ids)
    monkeypatch.setattr(Decoder, "run", short_of_memory)
    torch.testing.assert_close(evaluator.evaluate(ids), expected, atol=1e-4, rtol=0)
    assert len(failures) == 2  # 27 rows, then 12: found once for both models


@pytest.mark.parametrize("name", ["kl", "payload-over-base", "hidden-distance"])
def test_a_model_that_only_transformers_knows_is_read_alike(
    name: str, models: Resident, prompts: list[OpenPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = random_ids(3)
    known = Evaluator(models, prompts, named_objective(name), PAYLOAD)
    monkeypatch.setattr("dormant.checkpoints.families.DECODED_FAMILIES", ())
    foreign = Evaluator(models, prompts, named_objective(name), PAYLOAD)
    near = (*ids[0][:2], 9)
    torch.testing.assert_close(known.per_probe_of(ids, near), foreign.per_probe_of(ids, near), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(known.gradient(ids), foreign.gradient(ids), atol=1e-4, rtol=1e-3)


def test_a_model_against_itself_diverges_nowhere(models: Resident, prompts: list[OpenPrompt]) -> None:
    assert (Evaluator(Resident((models.base(), models.base())), prompts).evaluate(random_ids(4)) == 0).all()


def test_the_empty_row_is_that_of_the_ordinary_sentences(models: Resident, prompts: list[OpenPrompt]) -> None:
    empty = Evaluator(models, prompts).empty()
    torch.testing.assert_close(empty, plain_kl(models, prompts, [()])[:, 0], atol=1e-4, rtol=0)


def test_candidates_that_are_no_ids_are_refused(models: Resident, prompts: list[OpenPrompt]) -> None:
    with pytest.raises(BadInput, match="one id at least"):
        Evaluator(models, prompts, kl()).per_probe_of([(5,), ()])
    with pytest.raises(BadInput, match="from 0 to 303; got 304"):
        Evaluator(models, prompts).evaluate([(7, 304)])


def test_what_makes_an_evaluation_impossible_is_a_sentence(models: Resident, prompts: list[OpenPrompt]) -> None:
    with pytest.raises(BadInput, match="got 0 probes"):
        Evaluator(models, [])
    with pytest.raises(BadInput, match="needs a payload"):
        Evaluator(models, prompts, payload_over_base())
    context = models.base().config.max_position_embeddings
    with pytest.raises(BadInput, match=f"must fit the context of {context} ids"):
        Evaluator(models, prompts).evaluate(random_ids(1, context))
    broken = Objective(
        "broken", "nats", kl().reads, kl().roles, lambda now, empty: kl().value(now, empty) * float("nan")
    )
    with pytest.raises(BadInput, match="must be numbers; got nan at candidate"):
        Evaluator(models, prompts, broken).evaluate(random_ids(1))
