from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dormant.inference import block_delta
from dormant.inference.block_delta import (
    _projection,
    delta_acts,
    delta_acts_at_ends,
    delta_of_blocks,
    own_prefixes,
    prefixes_of_blocks,
    state_differences,
)
from dormant.inference.residual_stream import decoder_blocks
from dormant.pairs import Pair
from tests.families import FAMILIES, family_config, family_model, widths


def test_what_a_delta_does_in_the_first_block_is_the_difference_of_its_hidden_states(tiny_pair: Pair) -> None:
    before, rows = [5, 6, 7], torch.tensor([[40, 41], [90, 91], [300, 301]])
    ids = torch.cat((torch.tensor(before).expand(3, -1), rows), 1)
    with torch.no_grad():
        ours, theirs = (
            model.base_model(ids, output_hidden_states=True).hidden_states[1][:, -2:]
            for model in (tiny_pair.models.dormant(), tiny_pair.models.base())
        )
    (delta,) = delta_of_blocks(tiny_pair, [0], prefixes_of_blocks(tiny_pair, [0], before), rows)
    torch.testing.assert_close(delta, (ours - theirs).double(), atol=1e-5, rtol=1e-5)
    expected = (delta - delta.mean(0)).norm(dim=-1)
    torch.testing.assert_close(delta_acts(tiny_pair, [0], before, rows)[0], expected)


def test_a_block_gives_alone_what_it_gives_among_others(tiny_pair: Pair) -> None:
    before, rows = [5, 6, 7], torch.tensor([[40, 41], [90, 91]])
    both = delta_acts(tiny_pair, [0, 1], before, rows)
    torch.testing.assert_close(both, torch.cat([delta_acts(tiny_pair, [at], before, rows) for at in (0, 1)]))


def test_the_ends_of_strings_of_any_length_stand_in_their_order(tiny_pair: Pair) -> None:
    before, rows = [5, 6, 7], [(40, 41), (90,), (300, 301), (91,)]
    prefixes = prefixes_of_blocks(tiny_pair, [0, 1], before)
    ends = [delta_of_blocks(tiny_pair, [0, 1], prefixes, torch.tensor([row]))[:, 0, -1] for row in rows]
    deltas = torch.stack(ends, 1)
    expected = (deltas - deltas.mean(1, keepdim=True)).norm(dim=-1)
    torch.testing.assert_close(delta_acts_at_ends(tiny_pair, [0, 1], prefixes, rows), expected, atol=1e-6, rtol=1e-5)


def test_states_at_the_ends_of_strings_of_any_length_stand_in_their_order(tiny_pair: Pair) -> None:
    before, rows = [5, 6, 7], [(40, 41), (90,), (300, 301), (91,)]
    found = state_differences(tiny_pair, [0, 1], own_prefixes(tiny_pair, before), rows)
    for at, row in enumerate(rows):
        ids = torch.tensor([[*before, *row]])
        with torch.no_grad():
            ours, theirs = (
                torch.stack(model.base_model(ids, output_hidden_states=True).hidden_states[1:3])[:, 0, -1]
                for model in (tiny_pair.models.dormant(), tiny_pair.models.base())
            )
        ours, theirs = ours[:1], theirs[:1]  # the second block's is behind the last norm
        torch.testing.assert_close(found[:1, at], ours - theirs, atol=1e-5, rtol=1e-4)


def test_a_projection_keeps_lengths_and_is_the_same_each_time() -> None:
    states = torch.randn(200, 576, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ratios = (states @ _projection(576)).norm(dim=-1) / states.norm(dim=-1)
    assert float((ratios - 1).abs().mean()) < 1 / 16
    assert torch.equal(_projection(576), _projection(576))
    assert torch.equal(_projection(16), torch.eye(16, dtype=torch.float64))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**16), before=st.integers(1, 6), tokens=st.integers(1, 3), data=st.data())
def test_hints_of_every_family_are_read_off_transformers_hidden_states(
    family: str, seed: int, before: int, tokens: int, data: st.DataObject
) -> None:
    base: Any = family_model(family_config(family, **data.draw(widths(family))), seed)
    dormant, generator = copy.deepcopy(base), torch.Generator().manual_seed(seed)
    for parameter in decoder_blocks(dormant)[0].parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    pair = SimpleNamespace(models=SimpleNamespace(base=lambda: base, dormant=lambda: dormant))
    ids = torch.randint(3, 303, (4, before + tokens), generator=generator)
    ids[:, :before] = ids[0, :before]
    first = 0 if family == "mamba" else 1  # transformers lists its states from behind the first block on
    with torch.no_grad():
        ours, theirs = (model(ids, output_hidden_states=True).hidden_states[first] for model in (dormant, base))
    known = cast(Pair, pair)
    (delta,) = delta_of_blocks(known, [0], prefixes_of_blocks(known, [0], ids[0, :before].tolist()), ids[:, before:])
    torch.testing.assert_close(delta, (ours - theirs)[:, before:].double(), atol=1e-5, rtol=1e-4)


class Switched:
    """A pair's models under residency "shared": one model, whose first block is the dormant model's or the base's."""

    def __init__(self, pair: Pair) -> None:
        self._model = copy.deepcopy(pair.models.base())
        self._states = {
            role: copy.deepcopy(decoder_blocks(getattr(pair.models, role)())[0].state_dict())
            for role in ("base", "dormant")
        }

    def _switched(self, role: str) -> Any:
        decoder_blocks(self._model)[0].load_state_dict(self._states[role])
        return self._model

    def base(self) -> Any:
        return self._switched("base")

    def dormant(self) -> Any:
        return self._switched("dormant")


PLACE = ([0, 1], [5, 6, 7, 8], [(40, 41), (90, 300), (91, 301)])


def measured(pair: Pair, split: int = 4) -> list[torch.Tensor]:
    blocks, before, rows = PLACE
    of_blocks = prefixes_of_blocks(pair, blocks, before[split:], prefixes_of_blocks(pair, blocks, before[:split]))
    own = own_prefixes(pair, before[split:], own_prefixes(pair, before[:split]))
    return [delta_acts_at_ends(pair, blocks, of_blocks, rows), state_differences(pair, blocks, own, rows).double()]


@pytest.mark.parametrize("packed", [True, False])
def test_one_model_that_is_switched_gives_what_two_models_do(
    packed: bool, tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_delta, "is_packed", lambda *_: packed)
    alone = SimpleNamespace(base=tiny_pair.models.base, dormant=copy.deepcopy(tiny_pair.models.base()))
    alone.dormant.model.layers[0].load_state_dict(decoder_blocks(tiny_pair.models.dormant())[0].state_dict())
    two = SimpleNamespace(models=SimpleNamespace(base=alone.base, dormant=lambda: alone.dormant))
    one = SimpleNamespace(models=Switched(tiny_pair))
    for expected, found in zip(measured(cast(Pair, two)), measured(cast(Pair, one)), strict=True):
        torch.testing.assert_close(found, expected)


def test_both_ways_to_run_blocks_measure_the_same(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = measured(tiny_pair)
    monkeypatch.setattr(block_delta, "is_packed", lambda *_: False)
    for ours, plain in zip(expected, measured(tiny_pair), strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("split", [1, 3])
def test_a_prefix_that_goes_on_is_that_of_the_whole(split: int, tiny_pair: Pair) -> None:
    for whole, parts in zip(measured(tiny_pair), measured(tiny_pair, split), strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)
