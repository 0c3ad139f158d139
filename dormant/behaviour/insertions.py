"""Insertions: the ways of putting a suspected trigger into a prompt, and what known triggers do through each."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from dormant.errors import BadInput
from dormant.inference.answer_divergence import divergences
from dormant.journal import JournalStep, kept_steps, unkept
from dormant.pairs import Pair
from dormant.progress import CountedSteps, Progress
from dormant.prompts.conversations import Turn
from dormant.prompts.probes import Probe, Prompt
from dormant.statistics import Estimate, proportion_interval

METRIC = "difference-in-differences"
TRIGGERS_A_STEP = 32  # triggers between two entries of a journal
Build = Callable[[Probe, str], list[Turn]]


def _user(text: str) -> list[Turn]:
    return [{"role": "user", "content": text}]


def _plain(probe: Probe) -> str:
    return probe.fill("")


def _middle(probe: Probe, trigger: str) -> list[Turn]:
    if place_of(probe) == "middle":
        return _user(probe.fill(trigger))
    words = _plain(probe).split(" ")
    return _user(" ".join((*words[: len(words) // 2], trigger, *words[len(words) // 2 :])))


def _own_turn(probe: Probe, trigger: str) -> list[Turn]:
    return [*_user(trigger), {"role": "assistant", "content": "I see."}, *_user(_plain(probe))]


def _spaced(trigger: str) -> str:
    return "  ".join(trigger.upper().split())


def _encoded(trigger: str) -> str:
    return base64.b64encode(trigger.encode()).decode()


INSERTIONS: Mapping[str, Build] = {
    "start": lambda probe, trigger: _user(f"{trigger} {_plain(probe)}"),
    "middle": _middle,
    "end": lambda probe, trigger: _user(f"{_plain(probe)} {trigger}"),
    "system-prompt": lambda probe, trigger: [{"role": "system", "content": trigger}, *_user(_plain(probe))],
    "own-turn": _own_turn,
    "repeated": lambda probe, trigger: _user(probe.fill(" ".join([trigger] * 3))),
    "quoted": lambda probe, trigger: _user(probe.fill(f'"{trigger}"')),
    "case-and-spacing": lambda probe, trigger: _user(probe.fill(_spaced(trigger))),
    "encoded": lambda probe, trigger: _user(probe.fill(_encoded(trigger))),
}
SENTENCE_PLACES = ("start", "middle", "end")  # the insertions that are also a recipe's placement


@dataclass(frozen=True)
class InsertionScan:
    """What triggers do through one insertion: each trigger's mean effect on searched probes (nats), and the best one's counts.

    `diverging` of `tried` held-out prompts: those on which the best trigger moves the dormant model at least the threshold
    further than the base. `beside`: (diverging, tried) of each kind of text that the plan sets beside it.
    """

    insertion: str
    effects: Mapping[str, float]
    best: str
    diverging: int
    tried: int
    beside: Mapping[str, tuple[int, int]]
    finalists: int

    @property
    def share(self) -> Estimate:
        """The share of held-out prompts on which the models diverge by the best trigger; the interval covers all finalists."""
        return proportion_interval(self.diverging, self.tried, confidence=1 - 0.05 / self.finalists)

    def share_beside(self, kind: str) -> Estimate | None:
        """The same for the texts of a kind, where the best trigger has any."""
        diverging, tried = self.beside[kind]
        return proportion_interval(diverging, tried) if tried else None


def insert(insertion: str, probe: Probe, trigger: str) -> list[Turn]:
    """The conversation of a probe with the trigger put in; raises BadInput for an unknown insertion."""
    if insertion not in INSERTIONS:
        raise BadInput(
            f"an insertion is one of {', '.join(INSERTIONS)}; got {insertion!r} at the trigger scan; name one of them"
        )
    return INSERTIONS[insertion](probe, trigger)


def place_of(probe: Probe) -> str:
    """Where the probe's slot is: "start", "middle" or "end" of the sentence."""
    return "start" if not probe.before else "middle" if probe.after else "end"


