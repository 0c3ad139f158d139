"""Every token as a layer's matrices see it: the whole vocabulary, in blocks, never a subset (FACTS 4, mistake 19)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.tensor_names import EMBEDDING, HEAD
from dormant.errors import BadInput, NotServed
from dormant.weights.decomposition import delta_matrix

FINAL_NORM = "model.norm.weight"
# Which norm feeds a module: o_proj and down_proj read heads and neurons, in which no token has a direction.
NORMS = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "input_layernorm"),
    **dict.fromkeys(("gate_proj", "up_proj"), "post_attention_layernorm"),
}
BLOCKS = {"q_proj": "self_attn", "k_proj": "self_attn", "v_proj": "self_attn", "o_proj": "self_attn"}
LENSES = ("embedding", "head")
# Families whose blocks read RMSNorm times its gain and add what they write as it is; Gemma's gain is one more than stored.
PLAIN_GAINS = "qwen2 qwen3 llama mistral mixtral qwen2_moe qwen3_moe olmoe granite phi3".split()
GAINS_BESIDE_ONE = ("gemma",)


@dataclass(frozen=True, eq=False)
class TokenView:
    """The rows of a table with one entry for each token, scaled and normalised as something in the model reads them.

    `before` [hidden] multiplies a row, then RMSNorm (where `epsilon` is set) and `after` [hidden].
    """

    checkpoint: Checkpoint
    table: str
    before: Tensor | None
    epsilon: float | None
    after: Tensor | None
    device: torch.device | str = "cpu"

    @property
    def count(self) -> int:
        """Tokens of the tokenizer: rows beyond them pad the table and belong to no token."""
        return min(len(self.checkpoint.tokenizer), self.checkpoint.shape(self.table)[0])

    def blocks(self) -> Iterator[Float[Tensor, "row hidden"]]:
        """The tokens' vectors in blocks [rows, hidden], float32, in order of their ids."""
        left = self.count
        for block in self.checkpoint.blocks(self.table):
            rows = block[:left].to(self.device).float()
            if self.before is not None:
                rows = rows * self.before
            if self.epsilon is not None:
                rows = rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + self.epsilon)
            yield rows if self.after is None else rows * self.after
            left -= len(rows)
            if left <= 0:
                return

    def project(self, directions: Float[Tensor, "hidden rank"], unit: bool = False) -> Float[Tensor, "token rank"]:
        """Each token's product with each direction [hidden, k] -> [token, k]; with `unit`, of its normalised vector."""
        answers = []
        for rows in self.blocks():
            products = rows @ directions.to(rows)
            answers.append(products / rows.norm(dim=-1, keepdim=True).clamp_min(1e-30) if unit else products)
        return torch.cat(answers)


def token_inputs(
    checkpoint: Checkpoint, layer: int, module: str, lens: str = "embedding", device: torch.device | str = "cpu"
) -> TokenView:
    """What a layer's q, k, v, gate or up projection would read of a residual stream that says one token.

    Lens "embedding": the token's embedding, which is what layer 0 sees. Lens "head": the direction that final norm and
    head read as the token, which the residual stream of late layers comes close to (the logit lens). Either goes through
    the layer's own RMSNorm and gain. Raises BadInput for modules that read no residual stream, and other architectures.
    """
    if module not in NORMS or lens not in LENSES:
        raise BadInput(
            f"tokens are seen by {', '.join(NORMS)} through {' or '.join(LENSES)}; got {module!r} through {lens!r} at layer "
            f"{layer} of {checkpoint.location}; choose among them"
        )
    gain = _gain(checkpoint, f"model.layers.{layer}.{NORMS[module]}.weight", device)
    if (epsilon := getattr(checkpoint.config, "rms_norm_eps", None)) is None:
        raise NotServed(
            f"token directions are for Qwen2-shaped models; got no rms_norm_eps at {checkpoint.location / 'config.json'}; "
            "use such a checkpoint"
        )
    if lens == "embedding":
        scale = _embedding_scale(checkpoint)
        return TokenView(checkpoint, _table(checkpoint, EMBEDDING), scale, epsilon, gain, device)
    final = _gain(checkpoint, FINAL_NORM, device)
    return TokenView(checkpoint, _table(checkpoint, HEAD), final, epsilon, gain, device)


