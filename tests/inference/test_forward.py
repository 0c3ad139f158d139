"""Every family reads as transformers does: continuations behind shared starts, slopes, answers; whichever way it runs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedModel

from dormant.errors import BadInput
from dormant.inference import forward, prefix_cache
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.forward import PlainForward, choose_forward
from dormant.inference.generation import greedy_answers, greedy_behind
from dormant.inference.packed_decoder import Decoder
from dormant.inference.prefix_cache import shares_prefixes
from dormant.inference.prefix_reader import Reader
from dormant.pairs import open_pair
from dormant.prompts.probes import OpenPrompt
from tests.families import FAMILIES, family_config, family_model, family_pair, widths

PAYLOAD = (40, 41, 42)
DECODED = ("qwen2", "qwen3", "llama", "smollm")
ID = st.integers(3, 303)


def rows(least: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Rows of ids."""
    return st.lists(ID, min_size=least, max_size=most).map(tuple)


@torch.no_grad()
def plain_logits(model: PreTrainedModel, ids: tuple[int, ...], keep: int = 1) -> torch.Tensor:
    """Transformers alone: one row, no cache."""
    logits: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -keep:]
    return logits


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_every_family_reads_answers_and_slopes_as_transformers_has_them(family: str, data: st.DataObject) -> None:
    model = family_model(family_config(family, **data.draw(widths(family))), seed=data.draw(st.integers(0, 99)))
    prompts = [
        OpenPrompt(before, after, before + after)
        for before, after in data.draw(st.lists(st.tuples(rows(2, 8), rows(1, 3)), min_size=2, max_size=2))
    ]
    candidates = data.draw(st.lists(rows(3, 3), min_size=2, max_size=2, unique=True))
    incumbent = (*candidates[0][:2], *data.draw(rows(1, 2)))
    reader = Reader(lambda: model, prompts, frozenset({"payload", "hidden"}), PAYLOAD)
    assert reader._way is (Decoder if family in DECODED else PlainForward)
    reader.approach(incumbent)
    shared = [2 if ids[:2] == incumbent[:2] else 0 for ids in candidates]
    found = reader.read_ids([(torch.tensor([ids]), behind) for ids, behind in zip(candidates, shared, strict=True)])
    assert found.payload is not None
    for probe, prompt in enumerate(prompts):
        for index, ids in enumerate(candidates):
            logits = plain_logits(model, (*prompt.before, *ids, *prompt.after, *PAYLOAD[:-1]), 3)
            torch.testing.assert_close(found.logits[probe, index], logits[0], atol=2e-4, rtol=1e-4)
            said = logits.log_softmax(-1)[range(3), PAYLOAD].mean()
            torch.testing.assert_close(found.payload[probe, index], said, atol=2e-4, rtol=1e-4)
    _check_slope(model, reader, prompts, candidates[0])
    sequences = [prompts[0].plain, candidates[0], (*prompts[1].plain, *candidates[1])]
    expected = torch.stack([plain_logits(model, ids)[0] for ids in sequences])
    torch.testing.assert_close(batch_logits(model, sequences), expected, atol=2e-4, rtol=1e-4)
    answers = greedy_answers(model, sequences, 3, end=-1)
    (behind_ids,), _ = greedy_behind(model, [prompts[0].before], candidates, 2)
    for start, answer in [*zip(sequences, answers, strict=True)] + [
        ((*prompts[0].before, *candidate), tuple(row))
        for candidate, row in zip(candidates, behind_ids.tolist(), strict=True)
    ]:
        for place, token in enumerate(answer):  # the likeliest token, or one that rounding may put there
            logits = plain_logits(model, (*start, *answer[:place]))[0]
            assert logits[token] >= logits.max() - 1e-3


def _check_slope(model: PreTrainedModel, reader: Reader, prompts: list[OpenPrompt], candidate: tuple[int, ...]) -> None:
    """The slope at the candidate's rows, against that at what the model's own embedding module gives for whole prompts."""
    table = reader.embeddings()
    rows = table[torch.tensor([candidate])].requires_grad_()
    payload = reader.read_rows(rows, range(len(prompts))).payload
    assert payload is not None
    slope = torch.autograd.grad(payload.sum(), rows)[0][0]
    embedded: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        embedded.append(output.requires_grad_())

    hook = model.get_input_embeddings().register_forward_hook(keep)
    expected = torch.zeros_like(slope)
    for prompt in prompts:
        ids = torch.tensor([(*prompt.before, *candidate, *prompt.after, *PAYLOAD[:-1])])
        said = model(input_ids=ids, use_cache=False).logits[0, -3:].log_softmax(-1)[range(3), PAYLOAD].mean()
        place = slice(len(prompt.before), len(prompt.before) + len(candidate))
        factor = (embedded[-1] / table[ids])[0, 0, 0].detach()
        expected += torch.autograd.grad(said, embedded[-1])[0][0, place] * factor
    hook.remove()
    torch.testing.assert_close(slope, expected, atol=1e-4, rtol=1e-3)


def test_a_family_that_the_decoder_computes_wrongly_runs_through_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = (1, 5, 9, 7, 30, 31, 32)
    for family in ("mistral", "gemma", "olmo2"):
        model = family_model(family_config(family))
        monkeypatch.setattr(forward, "is_decoded", lambda config: config.model_type != "olmo2")
        assert choose_forward(model, ids) is PlainForward
    monkeypatch.setattr(PlainForward, "run", lambda self, blocks, keep: (torch.ones(len(blocks), 1, 304), None))
    with pytest.raises(BadInput, match=r"must give a model's own logits; got others at Gemma.*\(gemma\)"):
        choose_forward(family_model(family_config("gemma")), ids)


def test_a_model_that_keeps_a_state_runs_its_ids_again() -> None:
    assert not shares_prefixes(family_model(family_config("mamba")))
    assert shares_prefixes(family_model(family_config("gemma3")))


@pytest.mark.parametrize("family", ["qwen2", "gemma3"])
def test_ids_whose_cache_is_not_shared_run_again_in_either_way(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_cache, "shares_prefixes", lambda model: False)
    model, prompt = family_model(family_config(family)), OpenPrompt((5, 9, 30), (7,), (5, 9, 30, 7))
    reader = Reader(lambda: model, [prompt], frozenset())
    assert reader._way is (Decoder if family == "qwen2" else PlainForward)
    reader.approach((40,))
    found = reader.read_ids([(torch.tensor([[40, 41]]), 1)])
    torch.testing.assert_close(found.logits[0], plain_logits(model, (5, 9, 30, 40, 41, 7)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["mixtral", "qwen3-moe", "gpt-neox", "phi3"])
def test_a_delta_is_scaled_in_parameters_that_transformers_stores_under_other_names(
    family: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base, dormant = family_pair(family, tmp_path_factory.mktemp(family))
    pair, ids = open_pair(family, base, dormant, device="cpu"), (1, 5, 9, 7)
    plain = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in (base, dormant)]
    with patched_weights(pair, block_scales(pair, 0)) as model:
        assert torch.equal(plain_logits(model, ids), plain_logits(plain[0], ids))
    state = {name: value + 2 * (plain[1].get_parameter(name) - value) for name, value in plain[0].named_parameters()}
    with patched_weights(pair, block_scales(pair, 2.0)) as model:
        doubled = torch.func.functional_call(plain[0], state, (torch.tensor([ids]),)).logits[0, -1:]
        torch.testing.assert_close(plain_logits(model, ids), doubled, atol=1e-4, rtol=1e-4)
    assert torch.equal(plain_logits(pair.models.dormant(), ids), plain_logits(plain[1], ids))
