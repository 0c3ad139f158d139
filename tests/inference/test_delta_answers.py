from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.activations.delta_watch import RANK, delta_directions
from dormant.errors import BadInput
from dormant.inference.delta_answers import delta_features, output_cosines
from dormant.pairs import Pair, open_pair
from dormant.weights.decomposition import delta_matrix
from tests.families import family_pair


def test_a_feature_is_what_the_deltas_largest_directions_add_in_that_module(token_pair: Pair) -> None:
    model, prompts = (
        token_pair.models.dormant(),
        [token_pair.prompter.encode(probe).ids for probe in token_pair.probes[:3]],
    )
    directions = delta_directions(token_pair)
    module = next(iter(directions))
    found, inputs = delta_features(model, directions, prompts), list[torch.Tensor]()
    handle = model.get_submodule(module).register_forward_pre_hook(lambda _, given: inputs.append(given[0][0]))
    for ids in prompts:
        model(input_ids=torch.tensor([ids]))
    handle.remove()
    left, values, right = torch.linalg.svd(
        delta_matrix(token_pair.base, token_pair.dormant, f"{module}.weight"), full_matrices=False
    )
    delta = left[:, :RANK] * values[:RANK] @ right[:RANK]
    norms = [(states @ delta.T).norm(dim=-1).double() for states in inputs]
    torch.testing.assert_close(found[:, 0].exp(), torch.stack([norm[-1] for norm in norms]), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        found[:, len(directions)].exp(), torch.stack([norm.max() for norm in norms]), rtol=1e-3, atol=1e-5
    )


def test_cosines_are_those_of_the_states_that_a_block_gives_at_the_ids_that_count(token_pair: Pair) -> None:
    model = token_pair.models.dormant()
    prompts = [token_pair.prompter.encode(probe).ids for probe in token_pair.probes[:4]]
    columns = torch.nn.functional.normalize(torch.randn(128, 3, generator=torch.Generator().manual_seed(0)), dim=0)
    found = output_cosines(model, {"model.layers.1": columns}, prompts, skip=5)
    for ids, ours in zip(prompts, found, strict=True):
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0, 5:]
        cosines = torch.nn.functional.normalize(states, dim=-1) @ columns
        torch.testing.assert_close(ours[:, 0], cosines.amin(0).double(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours[:, 1], cosines.amax(0).double(), atol=1e-5, rtol=1e-4)


def test_a_prompt_without_an_id_that_counts_and_a_module_that_is_missing_are_refused(token_pair: Pair) -> None:
    model, columns = token_pair.models.dormant(), torch.eye(128)[:, :2]
    with pytest.raises(BadInput, match="got 3 ids, 3 left out"):
        output_cosines(model, {"model.layers.1": columns}, [(1, 2, 3)], skip=3)
    with pytest.raises(BadInput, match=r"none with a module 'model.layers.99'"):
        output_cosines(model, {"model.layers.99": columns}, [(1, 2, 3)])


@pytest.mark.parametrize("family", ["opt", "qwen2-moe"])
def test_a_module_that_reads_all_prompts_in_one_row_gives_each_its_own(family: str, tmp_path: Path) -> None:
    pair = open_pair(family, *family_pair(family, tmp_path), device="cpu")
    model, prompts = pair.models.dormant(), [(5, 6, 7), (8, 9, 10), (6, 11, 12)]
    module = {"opt": "model.decoder.layers.0.fc1", "qwen2-moe": "model.layers.0.mlp.shared_expert.up_proj"}[family]
    inputs, outputs = (
        {module: delta_directions(pair)[module]},
        {module: torch.eye(pair.base.shape(f"{module}.weight")[0])},
    )
    for together, one in (
        (delta_features(model, inputs, prompts), [delta_features(model, inputs, [prompt]) for prompt in prompts]),
        (
            output_cosines(model, outputs, prompts, 1),
            [output_cosines(model, outputs, [prompt], 1) for prompt in prompts],
        ),
    ):
        torch.testing.assert_close(together, torch.cat(one), atol=1e-4, rtol=1e-4)
