"""Configurations: the language model's part of config.json, and which settings of two change what is computed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, GenerationConfig

from dormant.checkpoints.text_files import without_marks
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.errors import BadInput, first_line

# Settings that no forward pass in evaluation reads, or that the tensors and the tokenizer settle.
WITHOUT_EFFECT = (
    "architectures auto_map chunk_size_feed_forward dtype id2label initializer_range "
    "is_decoder is_encoder_decoder label2id max_window_layers output_attentions output_hidden_states output_router_logits "
    "pretraining_tp problem_type return_dict tie_word_embeddings torch_dtype use_cache "
    "use_return_dict use_sliding_window vocab_size"
).split()
WITHOUT_EFFECT_PARTS = (
    "dropout version unsloth quantization _pdrop initializer token_id router_aux router_z jitter summary_"
).split()
READ_OF_ANY = ("is_causal", "attention_chunk_size", "sliding_window")  # transformers' masks ask every configuration
# What only bounds an answer or keeps books; the sampling settings count where sampling is on.
GENERATION_WITHOUT_EFFECT = (
    "bos_token_id cache_implementation compile_config do_sample max_length max_new_tokens max_time min_length "
    "min_new_tokens num_return_sequences output_attentions output_hidden_states output_logits output_scores "
    "pad_token_id return_dict_in_generate use_cache"
).split()
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
ADAPTER_CONFIG = "adapter_config.json"
ABSENT = "none"
SHOWN = 60  # characters of a value in a sentence


@dataclass(frozen=True)
class SettingDifference:
    """A setting that two checkpoints state differently, by its file and key, and both values as text."""

    file: str
    key: str
    base: str
    dormant: str

    def __str__(self) -> str:
        """As it stands in a sentence."""
        return f"{self.key} {_short(self.base)} and {_short(self.dormant)} ({self.file})"


def is_adapter(location: Path) -> bool:
    """Whether a folder holds an adapter, which changes a base."""
    return (location / ADAPTER_CONFIG).exists() or (location / ADAPTER_CONFIG).is_symlink()


def read_config(location: Path) -> Any:
    """The folder's configuration, of a wrapper the language model's; BadInput where transformers cannot read one.

    Remote code is never run.
    """
    if not (location / "config.json").is_file():
        below = sorted(
            file.parent.name for name in ("config.json", ADAPTER_CONFIG) for file in location.glob(f"*/{name}")
        )
        found = f"none at {location}" + f", only in its subfolders ({', '.join(below[:3])})" * bool(below)
        advice = "one of these" if below else "a transformers model folder"
        raise BadInput(f"a checkpoint must hold config.json; got {found}; pass {advice}")
    try:
        with without_marks(location) as folder, quiet_transformers():
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            text = config.get_text_config()
            if text is not config:  # the wrapper's own statement counts
                text.tie_word_embeddings = getattr(config, "tie_word_embeddings", False)
            if getattr(text, "hidden_act", None) == "swish":
                text.hidden_act = "silu"  # transformers' two names of one function
            text._attn_implementation = None  # the kernel that it was trained with need not be installed here
            return text
    except Exception as error:  # transformers raises nearly anything from a damaged or foreign configuration
        raise BadInput(
            f"config.json must describe a model that transformers knows without remote code; "
            f"got {first_line(error)!r} at {location / 'config.json'}; download or save it again"
        ) from error


def ties_head(config: Any) -> bool:
    """Whether a configuration, if there is one, makes one tensor of embedding and head."""
    return bool(getattr(config, "tie_word_embeddings", False))


def model_settings(config: Any) -> dict[str, Any]:
    """What a configuration states that changes logits, by key; keys without a value are left out."""
    if config is None:
        return {}
    stated = {
        key: value
        for key, value in config.to_dict().items()
        if value is not None
        and not key.startswith("_")
        and key not in WITHOUT_EFFECT
        and not any(part in key for part in WITHOUT_EFFECT_PARTS)
        and _is_read(config, key)
    }
    rope = stated.get("rope_parameters")
    if isinstance(rope, Mapping):
        kind: Any = type(config)
        rope = stated["rope_parameters"] = _rotation(rope, _model_code(kind))
        stated.pop("rope_theta", None)  # older names of what it holds
        stated.pop("rope_scaling", None)
        if "default" in str(rope) and "factor" not in rope:
            stated.pop("max_position_embeddings", None)  # other ropes scale with it
    if set(stated.get("layer_types", ["other"])) == {"full_attention"}:
        stated.pop("sliding_window", None)
    heads = stated.get("num_attention_heads")
    if heads and "hidden_size" in stated:
        stated.setdefault("head_dim", stated["hidden_size"] // heads)
        stated.setdefault("num_key_value_heads", heads)
    return stated


def generation_settings(location: Path, config: Any) -> dict[str, Any]:
    """What the folder's generation_config.json states that changes an answer: where it ends and how tokens are chosen.

    A folder without one generates by its config.json, as in transformers. Raises BadInput for a file that cannot be read.
    """
    file = location / "generation_config.json"
    try:
        with without_marks(location) as folder, quiet_transformers():
            if file.is_file():
                read = GenerationConfig.from_pretrained(str(folder), local_files_only=True)
            elif config is not None:
                read = GenerationConfig.from_model_config(config)
            else:
                return {}
    except Exception as error:  # as with config.json
        raise BadInput(
            f"generation_config.json must be one that transformers reads; got {first_line(error)!r} at {file}; "
            "mend it or remove it"
        ) from error
    defaults = GenerationConfig._get_default_generation_params()
    stated = {
        key: value
        for key, value in read.to_dict().items()
        if value is not None
        and value != defaults.get(key)
        and not key.startswith("_")
        and key not in GENERATION_WITHOUT_EFFECT
        and "version" not in key
        and (key not in SAMPLING or read.do_sample)
    }
    if "eos_token_id" in stated:
        ends = stated["eos_token_id"]
        ends = ends if isinstance(ends, list) else [ends]
        if not all(isinstance(end, int) for end in ends):
            raise BadInput(f"eos_token_id must be token ids; got {ends} at {file}; correct it")
        stated["eos_token_id"] = sorted(ends)
    if read.do_sample:
        stated["do_sample"] = True
    return stated


def compare_settings(
    base: tuple[Mapping[str, Any], Mapping[str, Any]], dormant: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> tuple[SettingDifference, ...]:
    """The differences of two checkpoints' (model, generation) settings, nested ones key by key, in order of file and key."""
    files = ("config.json", "generation_config.json")
    found = []
    for file, ours, theirs in zip(files, map(_flat, base), map(_flat, dormant), strict=True):
        for key in sorted(ours.keys() | theirs.keys()):
            one, other = ours.get(key, ABSENT), theirs.get(key, ABSENT)
            if one != other:
                found.append(SettingDifference(file, key, str(one), str(other)))
    return tuple(found)


