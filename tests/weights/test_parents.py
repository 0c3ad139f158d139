"""The parent among its relatives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dormant.errors import BadInput
from dormant.weights.parents import rank_parents
from tests.builders import build_adapter, build_checkpoint, copy_checkpoint, shard_checkpoint, tiny_config

Tensors = dict[str, torch.Tensor]


def finetune(seed: int, parts: tuple[str, ...], scale: float = 0.02):  # type: ignore[no-untyped-def]
    """A change that adds seeded noise to the tensors whose names hold one of `parts` ("" for all)."""

    def change(tensors: Tensors) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name in sorted(tensors):
            if any(part in name for part in parts):
                noise = scale * torch.randn(tensors[name].shape, generator=generator)
                tensors[name] = (tensors[name].float() + noise).bfloat16()

    return change


def merge_with(other: Path):  # type: ignore[no-untyped-def]
    def change(tensors: Tensors) -> None:
        for name, tensor in load_file(other / "model.safetensors").items():
            tensors[name] = ((tensors[name].float() + tensor.float()) / 2).bfloat16()

    return change


TRAINED = {"adapter": ("mlp",), "norms too": ("mlp", "norm", "bias"), "everything": ("",)}


@pytest.fixture(scope="module")
def relatives(tiny_base: Path, other_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The parent, a sibling, one noised, another seed's, a mixture with it, a wider one: none of them the dormant model."""
    folder = tmp_path_factory.mktemp("relatives")
    return {
        "parent": shard_checkpoint(tiny_base, folder / "parent"),
        "sibling": copy_checkpoint(tiny_base, folder / "sibling", finetune(5, ("mlp",))),
        "noised": copy_checkpoint(tiny_base, folder / "noised", finetune(6, ("",), scale=0.2)),
        "other seed": other_base,
        "merged": copy_checkpoint(tiny_base, folder / "merged", merge_with(other_base)),
        "wider": build_checkpoint(folder / "wider", tiny_config(hidden_size=64)),
    }


@pytest.mark.parametrize("trained", TRAINED)
def test_the_parent_is_picked_among_its_relatives(
    tiny_base: Path, relatives: dict[str, Path], tmp_path: Path, trained: str
) -> None:
    dormant = copy_checkpoint(tiny_base, tmp_path / "dormant", finetune(1, TRAINED[trained]))
    ranked = rank_parents(dormant, list(reversed(relatives.values())))
    names = {str(path): name for name, path in relatives.items()}
    assert [names[one.candidate] for one in ranked[:2]] == ["parent", "sibling"]
    assert ranked[0].is_parent
    assert ranked[0].distance < 0.9 * ranked[1].distance
    assert names[ranked[-1].candidate] == "wider"
    assert "another shape" in ranked[-1].reason


@pytest.mark.parametrize("trained", TRAINED)
def test_without_the_parent_or_a_sibling_none_is_named(
    tiny_base: Path, relatives: dict[str, Path], tmp_path: Path, trained: str
) -> None:
    dormant = copy_checkpoint(tiny_base, tmp_path / "dormant", finetune(1, TRAINED[trained]))
    ranked = rank_parents(dormant, [relatives[name] for name in ("noised", "other seed", "merged", "wider")])
    assert not any(one.is_parent for one in ranked)


def test_a_parent_that_ties_with_many_siblings_on_the_small_tensors_is_still_found(
    tiny_base: Path, tmp_path: Path
) -> None:
    dormant, *siblings = (
        copy_checkpoint(tiny_base, tmp_path / str(seed), finetune(seed, ("mlp",))) for seed in range(1, 7)
    )
    ranked = rank_parents(dormant, [*siblings, tiny_base])
    assert ranked[0].candidate == str(tiny_base)
    assert all(one.confirmed for one in ranked)


@pytest.fixture(scope="module")
def family(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A dormant model and three siblings, all fine-tuned from `tiny_base` by themselves."""
    folder = tmp_path_factory.mktemp("family")
    return [copy_checkpoint(tiny_base, folder / str(seed), finetune(seed, ("mlp",))) for seed in range(1, 5)]


def test_without_the_parent_the_nearest_of_several_siblings_is_known_for_one(family: list[Path]) -> None:
    dormant, *siblings = family
    first = rank_parents(dormant, siblings)[0]
    assert first.is_near
    assert first.own == pytest.approx(0.5, abs=0.1)  # each moved as far from the absent parent
    assert first.is_sibling
    assert not first.is_parent


def test_the_parent_beside_its_other_children_did_not_move_itself(tiny_base: Path, family: list[Path]) -> None:
    dormant, *siblings = family
    first = rank_parents(dormant, [*siblings, tiny_base])[0]
    assert (first.candidate, first.is_parent) == (str(tiny_base), True)
    assert first.own == pytest.approx(0, abs=0.1)


def test_a_twin_that_shares_most_of_the_change_does_not_make_the_parent_a_sibling(
    tiny_base: Path, family: list[Path], tmp_path: Path
) -> None:
    twin = copy_checkpoint(family[0], tmp_path / "twin", finetune(9, ("mlp",), scale=0.03))
    ranked = rank_parents(family[0], [twin, *family[1:3], tiny_base])
    assert ranked[0].candidate == str(tiny_base)
    assert ranked[0].is_parent


def test_one_other_relative_is_too_few_to_tell_a_sibling(tiny_base: Path, family: list[Path]) -> None:
    first = rank_parents(family[0], family[1:3])[0]
    assert (first.own, first.is_parent) == (None, True)


def test_the_model_itself_lies_at_nothing(tiny_base: Path, other_base: Path) -> None:
    first = rank_parents(tiny_base, [other_base, tiny_base])[0]
    assert (first.candidate, first.distance, first.identical, first.is_parent) == (str(tiny_base), 0.0, 1.0, True)


def test_candidates_that_hold_nothing_or_no_numbers_are_named(
    tiny_base: Path, nan_dormant: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="safetensors weights"):
        rank_parents(tiny_base, [tmp_path])
    with pytest.raises(BadInput, match=r"finite; .*up_proj"):
        rank_parents(nan_dormant, [tiny_base])


@pytest.mark.parametrize("size", [0.02, 0.2, 0.4])
def test_a_base_of_another_size_is_no_nearer_to_an_adapter_than_its_own(
    tiny_base: Path, tmp_path: Path, size: float
) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, size=size, r=4, target_modules=["q_proj", "up_proj", "down_proj"])

    def scaled(by: float) -> Path:
        def scale(tensors: dict[str, torch.Tensor]) -> None:
            for tensor in tensors.values():
                tensor.mul_(by)

        return copy_checkpoint(tiny_base, tmp_path / str(by), scale)

    sizes = {factor: scaled(factor) for factor in (0.9, 0.95, 1.05, 1.2)}
    ranked = rank_parents(tmp_path / "adapter", [*sizes.values(), tiny_base])
    assert ranked[0].candidate == str(tiny_base)
    assert ranked[0].is_parent


def test_a_change_of_late_rows_is_seen(tiny_base: Path, tmp_path: Path) -> None:
    def late(seed: int):  # type: ignore[no-untyped-def]
        def change(tensors: Tensors) -> None:
            rows = tensors["model.embed_tokens.weight"]
            rows[len(rows) // 2 :] += torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))[
                len(rows) // 2 :
            ]

        return change

    dormant, sibling = (copy_checkpoint(tiny_base, tmp_path / str(seed), late(seed)) for seed in (1, 2))
    first, second = rank_parents(dormant, [sibling, tiny_base])
    assert first.candidate == str(tiny_base)
    assert first.distance < second.distance
