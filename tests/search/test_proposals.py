from __future__ import annotations

from itertools import islice
from typing import cast

import pytest
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.divergence import kl_divergence
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import kl
from dormant.pairs import Pair
from dormant.search.proposals import METHODS, GradientProposals, HillClimbProposals, RandomProposals, proposals_of
from dormant.search.run import SearchSettings, run_search
from tests.search.linear import ALLOWED, Linear


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_gradient_lists_the_steepest_allowed_tokens_of_every_place_the_first_first() -> None:
    objective = Linear()
    (guide,) = GradientProposals(ALLOWED, 3, objective, top=4).guides([(10, 11, 12)])
    for place, tokens in enumerate(guide):
        assert tokens == sorted(ALLOWED.tolist(), key=lambda token: -objective.weights[place, token])[:4]


def test_a_pair_s_gradient_proposes_what_is_steepest_through_both_models(tiny_pair: Pair) -> None:
    """Against the gradient of transformers' own passes, towards the one-hot vector of every token at every place."""
    candidate, probe = (40, 50), tiny_pair.probes[0]
    evaluator = Evaluator(tiny_pair.models, [tiny_pair.prompter.open(probe)], kl())
    prompt = tiny_pair.prompter.encode(probe, candidate).ids
    start = next(at for at in range(len(prompt)) if prompt[at : at + 2] == candidate)
    hot = torch.nn.functional.one_hot(torch.tensor([prompt]), evaluator.vocabulary).float().requires_grad_()
    logits = [
        model(inputs_embeds=hot @ cast(Tensor, model.get_input_embeddings().weight)).logits[:, -1]
        for model in (tiny_pair.models.dormant(), tiny_pair.models.base())
    ]
    (slopes,) = torch.autograd.grad(kl_divergence(*logits).sum(), hot)
    (guide,) = GradientProposals(ALLOWED, 2, evaluator, top=4).guides([candidate])
    for place, tokens in enumerate(guide):
        expected = slopes[0, start + place]
        torch.testing.assert_close(expected[tokens], expected[ALLOWED].topk(4).values, atol=1e-5, rtol=1e-4)


def test_gradient_changes_are_all_single_swaps_of_the_guide_once() -> None:
    proposals = GradientProposals(ALLOWED, 3, Linear(), top=2)
    changes = list(proposals.changes((10, 11, 12), [[20, 21], [22, 23], [24, 25]], generator()))
    assert sorted(changes) == sorted(
        [(20, 11, 12), (21, 11, 12), (10, 22, 12), (10, 23, 12), (10, 11, 24), (10, 11, 25)]
    )


def test_hill_climbing_changes_one_place_and_needs_no_model() -> None:
    proposals = HillClimbProposals(ALLOWED, 3)
    assert proposals.guides([(10, 11, 12)]) == [None]
    for changed in islice(proposals.changes((1, 2, 3), None, generator()), 30):
        assert sum(new != old for new, old in zip(changed, (1, 2, 3), strict=True)) == 1


def test_random_strings_are_of_the_length_and_of_allowed_tokens() -> None:
    for proposals in (RandomProposals(ALLOWED, 4), HillClimbProposals(ALLOWED, 4)):
        for ids in islice(proposals.draws(generator()), 50):
            assert len(ids) == 4
            assert set(ids) <= set(ALLOWED.tolist())


def test_random_search_evaluates_admitted_strings_alone() -> None:
    proposals = RandomProposals(ALLOWED, 2, admit=lambda ids: ids[0] % 2 == 0)
    assert all(ids[0] % 2 == 0 for ids in islice(proposals.draws(generator()), 50))
    assert list(proposals.changes((10, 11), None, generator())) == []


def test_a_gradient_needs_fewer_steps_than_a_hill_climb() -> None:
    values = {}
    for method in METHODS:
        objective = Linear()
        proposals = proposals_of(method, objective, ALLOWED, 3, top=8)
        values[method] = run_search(objective, proposals, SearchSettings((1,), 5, 8))[0].value
    assert values["gcg"] > values["hill-climb"]


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(BadInput, match="allowed tokens"):
        RandomProposals(ALLOWED[:0], 3)
    with pytest.raises(BadInput, match="length >= 1"):
        RandomProposals(ALLOWED, 0)
