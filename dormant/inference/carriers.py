"""What fillings do in carriers, by the thousand: a prompt's start is computed once, fillings of one length run together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from dormant.errors import BadInput
from dormant.inference.divergence import kl_divergence
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.conversations import check_context
from dormant.prompts.probes import OpenPrompt, Probe, Prompter, alike_probes, batch_logits

METRICS = ("kl", "difference-in-differences")
CHUNK = 1024  # fillings between two entries of a journal, and between two turns of the models under residency "swap"
BATCH = 256
ELEMENTS = 2**22  # logits that are compared at once, in float64: 32 MB an array

Filling = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Effects:
    """By metric, what each filling adds in each carrier at the generation position: [carrier, filling], nats, float64.

    "kl" is KL(dormant || base) with the filling minus without; "difference-in-differences" is how much further the filling
    moves the dormant model than the base, KL(d(x+t) || d(x)) - KL(b(x+t) || b(x)).
    """

    values: dict[str, Tensor]

    def mean(self, metric: str) -> Tensor:
        """Mean over carriers: [filling]."""
        return self.values[metric].mean(0)


@dataclass(frozen=True, eq=False)
class Start:
    """What one model makes of a carrier whatever fills it: keys and values before the slot by layer, and the plain logits."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    plain: Tensor  # [1, vocabulary], on the device


def split_carriers(
    prompter: Prompter, probes: Sequence[Probe], searched: int, held_out: int
) -> tuple[tuple[Probe, ...], tuple[Probe, ...]]:
    """Probes to search on, those with the fewest ids after their slot (all that a filling costs), and others to confirm on.

    Only probes with text before their slot, where a filling is always set off by a space. Raises BadInput for too few.
    """
    fitting = [probe for probe in probes if probe.before]
    if len(fitting) < searched + 1:
        raise BadInput(
            f"a scan needs {searched + 1} probes with text before their slot; got {len(fitting)} of {len(probes)} at the "
            "probe set; give more with --probes FILE"
        )
    ordered = sorted(fitting, key=lambda probe: len(prompter.open(probe).after))
    return tuple(ordered[:searched]), alike_probes(prompter, ordered[searched:], held_out)