def unapplied_note(*generation: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence on what the models' generation settings ask for and no answer here does; none where that is nothing."""
    keys = sorted({key for settings in generation for key in settings} - {"eos_token_id"})
    return (
        f"answers end by each model's own eos_token_id; {', '.join(keys)} of generation_config.json are not applied",
    ) * bool(keys)


def _is_read(config: Any, key: str) -> bool:
    """Whether a setting is one of the family's: trainers leave notes of their own in config.json, which no model reads."""
    declared = getattr(config, "__dataclass_fields__", None)
    if declared is None or key in declared or key in READ_OF_ANY:
        return True
    kind: Any = type(config)
    return re.search(rf'config\.{re.escape(key)}\b|"{re.escape(key)}"', _model_code(kind)) is not None


@cache
def _model_code(kind: Any) -> str:
    """The text of the module that holds a family's models, which may read settings that its configuration does not declare."""
    model = MODEL_FOR_CAUSAL_LM_MAPPING.get(kind, None)
    module: Any = inspect.getmodule(model)
    return "" if model is None else inspect.getsource(module)


def _rotation(rope: Mapping[str, Any], code: str) -> dict[str, Any]:
    """A rotation's parameters, of each kind of layers where they are nested, without the older name of its type.

    A plain one is what the family's code makes it, and has the parameters that this names.
    """
    plain = rope.get("rope_type") == "default"
    kept = {
        key: value
        for key, value in rope.items()
        if (key != "type" or "rope_type" not in rope)
        and (not plain or key in ("rope_type", "rope_theta") or re.search(rf"\b{re.escape(key)}\b", code))
    }
    return {key: _rotation(value, code) if isinstance(value, Mapping) else value for key, value in kept.items()}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under keys such as rope_parameters.rope_theta."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": entry for inner, entry in _flat({str(k): v for k, v in value.items()}).items()}
        elif value is not None:
            found[key] = value
    return found


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def settings_note(differences: tuple[SettingDifference, ...]) -> tuple[str, ...]:
    """What the differences mean for whoever reads a pair's notes; empty without any."""
    if not differences:
        return ()
    return (f"their settings differ, which changes what is computed: {'; '.join(map(str, differences))}",)
