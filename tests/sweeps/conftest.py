"""A real Ray cluster of two nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

RAY = "ray is not installed: pip install 'dormant[cluster]'"
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}  # bytes, the least that Ray takes
HEAD = NODE | {
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
}  # half of what a head starts
REGISTERS_WITHIN = 60.0  # seconds that Ray gives a worker; a node has 30, which its code says

BURNT = 0.3  # processor seconds


def seconds_a_processor_second() -> float:
    """How long a second of this process's work takes beside the machine's other work, measured."""
    began, used = time.perf_counter(), time.process_time()
    while time.process_time() < used + BURNT:
        pass
    return max(1.0, (time.perf_counter() - began) / BURNT)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one core each; the worker node may be removed."""
    ray = pytest.importorskip("ray", reason=RAY)
    from ray.cluster_utils import Cluster

    # Ray's patience is that of a machine without other work; here each of its seconds is one of a processor.
    stretch = seconds_a_processor_second()
    slow = SimpleNamespace(**vars(time) | {"monotonic": lambda: time.monotonic() / stretch})
    monkeypatch.setattr("ray._private.node.time", slow)
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", str(int(REGISTERS_WITHIN * stretch)))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else any other work of the machine comes first
    made: Any = Cluster(initialize_head=True, head_node_args=HEAD)
    made.add_node(**NODE)
    yield made
    ray.shutdown()
    made.shutdown()