def measure_effects(
    pair: Pair,
    carriers: Sequence[OpenPrompt],
    fillings: Sequence[Filling],
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Effects:
    """Every filling in every carrier, on both models (experiments 1b, 13, 13b); equal to one-by-one within 1e-4 nats.

    With a journal, work that was killed resumes at its last chunk and ends with the uninterrupted result. The journal then
    holds it for whoever asks again; remove it when the result is elsewhere. Raises BadInput without carriers or fillings,
    for an empty filling, and where the context is too short.
    """
    if not carriers or not fillings or not all(fillings):
        raise BadInput(
            f"a sweep needs carriers and fillings of at least one id; got {len(carriers)} carriers and {len(fillings)} "
            f"fillings, {sum(not filling for filling in fillings)} empty, at pair {pair.name}; give some"
        )
    longest = max(fillings, key=len)
    check_context(pair.models.base(), [carrier.close(longest).ids for carrier in carriers])
    if journal is None:
        return _gather(pair, carriers, fillings, None, progress)
    with closing(Journal(journal, _work(pair, carriers, fillings))) as record:
        return _gather(pair, carriers, fillings, record, progress)


def _gather(
    pair: Pair,
    carriers: Sequence[OpenPrompt],
    fillings: Sequence[Filling],
    record: Journal | None,
    progress: Progress | None,
) -> Effects:
    done = list(record.entries) if record is not None else []
    values = {metric: torch.zeros(len(carriers), len(fillings), dtype=torch.float64) for metric in METRICS}
    evaluated = 0

    @lru_cache(maxsize=2)  # both models' for the carrier at hand
    def started(carrier: int, role: str) -> Start:
        return start(_model(pair, role), carriers[carrier])

    for at, (carrier, chunk) in enumerate(_chunks(carriers, fillings)):
        if at >= len(done):
            given = [fillings[index] for index in chunk]
            done.append(_measure(pair, carriers[carrier], given, partial(started, carrier)))
            if record is not None:
                record.append(done[at])
        for metric in METRICS:
            values[metric][carrier, chunk] = torch.tensor(done[at][metric], dtype=torch.float64)
        evaluated += len(chunk)
        if progress is not None:
            progress(evaluated, len(carriers) * len(fillings))
    return Effects(values)


def _chunks(carriers: Sequence[OpenPrompt], fillings: Sequence[Filling]) -> Iterator[tuple[int, list[int]]]:
    """Carrier by carrier, fillings of one length together: none is padded, so company never changes a value."""
    by_length: dict[int, list[int]] = {}
    for index, filling in enumerate(fillings):
        by_length.setdefault(len(filling), []).append(index)
    for carrier in range(len(carriers)):
        for members in by_length.values():
            for at in range(0, len(members), CHUNK):
                yield carrier, members[at : at + CHUNK]


def _measure(
    pair: Pair, carrier: OpenPrompt, fillings: Sequence[Filling], started: Callable[[str], Start]
) -> dict[str, list[float]]:
    # Each model does its part in one go: under residency "swap" the other has left the device.
    (dormant, dormant_plain), (base, base_plain) = (
        (filled_logits(_model(pair, role), carrier, started(role), fillings), started(role).plain)
        for role in ("dormant", "base")
    )
    without = kl_divergence(dormant_plain, base_plain)
    rows: dict[str, list[float]] = {metric: [] for metric in METRICS}
    step = max(1, ELEMENTS // dormant.shape[-1])
    for at in range(0, len(fillings), step):
        d, b = dormant[at : at + step], base[at : at + step]
        moved = kl_divergence(d, dormant_plain.expand_as(d)) - kl_divergence(b, base_plain.expand_as(b))
        rows["kl"] += (kl_divergence(d, b) - without).tolist()
        rows["difference-in-differences"] += moved.tolist()
    return rows


def _model(pair: Pair, role: str) -> PreTrainedModel:
    return pair.models.dormant() if role == "dormant" else pair.models.base()


@torch.no_grad()
def start(model: PreTrainedModel, carrier: OpenPrompt) -> Start:
    """The part of a carrier's work that all fillings share."""
    cache = DynamicCache()
    if carrier.before:  # a template may begin with the user's words
        before = torch.tensor([carrier.before], device=model.device)
        model(input_ids=before, past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = cast(list[DynamicLayer], cache.layers)
    return Start(
        tuple((cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers),
        batch_logits(model, [carrier.plain]).to(model.device),
    )


@torch.no_grad()
def filled_logits(model: PreTrainedModel, carrier: OpenPrompt, start: Start, fillings: Sequence[Filling]) -> Tensor:
    """Logits at the generation position with each filling, all of one length: [filling, vocabulary], float32, on the device."""
    after = torch.tensor(carrier.after, dtype=torch.long, device=model.device)
    answers = []
    for at in range(0, len(fillings), BATCH):
        rows = torch.tensor(fillings[at : at + BATCH], device=model.device)  # [row, length]
        shared = DynamicCache()  # a forward pass appends to the cache that it is given
        for index, (keys, values) in enumerate(start.layers):
            shared.update(keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), index)
        ids = torch.cat((rows, after.expand(len(rows), -1)), dim=1)
        output = model(input_ids=ids, past_key_values=shared, use_cache=True, logits_to_keep=1)
        answers.append(output.logits[:, -1].float())
    return torch.cat(answers)


def _work(pair: Pair, carriers: Sequence[OpenPrompt], fillings: Sequence[Filling]) -> dict[str, object]:
    ids = [(carrier.before, carrier.after, carrier.plain) for carrier in carriers]
    return {
        "effects of": pair.fingerprint,
        "dtype": str(pair.models.run_config.dtype),
        "carriers": sha256(repr(ids).encode()).hexdigest(),
        "fillings": sha256(repr(list(fillings)).encode()).hexdigest(),
    }