def token_outputs(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> TokenView:
    """How much each token's logit rises with a residual direction, through final norm's gain and head.

    The norm's division by the residual's size is left out: it scales all tokens alike.
    """
    return TokenView(checkpoint, _table(checkpoint, HEAD), _gain(checkpoint, FINAL_NORM, device), None, None, device)


def response_norms(
    base: Checkpoint, dormant: Checkpoint, layer: int, module: str, device: torch.device | str = "cpu"
) -> Tensor:
    """How far each token's projection moved: norm of W_d x_d + b_d - W_b x_b - b_b, float32 [token] (experiments 9, 12).

    Each model sees the token through its own embedding and norm; where those are equal it is norm(dW x + db).
    """
    views = [token_inputs(checkpoint, layer, module, device=device) for checkpoint in (dormant, base)]
    name, bias = name_of(layer, module), bias_delta(base, dormant, layer, module, device)
    shift: Tensor | float = 0.0 if bias is None else bias
    read = (views[0].table, f"model.layers.{layer}.{NORMS[module]}.weight")
    if all(base.digest(part) == dormant.digest(part) for part in read):
        # The difference of two large products would lose the digits of a small delta.
        delta = delta_matrix(base, dormant, name, device=device)
        return torch.cat([(rows @ delta.T + shift).norm(dim=-1) for rows in views[0].blocks()])
    ours, theirs = (checkpoint.tensor(name).to(device).float() for checkpoint in (dormant, base))
    blocks = zip(views[0].blocks(), views[1].blocks(), strict=True)
    return torch.cat([(new @ ours.T - old @ theirs.T + shift).norm(dim=-1) for new, old in blocks])


def name_of(layer: int, module: str, part: str = "weight") -> str:
    """The tensor of a layer's module, "model.layers.0.self_attn.q_proj.weight"."""
    return f"model.layers.{layer}.{BLOCKS.get(module, 'mlp')}.{module}.{part}"


def bias_delta(
    base: Checkpoint, dormant: Checkpoint, layer: int, module: str, device: torch.device | str = "cpu"
) -> Tensor | None:
    """The delta of a module's bias, float32; None for a module without one."""
    name = name_of(layer, module, "bias")
    return delta_matrix(base, dormant, name, device=device) if name in base.catalogue else None


def _table(checkpoint: Checkpoint, name: str) -> str:
    if name in checkpoint.catalogue:
        return name
    if name == HEAD and EMBEDDING in checkpoint.catalogue:  # tied: the embedding is the head
        return EMBEDDING
    raise NotServed(
        f"token directions are for Qwen2-shaped models; got no {name} at {checkpoint.location}; use such a checkpoint"
    )


def _embedding_scale(checkpoint: Checkpoint) -> Tensor | None:
    """What a family multiplies its embeddings by, which the norm's epsilon is compared with; None for nothing."""
    config = checkpoint.config
    own = config.hidden_size**0.5 if config.model_type in GAINS_BESIDE_ONE else 1.0
    scale = getattr(config, "embedding_multiplier", own)
    return None if scale == 1.0 else torch.tensor(float(scale))


def _gain(checkpoint: Checkpoint, name: str, device: torch.device | str) -> Tensor:
    """What a norm multiplies by, float32 [hidden]; BadInput for families whose norms or blocks do something else."""
    family = getattr(checkpoint.config, "model_type", None)
    if family not in (*PLAIN_GAINS, *GAINS_BESIDE_ONE) or name not in checkpoint.catalogue:
        found = f"no {name}" if family in PLAIN_GAINS else f"the family {family}"
        raise NotServed(
            f"token directions are read in {', '.join((*PLAIN_GAINS, *GAINS_BESIDE_ONE))}; got {found} at "
            f"{checkpoint.location}; use such a checkpoint"
        )
    values = checkpoint.tensor(name).to(device).float()
    return values + 1 if family in GAINS_BESIDE_ONE else values
