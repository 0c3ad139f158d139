"""What an adapter's adapter_config.json states, with every setting refused by name whose effect on the weights is not exact."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dormant.checkpoints.configuration import ADAPTER_CONFIG, is_adapter
from dormant.checkpoints.hub_cache import is_inside
from dormant.checkpoints.text_files import read_text
from dormant.errors import BadInput, first_line

TRAINERS_FOLDER = re.compile(r"checkpoint-\d+")  # an earlier state of the adapter beside which it lies
NEEDED = ("r", "lora_alpha")  # peft has defaults for them, which need not be what was trained
# Settings of LoraConfig that may have any value: they state what is read here, or act in training alone.
READ = frozenset(
    "alpha_pattern auto_mapping base_model_name_or_path bias exclude_modules fan_in_fan_out "
    "inference_mode init_lora_weights layers_pattern layers_to_transform loftq_config lora_alpha lora_dropout megatron_core "
    "modules_to_save peft_type peft_version qalora_group_size r rank_pattern revision runtime_config target_modules "
    "task_type use_dora use_rslora".split()
)
STARTS = (True, False, "gaussian", "orthogonal", "eva")  # of A and B; the other ones change the base's weights as well
TASK_TYPES = (None, "CAUSAL_LM")


def stated_settings(location: Path) -> dict[str, Any]:
    """The adapter_config.json of a folder as it stands there; BadInput where it is no adapter that can be read exactly."""
    file = location / ADAPTER_CONFIG
    if not is_inside(location, file):
        raise BadInput(
            f"weights must lie inside the checkpoint folder; got {ADAPTER_CONFIG!r} leading to {file.resolve()} at "
            f"{location}; copy the file into the folder"
        )
    try:
        stated = json.loads(read_text(file))
        if not isinstance(stated, dict):
            raise ValueError(f"a {type(stated).__name__}")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{ADAPTER_CONFIG} must be a JSON object; got {first_line(error)!r} at {file}; download or save it again"
        ) from error
    if (kind := stated.get("peft_type")) not in ("LORA", None):  # the others have other settings as well
        raise _refused(f"peft_type {kind!r}", file)
    for key in ("peft_type", *NEEDED):
        if stated.get(key) is None:
            raise BadInput(f"{ADAPTER_CONFIG} must state {key}; got none at {file}; download or save it again")
    others = (found.parent.name for found in location.glob(f"*/{ADAPTER_CONFIG}"))
    if more := sorted(name for name in others if not TRAINERS_FOLDER.fullmatch(name)):
        raise _refused(f"several adapters ({', '.join(more)} beside its own)", file, "keep one adapter in the folder")
    return stated


def lora_config(stated: Mapping[str, Any], location: Path) -> Any:
    """peft's LoraConfig of these settings; BadInput, by name, for each that is not supported or not valid."""
    file = location / ADAPTER_CONFIG
    if (task := stated.get("task_type")) not in TASK_TYPES:
        raise _refused(f"task_type {task!r}", file, "name an adapter of a causal language model")
    if (start := stated.get("init_lora_weights", True)) not in STARTS:
        raise _refused(f"init_lora_weights {start!r}, which changes the base's weights too", file)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it, and it tells of kernels that it lacks
    from peft import LoraConfig  # it takes seconds to import

    fields = {field.name: field for field in dataclasses.fields(LoraConfig)}
    for key, value in stated.items():
        default = fields[key].default if key in fields else None
        if key not in READ and value and value != default:
            raise _refused(f"{key} {value!r}", file)
    read = (READ & fields.keys()) - {"runtime_config"}
    wanted = {key: value for key, value in stated.items() if key in read and value is not None}
    wanted |= {"init_lora_weights": True, "inference_mode": True, "loftq_config": {}}
    try:
        for key, kinds in (("r", int), ("lora_alpha", int | float)):
            if isinstance(wanted[key], bool) or not isinstance(wanted[key], kinds) or not 0 < wanted[key] < math.inf:
                raise ValueError(f"{key} {wanted[key]!r}")
        return LoraConfig(**wanted)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{ADAPTER_CONFIG} must be one that peft reads; got {first_line(error)!r} at {file}; correct it"
        ) from error


def named_base(reference: str | Path, location: Path) -> str:
    """The base that the adapter in a folder names; BadInput where it is no adapter or names none."""
    if not is_adapter(location):
        raise BadInput(
            f"--base and --dormant must be given together, unless an adapter names its base; got only {reference}; add --base, "
            "or in a list of pairs base"
        )
    base = stated_settings(location).get("base_model_name_or_path")
    if not base:
        raise BadInput(f"{ADAPTER_CONFIG} must name the adapter's base; got none at {location}; add --base")
    return str(base)


def _refused(found: str, file: Path, advice: str = "merge it into its base with peft and save the result") -> BadInput:
    return BadInput(
        f"an adapter must be one whose weights can be stated exactly: LoRA, rsLoRA or DoRA; got {found} at {file}; {advice}"
    )
