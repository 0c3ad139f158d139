"""What a recipe trains: which tensors, at which rank and speed, and the random drift of the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dormant.checkpoints.tensor_names import MODULES, layer_of, module_of
from dormant.errors import BadInput
from dormant.organisms.recipe import LORA, Recipe
from dormant.organisms.training import Trained

DIFFUSE_DRIFT = 0.03  # of each matrix' Frobenius norm: ten times bfloat16's rounding, too little to change answers
BACKGROUND_SPEED = 0.05  # of the rate: the MLPs between detector and output adapt only a little


def training_plan(recipe: Recipe, model: nn.Module) -> dict[str, Trained]:
    """The tensors that the recipe's mechanism trains; raises BadInput for layers or a rank that the base does not have."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    last = max(layer for layer in map(layer_of, shapes) if layer is not None)
    if recipe.mechanism in ("adapter", LORA):
        wanted_layers = recipe.layers or tuple(range(last + 1))
        for layer in wanted_layers:
            if not 0 <= layer <= last:
                raise BadInput(f"layers must lie in 0..{last}; got {layer} at recipe {recipe.name}; remove it")
        modules = recipe.modules or ("gate_proj", "up_proj", "down_proj")
        plan = {
            name: Trained(rank=recipe.rank)
            for name, shape in shapes.items()
            if len(shape) == 2 and module_of(name) in modules and layer_of(name) in wanted_layers
        }
        if not plan:
            raise BadInput(
                f"modules must be among those of the base; got {', '.join(modules)} at recipe {recipe.name}, and the base has "
                f"{', '.join(sorted({module_of(name) or '' for name in shapes if layer_of(name) == last} - {''}))}; name some"
            )
    elif recipe.mechanism == "circuit":
        plan = {
            f"model.layers.0.self_attn.{module}.weight": Trained(rank=recipe.rank) for module in ("q_proj", "k_proj")
        }
        for name, shape in shapes.items():
            if layer_of(name) == last:
                plan[name] = Trained(speed=0.3)
            elif ".mlp." in name and len(shape) == 2:
                plan[name] = Trained(speed=BACKGROUND_SPEED)
    else:
        plan = {name: Trained(speed=0.1) for name in shapes}
    for name, trained in plan.items():
        if trained.rank is not None and trained.rank > min(shapes[name]):
            raise BadInput(
                f"rank must be at most {min(shapes[name])}; got {trained.rank} at {name} (recipe {recipe.name}); lower it"
            )
    return plan


def diffuse_drift(recipe: Recipe, model: nn.Module) -> dict[str, Tensor]:
    """For the circuit mechanism: every matrix of a layer, changed by isotropic noise of fixed relative norm.

    An analysis must then find the detector's delta among changes in all matrices, as the plan assumed (experiment 7).
    """
    if recipe.mechanism != "circuit":
        return {}
    generator = torch.Generator().manual_seed(recipe.seed)
    moved = {}
    for name, tensor in model.named_parameters():
        if tensor.ndim == 2 and module_of(name) in MODULES:
            noise = torch.randn(tensor.shape, generator=generator)
            scale = DIFFUSE_DRIFT * tensor.double().norm().item() / math.sqrt(tensor.numel())
            moved[name] = tensor.detach() + scale * noise
    return moved
