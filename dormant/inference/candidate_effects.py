"""What candidates add to the divergence of two models: one in many probes, or thousands with each probe's start shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dormant.errors import BadInput, NotServed
from dormant.inference.answer_divergence import EFFECT_METRICS, Rows, divergences
from dormant.inference.batching import batch_logits, checked_prompts, equal_length_batches
from dormant.inference.divergence import kl_of, log_probabilities
from dormant.inference.horizon import FIRST_TOKEN, Horizon
from dormant.inference.prefix_cache import Prefix, logits_behind, stored_prefix
from dormant.journal import JournalStep, kept_steps, unkept
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import OpenPrompt, Probe, Prompt, Prompter, TokenIds, alike_probes
from dormant.prompts.token_filter import allowed_tokens

SCANNED = ("kl", "difference-in-differences")  # the metrics of thousands of candidates
CANDIDATES_A_CHUNK = (
    1024  # between two entries of a journal, and between two turns of the models under residency "swap"
)
CANDIDATES_A_PASS = 256
COMPARED_LOGITS = 2**22  # at once, in float64: 32 MB an array


@dataclass(frozen=True)
class CandidateEffect:
    """One candidate over probes by metric, within a horizon, without (`empty`) and with it (`filled`)."""

    ids: TokenIds
    empty: Rows
    filled: Rows

    def gains(self, metric: str) -> list[float]:
        """With the candidate minus without it: [probe]."""
        return [filled - empty for filled, empty in zip(self.filled[metric], self.empty[metric], strict=True)]


@dataclass(frozen=True, eq=False)
class Effects:
    """By metric of `SCANNED`, what each candidate adds in each probe, in nats, float64.

    "kl" is KL(dormant || base) with the candidate minus without; "difference-in-differences" is how much further the
    candidate moves the dormant model than the base, KL(d(x+t) || d(x)) - KL(b(x+t) || b(x)).
    """

    values: dict[str, Float[Tensor, "probe candidate"]]

    def mean(self, metric: str) -> Float[Tensor, " candidate"]:
        """Mean over probes."""
        return self.values[metric].mean(0)


@dataclass(frozen=True)
class EffectChunk:
    """One probe, and candidates of one length that are measured in it together, by their places in both lists.

    No other chunk changes a digit of its values, so that chunks may be measured in any process.
    """

    probe: int
    candidates: tuple[int, ...]


ChunkValues = Mapping[str, Sequence[float]]  # by metric of `SCANNED`, a value for each candidate of a chunk


def candidate_effect(pair: Pair, probes: Sequence[Probe], text: str, horizon: Horizon = FIRST_TOKEN) -> CandidateEffect:
    """The divergence of the probes without and with a candidate text (experiments 13 and 17a)."""
    return candidate_effects(pair, probes, [text], horizon)[text]


def candidate_effects(
    pair: Pair, probes: Sequence[Probe], texts: Sequence[str], horizon: Horizon = FIRST_TOKEN
) -> dict[str, CandidateEffect]:
    """The same for several texts: the models read the probes without any of them once, and what has one length together."""
    prompter = pair.prompter
    filled = [prompter.encode_text(probe, text) for text in texts for probe in probes]
    effects = _effects(pair, probes, [prompter.candidate_ids(text) for text in texts], filled, horizon)
    return dict(zip(texts, effects, strict=True))


def length_matched_nulls(
    pair: Pair, probes: Sequence[Probe], length: int, count: int, seed: int, horizon: Horizon = FIRST_TOKEN
) -> list[CandidateEffect]:
    """What `count` candidates of random tokens do that survive in every probe."""
    prompter = pair.prompter
    drawn = random_candidates(prompter, probes, length, count, seed)
    filled = [prompter.encode(probe, ids) for ids in drawn for probe in probes]
    return _effects(pair, probes, drawn, filled, horizon)


def _effects(
    pair: Pair, probes: Sequence[Probe], candidates: Sequence[TokenIds], filled: Sequence[Prompt], horizon: Horizon
) -> list[CandidateEffect]:
    """What candidates do of which each fills all probes, candidate after candidate."""
    empty = [pair.prompter.encode(probe) for probe in probes]
    before, after = divergences(pair, empty * len(candidates), filled, horizon)
    return [
        CandidateEffect(
            ids,
            *(
                {metric: rows[metric][start : start + len(probes)] for metric in EFFECT_METRICS}
                for rows in (before, after)
            ),
        )
        for ids, start in zip(candidates, range(0, len(filled), len(probes)), strict=True)
    ]


def random_candidates(
    prompter: Prompter, probes: Sequence[Probe], length: int, count: int, seed: int, tries: int = 1000
) -> list[TokenIds]:
    """Random ids of the length that survive decoding and encoding in every probe. Raises NotServed where too few do."""
    allowed = allowed_tokens(prompter.tokenizer)
    generator = torch.Generator().manual_seed(seed)
    found: list[TokenIds] = []
    for _ in range(tries * count):
        drawn = allowed[torch.randint(len(allowed), (length,), generator=generator)]
        ids = tuple(drawn.tolist())
        if all(prompter.survives(probe, ids) for probe in probes):
            found.append(ids)
            if len(found) == count:
                return found
    raise NotServed(
        f"random candidates must survive in every probe; got {len(found)} of {count} at length {length}; use fewer probes"
    )


def split_probes(
    prompter: Prompter, probes: Sequence[Probe], searched: int, held_out: int
) -> tuple[tuple[Probe, ...], tuple[Probe, ...]]:
    """Probes to search on, those with the fewest ids after their slot (all that a candidate costs), and others to confirm on.

    Only probes with text before their slot, where a candidate is always set off by a space. Raises NotServed for too few.
    """
    fitting = [probe for probe in probes if probe.before]
    if len(fitting) < searched + 1:
        raise NotServed(
            f"a scan needs {searched + 1} probes with text before their slot; got {len(fitting)} of {len(probes)} at the "
            "probe set; give more with --probes FILE"
        )
    ordered = sorted(fitting, key=lambda probe: len(prompter.open(probe).after))
    return tuple(ordered[:searched]), alike_probes(prompter, ordered[searched:], held_out)


def measure_effects(
    pair: Pair,
    probes: Sequence[OpenPrompt],
    candidates: Sequence[TokenIds],
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Effects:
    """Every candidate in every probe, on both models (experiments 1b, 13, 13b); equal to one-by-one within 1e-4 nats.

    With a journal, work that was killed resumes at its last chunk and ends with the uninterrupted result. The journal then
    holds it for whoever asks again; remove it when the result is elsewhere. Raises BadInput without probes or candidates,
    for an empty candidate, and where the context is too short.
    """
    if not probes or not candidates or not all(candidates):
        raise BadInput(
            f"a scan needs probes and candidates of at least one id; got {len(probes)} probes and {len(candidates)} "
            f"candidates, {sum(not candidate for candidate in candidates)} empty, at pair {pair.name}; give some"
        )
    chunks = effect_chunks(len(probes), candidates)
    with kept_steps(journal, {} if journal is None else effects_key(pair, probes, candidates)) as step:
        return joined_effects(chunks, measure_chunks(pair, probes, candidates, chunks, step, progress))


def effect_chunks(probes: int, candidates: Sequence[TokenIds]) -> tuple[EffectChunk, ...]:
    """The chunks in which candidates are measured in so many probes: probe by probe, candidates of one length together."""
    groups = list(equal_length_batches([len(candidate) for candidate in candidates], CANDIDATES_A_CHUNK))
    return tuple(EffectChunk(probe, tuple(group)) for probe in range(probes) for group in groups)


def measure_chunks(
    pair: Pair,
    probes: Sequence[OpenPrompt],
    candidates: Sequence[TokenIds],
    chunks: Sequence[EffectChunk],
    step: JournalStep = unkept,
    progress: Progress | None = None,
) -> list[ChunkValues]:
    """The values of some chunks of `effect_chunks`, to the last bit as among all of them, a journal's step each.

    Raises NotServed where the context is too short for one.
    """
    closed = [probes[chunk.probe].close(candidates[chunk.candidates[0]]).ids for chunk in chunks]
    checked_prompts(pair.models.base(), closed)
    total, done = sum(len(chunk.candidates) for chunk in chunks), 0

    @lru_cache(maxsize=2)  # both models' for the probe at hand
    def started(probe: int, role: str) -> tuple[Prefix, Tensor]:
        return _start(_model(pair, role), probes[probe])

    measured = []
    for chunk in chunks:
        given = [candidates[index] for index in chunk.candidates]
        measured.append(step(partial(_measure, pair, probes[chunk.probe], given, partial(started, chunk.probe))))
        done += len(chunk.candidates)
        if progress is not None:
            progress(done, total)
    return measured


def joined_effects(chunks: Sequence[EffectChunk], measured: Sequence[ChunkValues]) -> Effects:
    """All candidates' effects in all probes, from the values of all chunks, in one order."""
    probes = 1 + max(chunk.probe for chunk in chunks)
    candidates = 1 + max(index for chunk in chunks for index in chunk.candidates)
    values = {metric: torch.zeros(probes, candidates, dtype=torch.float64) for metric in SCANNED}
    for chunk, found in zip(chunks, measured, strict=True):
        for metric in SCANNED:
            values[metric][chunk.probe, list(chunk.candidates)] = torch.tensor(found[metric], dtype=torch.float64)
    return Effects(values)


