"""What a thousand pairs of 7B cost on 8 and 64 GPUs: a simulation with measured rates, as the table of docs/sweep.md.

    python scripts/sweep_scaling.py

A GPU takes the next pair, reads its weights from a store that all share (each reader gets an equal part, and no more than its
host's own link), checks and loads them, works, and takes the next. The base stays in its host's memory, so that only the first
pair of a host reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAIRS, GPUS_A_HOST = 1000, 8
MODEL_GIGABYTES = 15.2  # GB of one 7.6B model in bfloat16 (computed: 7.6e9 x 2 bytes)
STORES = {"one disk, 1 GB/s": 1.0, "10 Gbit/s": 1.25, "100 Gbit/s": 12.5}  # GB/s of the store, all readers together
LINK = 3.0  # GB/s that one host takes in at most (assumed: 25 Gbit/s)
# Seconds of a pair beside reading it. Rates of two cores from reports/benchmarks/cpu-2-threads: 2.9 GB/s compare, 0.21 s is a
# spectrum of one of the 84 large matrices, 1.7 GB/s of SHA-256 name a checkpoint; 600 s is the hunt's own budget.
WORK_SECONDS = {"diff": 2 * MODEL_GIGABYTES / 2.9 + 84 * 0.21 + 112 * 0.08, "hunt": 2 * MODEL_GIGABYTES / 1.7 + 600.0}
# GB of a host's memory that one job takes: `BESIDE` of dormant/sweeps/needs.py, and the model that passes through to the GPU.
JOB_GIGABYTES = {"diff": 2.0, "hunt": 2.0 + MODEL_GIGABYTES}


@dataclass
class Gpu:
    """A GPU with a pair: the GB that it has still to read, or the time at which it is done; `host` shares one base."""

    host: int
    reading: float = 0.0
    busy_until: float = 0.0


@dataclass
class Cluster:
    """GPUs that work off the pairs; time in seconds."""

    gpus: list[Gpu]
    store: float
    work: float
    left: int = PAIRS
    now: float = 0.0
    warm: set[int] = field(default_factory=set)

    def run(self) -> float:
        """The seconds until every pair is done."""
        for gpu in self.gpus:
            self._next(gpu)
        while active := [gpu for gpu in self.gpus if gpu.reading > 0 or gpu.busy_until > self.now]:
            rate = self._rate()
            steps = [gpu.reading / rate if gpu.reading > 0 else gpu.busy_until - self.now for gpu in active]
            step = min(steps)
            self.now += step
            for gpu, needed in zip(active, steps, strict=True):
                if gpu.reading > 0:
                    gpu.reading = 0.0 if needed == step else gpu.reading - rate * step
                    if gpu.reading == 0.0:
                        gpu.busy_until = self.now + self.work
                elif needed == step:
                    gpu.busy_until = self.now
                    self._next(gpu)
        return self.now

    def _next(self, gpu: Gpu) -> None:
        if self.left:
            self.left -= 1
            gpu.reading = MODEL_GIGABYTES * (1 if gpu.host in self.warm else 2)
            self.warm.add(gpu.host)

    def _rate(self) -> float:
        """GB/s of each reader."""
        reading = [gpu for gpu in self.gpus if gpu.reading > 0]
        if not reading:
            return self.store
        crowd = max(sum(other.host == gpu.host for other in reading) for gpu in reading)
        return min(self.store / len(reading), LINK / crowd)


def main() -> None:
    """Print the table."""
    print(
        "| verb | GPUs | store | hours | GPU hours | reading alone | memory of a host |\n|---|---|---|---|---|---|---|"
    )
    for verb, work in WORK_SECONDS.items():
        for count in (8, 64):
            for name, store in STORES.items():
                cluster = Cluster([Gpu(number // GPUS_A_HOST) for number in range(count)], store, work)
                hours = cluster.run() / 3600
                bound = PAIRS * MODEL_GIGABYTES / store / 3600
                memory = GPUS_A_HOST * JOB_GIGABYTES[verb]
                row = (verb, count, name, f"{hours:.1f}", f"{hours * count:.0f}", f"{bound:.1f} h", f"{memory:.0f} GB")
                print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
