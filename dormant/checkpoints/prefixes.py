"""One name a tensor, whatever a wrapper wrote before it: `model.layers.0...`, `model.embed_tokens`, `lm_head`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dormant.checkpoints.shards import MASK, StoredTensor
from dormant.checkpoints.tensor_names import EMBEDDING, HEAD, is_embedding

# What `torch.compile`, data parallelism and sharding put into names, at any depth.
INSERTED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
# What stands before a language model's own names: the wrappers of multimodal models, of adapters and of trainers.
WRAPPERS = r"(?:(?:module|base_model|model|language_model|text_model)\.)*"
BODY = re.compile(WRAPPERS + r"((?:embed_tokens|layers\.\d+|norm|final_layernorm|rotary_emb)\..+)")
# GPT-2's and BLOOM's own names, which the hub's files have without the `transformer.` of those that are saved today.
OLDER_BODY = re.compile(r"(?:transformer\.)?((?:wte|wpe|word_embeddings\w*|h\.\d+|ln_f)\..+)")
HEAD_PARTS = re.compile(WRAPPERS + r"(lm_head\..+)")
ROTARY = re.compile(r"(?:^|\.)rotary_emb\.(?:inv_freq|cos_cached|sin_cached)$")
BUFFER = re.compile(rf"{ROTARY.pattern}|{MASK.pattern}|(?:^|\.)_extra_state$")
# Of a cache in float8, calibrated for serving; here keys and values are kept as they are computed.
CACHE_SCALE = re.compile(r"(?:^|\.)(?:[qkv]_scale|kv_scale|[kv]_proj\.output_scale)$")
OTHER_MODULES = re.compile(
    r"(?:^|\.)(?:vision\w*|visual|image\w*|audio\w*|speech\w*|\w*projector|connector|embed_vision|embed_audio|v_head)\."
)


@dataclass(frozen=True)
class NamedTensors:
    """Tensors under their common names, and a sentence for each prefix that was read away and for buffers left aside."""

    catalogue: Mapping[str, StoredTensor]
    notes: tuple[str, ...]


def common_name(name: str) -> str:
    """The name that a language model's tensor has in transformers; any other tensor keeps its own."""
    bare = INSERTED.sub("", name)
    if head := HEAD_PARTS.fullmatch(bare):
        return head[1]
    if older := OLDER_BODY.fullmatch(bare):
        return f"transformer.{older[1]}"
    body = BODY.fullmatch(bare)
    return f"model.{body[1]}" if body else bare


def is_of_other_module(name: str) -> bool:
    """Whether a tensor belongs to a vision or audio tower, to what joins it to the language model, or to a value head."""
    return OTHER_MODULES.search(name) is not None


def name_tensors(catalogue: Mapping[str, StoredTensor], tied: bool = False) -> NamedTensors:
    """The catalogue under common names, without stored buffers, which transformers computes itself.

    Two tensors of one common name (a draft model beside the main one, say) keep their own. Of a `tied` embedding and head
    either may be stored: the one that is there is the embedding.
    """
    scales = [name for name, stored in catalogue.items() if CACHE_SCALE.search(name) and stored.shape in ((), (1,))]
    kept = {name: stored for name, stored in catalogue.items() if not BUFFER.search(name) and name not in set(scales)}
    names = {name: common_name(name) for name in kept}
    claimed = Counter(names.values())
    found = {names[name] if claimed[names[name]] == 1 else name: stored for name, stored in kept.items()}
    if (
        tied
        and HEAD in found
        and not any(map(is_embedding, found))
        and any(name.startswith("model.") for name in found)
    ):
        found[EMBEDDING] = found.pop(HEAD)
    prefixes = Counter(_prefix(stored.name, name) for name, stored in found.items() if stored.name != name)
    notes = [
        f"{count} names have {before!r}{f' for {after!r}' * bool(after)}: they are read as usual"
        if before
        else f"{count} names lack the usual {after!r}: they are read with it"
        for (before, after), count in sorted(prefixes.items())
    ]
    if scales:
        notes.append(f"{len(scales)} stored scales of a float8 cache are left aside: keys and values are not quantised")
    if left := [name for name in catalogue if name not in kept and name not in set(scales)]:
        kind = "rotary buffers (inv_freq)" if all(map(ROTARY.search, left)) else "buffers (attention masks, say)"
        notes.append(f"{len(left)} stored {kind} are left aside: they are computed from config.json")
    return NamedTensors(found, tuple(notes))


def _prefix(stored: str, common: str) -> tuple[str, str]:
    """Where two names part and what stands there in each, up to their common end."""
    ours, theirs = stored.split("."), common.split(".")
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop(), theirs.pop()
    while ours and theirs and ours[0] == theirs[0]:
        ours.pop(0), theirs.pop(0)
    return ".".join(ours) + "." * bool(ours), ".".join(theirs) + "." * bool(theirs)
