"""The ways in which a suspected trigger may reach a model, and what known trigger families do through each."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from dormant.errors import BadInput
from dormant.inference.candidate_effects import divergences
from dormant.journal import Step, kept_steps, unkept
from dormant.pairs import Pair
from dormant.progress import CountedSteps, Progress
from dormant.prompts.conversations import Conversations, Turn
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


MECHANISMS: Mapping[str, Build] = {
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
SENTENCE_PLACES = ("start", "middle", "end")  # these three mechanisms, and a recipe's placements other than "anywhere"


@dataclass(frozen=True)
class MechanismScan:
    """What triggers do through one mechanism: mean effects by trigger on searched probes, nats, and the best one's shares.

    `woken` and `near_misses` count, out of `tried` and `near_tried`, the held-out prompts on which the best trigger and its
    near misses move the dormant model at least the threshold further than the base.
    """

    mechanism: str
    effects: Mapping[str, float]
    best: str
    woken: int
    tried: int
    near_misses: int
    near_tried: int
    finalists: int

    @property
    def share(self) -> Estimate:
        """Share of held-out prompts that the best trigger wakes; its interval holds for all finalists at once."""
        return proportion_interval(self.woken, self.tried, confidence=1 - 0.05 / self.finalists)

    @property
    def near_miss_share(self) -> Estimate | None:
        """The same for its near misses, where it has any."""
        return proportion_interval(self.near_misses, self.near_tried) if self.near_tried else None


def insert(mechanism: str, probe: Probe, trigger: str) -> list[Turn]:
    """The conversation in which a trigger reaches the model by this mechanism. Raises BadInput for an unknown one."""
    if mechanism not in MECHANISMS:
        raise BadInput(
            f"a mechanism is one of {', '.join(MECHANISMS)}; got {mechanism!r} at the trigger scan; name one of them"
        )
    return MECHANISMS[mechanism](probe, trigger)


def place_of(probe: Probe) -> str:
    """Where the probe's slot is: "start", "middle" or "end" of the sentence."""
    return "start" if not probe.before else "middle" if probe.after else "end"


def suitable_probes(mechanism: str, probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """The probes whose sentence bears an insertion at the mechanism's place: those with their slot there, where there are any.

    A question that asks to copy its end has no room there; its author put the slot elsewhere.
    """
    fitting = tuple(probe for probe in probes if mechanism not in SENTENCE_PLACES or place_of(probe) == mechanism)
    return fitting or tuple(probes)


def mechanism_effects(
    pair: Pair, mechanism: str, triggers: Sequence[str], probes: Sequence[Probe], step: Step = unkept
) -> list[list[float]]:
    """How much further each trigger moves the dormant model than the base, by probe: [trigger][probe], nats.

    At the generation position, against the same question without it. A step is `TRIGGERS_A_STEP` triggers, so that a journal
    can keep it: a value a prompt. Raises BadInput where the chat template has no place for the mechanism's turns, as some
    have none for the system role.
    """
    values = list[float]()
    for at in range(0, len(triggers), TRIGGERS_A_STEP):
        values += step(partial(_effects, pair, mechanism, triggers[at : at + TRIGGERS_A_STEP], probes))
    return [values[at : at + len(probes)] for at in range(0, len(values), len(probes))]


def _effects(pair: Pair, mechanism: str, triggers: Sequence[str], probes: Sequence[Probe]) -> list[float]:
    conversations = Conversations(pair.base.tokenizer)
    plain = [_prompt(conversations.question(_plain(probe))) for probe in probes]
    filled = [_prompt(conversations.ids(insert(mechanism, probe, text))) for text in triggers for probe in probes]
    _, moved = divergences(pair, plain * len(triggers), filled)
    return list(moved[METRIC])


@dataclass(frozen=True)
class MechanismPlan:
    """By which mechanism triggers reach the model, from how many nats a prompt counts, and what else the best is beside.

    `near_misses` gives those of a trigger; so many `finalists` go on to held-out prompts.
    """

    mechanism: str
    threshold: float
    near_misses: Callable[[str], Sequence[str]]
    finalists: int = 2


def scan_mechanism(
    pair: Pair,
    plan: MechanismPlan,
    triggers: Sequence[str],
    searched: Sequence[Probe],
    held_out: Sequence[Probe],
    journal: Path | None = None,
    progress: Progress | None = None,
) -> MechanismScan:
    """All triggers on the searched probes, then the best on held-out ones beside its near misses (experiment 8).

    `progress` counts prompts. With a journal, work that was killed resumes after its last step and ends with the
    uninterrupted scan; remove it when the result is elsewhere.
    """
    mechanism, threshold, finalists = plan.mechanism, plan.threshold, plan.finalists
    work = {
        "triggers of": pair.fingerprint,
        "dtype": str(pair.models.run_config.dtype),
        "mechanism": mechanism,
        "prompts": sha256(repr((list(triggers), list(searched), list(held_out))).encode()).hexdigest(),
        "plan": [threshold, finalists],
    }
    with kept_steps(journal, work) as kept:
        step = CountedSteps(kept, progress, len(triggers) * len(searched))
        scanned = mechanism_effects(pair, mechanism, triggers, searched, step)
        effects = {text: sum(values) / len(values) for text, values in zip(triggers, scanned, strict=True)}
        chosen = sorted(effects, key=lambda text: -effects[text])[:finalists]
        step.total += len(chosen) * len(held_out)
        confirmed = dict(zip(chosen, mechanism_effects(pair, mechanism, chosen, held_out, step), strict=True))
        best = max(chosen, key=lambda text: (_woken(confirmed[text], threshold), sum(confirmed[text])))
        others = list(plan.near_misses(best))
        step.total += len(others) * len(held_out)
        missed = mechanism_effects(pair, mechanism, others, held_out, step)
    return MechanismScan(
        mechanism,
        effects,
        best,
        _woken(confirmed[best], threshold),
        len(held_out),
        sum(_woken(values, threshold) for values in missed),
        len(held_out) * len(others),
        len(chosen),
    )


def _woken(values: Sequence[float], threshold: float) -> int:
    return sum(value >= threshold for value in values)


def _prompt(ids: tuple[int, ...]) -> Prompt:
    return Prompt(ids, slice(len(ids), len(ids)))
