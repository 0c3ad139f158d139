from __future__ import annotations

import torch

from dormant.activations.delta_watch import RANK, delta_directions
from dormant.inference.delta_answers import delta_features
from dormant.pairs import Pair
from dormant.weights.decomposition import delta_matrix


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