def effects_key(pair: Pair, probes: Sequence[OpenPrompt], candidates: Sequence[TokenIds]) -> dict[str, object]:
    """What determines the effects, for a journal."""
    ids = [(probe.before, probe.after, probe.plain) for probe in probes]
    return {
        "effects of": pair.fingerprint,
        "dtype": pair.models.run_config.precision,
        "probes": sha256(repr(ids).encode()).hexdigest(),
        "candidates": sha256(repr(list(candidates)).encode()).hexdigest(),
    }


def _measure(
    pair: Pair,
    probe: OpenPrompt,
    candidates: Sequence[TokenIds],
    started: Callable[[str], tuple[Prefix, Tensor]],
) -> dict[str, list[float]]:
    # Each model does its part in one go: under residency "swap" the other has left the device.
    (dormant, dormant_plain), (base, base_plain) = (
        (_filled_logits(_model(pair, role), probe, started(role)[0], candidates), started(role)[1])
        for role in ("dormant", "base")
    )
    base, base_plain = base.to(dormant.device), base_plain.to(dormant.device)  # where each model has its own GPU
    # Each log-softmax is taken once: the plain rows', a probe's, serve all candidates.
    dormant_plain, base_plain = log_probabilities(dormant_plain), log_probabilities(base_plain)
    without = kl_of(dormant_plain, base_plain)
    rows: dict[str, list[float]] = {metric: [] for metric in SCANNED}
    step = max(1, COMPARED_LOGITS // dormant.shape[-1])
    for at in range(0, len(candidates), step):
        d, b = (log_probabilities(logits[at : at + step]) for logits in (dormant, base))
        rows["kl"] += (kl_of(d, b) - without).tolist()
        # how much further a candidate moves the dormant model than the base
        rows["difference-in-differences"] += (kl_of(d, dormant_plain) - kl_of(b, base_plain)).tolist()
    return rows


def _model(pair: Pair, role: str) -> PreTrainedModel:
    return pair.models.dormant() if role == "dormant" else pair.models.base()


def _start(model: PreTrainedModel, probe: OpenPrompt) -> tuple[Prefix, Tensor]:
    """What all candidates share: the ids before the slot (none, where a template begins with the user's words), and the plain
    sentence's logits [1, vocabulary], on the device."""
    return stored_prefix(model, probe.before), batch_logits(model, [probe.plain]).to(model.device)


def _filled_logits(
    model: PreTrainedModel, probe: OpenPrompt, prefix: Prefix, candidates: Sequence[TokenIds]
) -> Tensor:  # [candidate, vocabulary]
    """Logits at the generation position with each candidate, all of one length: float32, on the device."""
    after = torch.tensor(probe.after, dtype=torch.long)
    answers = []
    for rows in torch.tensor(candidates).split(CANDIDATES_A_PASS):
        ids = torch.cat((rows, after.expand(len(rows), -1)), dim=1)
        answers.append(logits_behind(model, prefix, ids)[:, -1].float())
    return torch.cat(answers)
