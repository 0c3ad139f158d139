"""What a run was made with: versions, commit, device and options, without secrets or personal paths."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("dormant", "torch", "transformers", "safetensors", "numpy", "scipy", "pytest", "hypothesis")
# As Linux names them on x86 and Arm, with which matrix products are several times quicker or slower.
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "bf16")
SECRET = re.compile(r"token|secret|password|credential|api_?key", re.IGNORECASE)
HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\Users\\)[^/\\\s]+")


def provenance(device: str, dtype: str, seed: int, options: Mapping[str, object] | None = None) -> dict[str, str]:
    """The conditions of a run as flat text, for each finding and for the report's environment.

    A finding adds the attention with which its models ran. Options whose name suggests a secret are left out; home
    directories become `~`.
    """
    record = {
        "commit": git_commit(),
        "device": device_name(device),
        "processor": processor_name(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "dtype": dtype,
        "seed": str(seed),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{package: package_version(package) for package in PACKAGES},
    }
    for name, value in (options or {}).items():
        if not SECRET.search(name):
            record[f"option {name}"] = without_home(str(value))
    return record


def git_commit(folder: Path | None = None) -> str:
    """The commit of `folder` (default: the current one) in 12 digits, followed by "+ changes" if files differ."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD", folder=folder)
        changed = _git("status", "--porcelain", "--untracked-files=no", folder=folder)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit} + changes" if changed else commit


def device_name(device: str) -> str:
    """The device with its model name if the driver knows one (`cuda: NVIDIA H100`, `cpu: 2 threads`)."""
    kind = torch.device(device).type
    if kind == "cuda" and torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(torch.device(device))}"
    return f"cpu: {torch.get_num_threads()} threads" if kind == "cpu" else kind


def processor_name() -> str:
    """The processor's model where the system tells it: kernels of one name round differently on another model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    first = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = (f"{name} {first[name]}" for name in ("cpu family", "model") if name in first)
    return ", ".join((first.get("model name", platform.machine()), *numbers))


def instruction_sets() -> tuple[str, ...]:
    """Those of `INSTRUCTION_SETS` that the processor has, where the system tells them: they decide which kernels run."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    stated = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return tuple(name for name in INSTRUCTION_SETS if name in stated)


def package_version(package: str) -> str:
    """The installed version, or "absent"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def without_home(text: str) -> str:
    """Shorten home directories to `~`, so that a report names nobody."""
    return HOME.sub("~", text.replace(str(Path.home()), "~"))


def _git(*arguments: str, folder: Path | None) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