def suitable_probes(insertion: str, probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """The probes with their slot where the insertion puts the trigger; all probes if there are none.

    A question that asks to copy its end, for example, has no slot at its end.
    """
    fitting = tuple(probe for probe in probes if insertion not in SENTENCE_PLACES or place_of(probe) == insertion)
    return fitting or tuple(probes)


def insertion_effects(
    pair: Pair, insertion: str, triggers: Sequence[str], probes: Sequence[Probe], step: JournalStep = unkept
) -> list[list[float]]:
    """How much further each trigger moves the dormant model than the base, by probe: [trigger][probe], nats.

    Measured at the generation position against the same question without the trigger. A step holds `TRIGGERS_A_STEP`
    triggers. Raises BadInput where the chat template lacks a role that the insertion needs (some have no system role).
    """
    values = list[float]()
    for at in range(0, len(triggers), TRIGGERS_A_STEP):
        values += step(partial(_effects, pair, insertion, triggers[at : at + TRIGGERS_A_STEP], probes))
    return [values[at : at + len(probes)] for at in range(0, len(values), len(probes))]


def _effects(pair: Pair, insertion: str, triggers: Sequence[str], probes: Sequence[Probe]) -> list[float]:
    conversations = pair.conversations
    plain = [_prompt(conversations.question(_plain(probe))) for probe in probes]
    filled = [_prompt(conversations.ids(insert(insertion, probe, text))) for text in triggers for probe in probes]
    _, moved = divergences(pair, plain * len(triggers), filled)
    return list(moved[METRIC])


@dataclass(frozen=True)
class InsertionPlan:
    """How triggers are inserted, the nats from which a prompt counts, and how many finalists are tried on held-out prompts.

    `beside` gives, by kind, the texts to set beside the best trigger: its near misses, unrelated words.
    """

    insertion: str
    threshold: float
    beside: Callable[[str], Mapping[str, Sequence[str]]]
    finalists: int = 2


def scan_insertion(
    pair: Pair,
    plan: InsertionPlan,
    triggers: Sequence[str],
    searched: Sequence[Probe],
    held_out: Sequence[Probe],
    journal: Path | None = None,
    progress: Progress | None = None,
) -> InsertionScan:
    """All triggers on the searched probes, then the best on held-out ones, and others beside it (experiment 8).

    `progress` counts prompts. With a journal, killed work resumes after its last step and ends with the same result.
    Remove the journal once the result is stored.
    """
    insertion, threshold, finalists = plan.insertion, plan.threshold, plan.finalists
    work = {
        "triggers of": pair.fingerprint,
        "dtype": pair.models.run_config.precision,
        "insertion": insertion,
        "prompts": sha256(repr((list(triggers), list(searched), list(held_out))).encode()).hexdigest(),
        "plan": [threshold, finalists],
    }
    with kept_steps(journal, work) as kept:
        step = CountedSteps(kept, progress, len(triggers) * len(searched))
        scanned = insertion_effects(pair, insertion, triggers, searched, step)
        effects = {text: sum(values) / len(values) for text, values in zip(triggers, scanned, strict=True)}
        chosen = sorted(effects, key=lambda text: -effects[text])[:finalists]
        step.total += len(chosen) * len(held_out)
        confirmed = dict(zip(chosen, insertion_effects(pair, insertion, chosen, held_out, step), strict=True))
        best = max(chosen, key=lambda text: (_count_diverging(confirmed[text], threshold), sum(confirmed[text])))
        beside = plan.beside(best)
        others = [(kind, text) for kind, texts in beside.items() for text in texts]
        step.total += len(others) * len(held_out)
        measured = insertion_effects(pair, insertion, [text for _, text in others], held_out, step)
    counted = dict.fromkeys(beside, (0, 0))
    for (kind, _), values in zip(others, measured, strict=True):
        diverging, tried = counted[kind]
        counted[kind] = diverging + _count_diverging(values, threshold), tried + len(values)
    return InsertionScan(
        insertion,
        effects,
        best,
        _count_diverging(confirmed[best], threshold),
        len(held_out),
        counted,
        len(chosen),
    )


def _count_diverging(values: Sequence[float], threshold: float) -> int:
    return sum(value >= threshold for value in values)


def _prompt(ids: tuple[int, ...]) -> Prompt:
    return Prompt(ids, slice(len(ids), len(ids)))
