"""FindingBuilder: collects the figures, controls and pictures of a claim and makes the finding of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dormant.claims.claim import Claim
from dormant.claims.decision import Floor, beats, decide
from dormant.claims.finding import Control, Figure, Finding, Parameter, PromptEffects, Rule, Verdict, make_figure
from dormant.inference.horizon import Horizon
from dormant.progress import Progress
from dormant.statistics import Estimate, Values, paired_p

if TYPE_CHECKING:
    import matplotlib.figure

    from dormant.claims.session_state import ClaimSession
    from dormant.pairs import Pair
    from dormant.prompts.probes import Probe

Value = TypeVar("Value")


class FindingBuilder:
    """The argument `finding` of a claim's function.

    `decide` gives the deciding figure, `figure` a further one, `control` the same measurement where there can be no effect,
    `floor` what arithmetic does to the effect, `picture` a matplotlib figure. The claim fixed the rules before; nothing here
    can change them.
    """

    def __init__(self, claim: Claim, pair: Pair, parameters: Mapping[str, Parameter], session: ClaimSession):
        """A finding of one claim about one pair, with the parameters of the test."""
        self.claim, self.pair, self.parameters, self.session = claim, pair, dict(parameters), session
        self.seed = session.settings.seed
        self.pictures: dict[str, matplotlib.figure.Figure] = {}
        self.notes: list[str] = []
        self._deciding: tuple[Rule, Figure] | None = None
        self._figures: list[Figure] = []
        self._controls: list[tuple[str, Figure, bool | None]] = []
        self._unable: str | None = None
        self._floor: Floor | None = None
        self._plan: dict[str, str] = {}
        self._tolerance_because = ""
        self._effects: PromptEffects | None = None

    def decide(
        self,
        estimate: Estimate,
        name: str = "",
        reading: str = "",
        tolerance: float | None = None,
        tolerance_because: str = "",
    ) -> None:
        """The figure that decides the claim; `reading` chooses the rule if the claim has several.

        On another machine it may drift by `tolerance`, but no further than half of the way to the threshold or to a control,
        unless `tolerance_because` says why other kernels move it further (a search whose path forks).
        """
        if self._deciding is not None:
            raise ValueError(f"a claim must call finding.decide(...) once; {self.claim.id} called it twice")
        rule, self._tolerance_because = self.claim.rules[reading], tolerance_because
        self._deciding = (rule, self._make(name or reading or self.claim.id, estimate, rule.unit, tolerance))

    def figure(self, name: str, estimate: Estimate, unit: str, tolerance: float | None = None) -> None:
        """A further figure: it is recorded and compared with the ledger, but does not decide."""
        self._figures.append(self._make(name, estimate, unit, tolerance))

    def control(self, name: str, estimate: Estimate, beaten: bool | None = None, unit: str | None = None) -> None:
        """A control that the deciding figure must beat: by default its whole interval must lie beyond the control's."""
        if name not in self.claim.controls:
            raise ValueError(f"{self.claim.id} declares the controls {self.claim.controls}; got {name!r}")
        self._controls.append((name, self._make(name, estimate, unit or self._rule.unit, None), beaten))

    def floor(self, effect: Values, noise: Values, unit: str = "nats", probes: Sequence[Probe] = ()) -> None:
        """The claim's own effect by prompt, and the same measurement of `pair.against_itself`: arithmetic alone.

        An effect that does not exceed its floor supports nothing (`decide`). The floor is recorded as a figure. Where `probes`
        names the prompts, the finding keeps the effect by prompt, so that two runs can be compared in pairs.
        """
        effects, noises = (np.asarray(values, dtype=np.float64) for values in (effect, np.abs(noise)))
        if len(probes) == effects.size and np.isfinite(effects).all():
            self._effects = PromptEffects.of(effects.tolist(), [probe.text for probe in probes], unit)
        middle = float(np.median(noises))
        self._floor = Floor(float(np.median(effects)), middle, unit, paired_p(effects, noises))
        spread = Estimate(
            middle, float(noises.min()), float(noises.max()), noises.size, "median and range over prompts"
        )
        self.figure("noise floor", spread, unit, tolerance=9 * middle + 1e-6)  # rounding differs by processor

    def inconclusive(self, reason: str, estimate: Estimate | None = None, reading: str = "") -> None:
        """The claim cannot be decided on this pair, whatever its figure; `reason` is a sentence."""
        self._unable = reason
        if estimate is not None:
            self.decide(estimate, reading=reading)

    def picture(self, name: str, figure: matplotlib.figure.Figure) -> None:
        """A picture for the report, saved as PNG under `name`."""
        self.pictures[name] = figure

    def note(self, sentence: str) -> None:
        """A sentence that is added to the verdict's reason."""
        self.notes.append(sentence)

    def at_budget(self, name: str, quick: Value, full: Value) -> Value:
        """The amount of work that the budget allows; what ran is kept in the finding's plan."""
        value = full if self.session.settings.budget == "full" else quick
        self._plan[name] = str(value)
        return value

    def reads(self, horizon: Horizon) -> Horizon:
        """How much of an answer the claim's divergences read; it is kept in the finding's plan."""
        self._plan["horizon"] = str(horizon)
        return horizon

    def once(self, key: tuple[Any, ...], compute: Callable[[], Value], pair: Pair | None = None) -> Value:
        """The result of a computation that several claims on this pair (or `pair`) share, done once a session.

        The key names the computation and its settings. The result must not hold a model, which could then not be freed.
        """
        return self.session.remember(((pair or self.pair).name, *key), compute)

    def journal(self, work: str, pair: str = "") -> Path | None:
        """The journal of long work, from which a killed session resumes; None for the quick budget."""
        if self.session.journals is None:
            return None
        path = self.session.journals / f"{pair or self.pair.name}-{work}.jsonl"
        self.session.kept.add(path)
        return path

    def progress(self, work: str, unit: str) -> AbstractContextManager[Progress]:
        """A progress bar for long work: call it with the amount done and the total."""
        shown = self.session.progress
        return (
            nullcontext(lambda done, total, remark="": None)
            if shown is None
            else shown(f"{self.pair.name}, {work}", unit)
        )

    def control_pair(self) -> AbstractContextManager[Pair | None]:
        """The clean twin's pair, open inside the `with`; None if the pair has no twin."""
        if self.session.control_pair is None:
            return nullcontext()
        return self.session.control_pair(self.pair.name)

    @property
    def _rule(self) -> Rule:
        if self._deciding is None:
            raise ValueError(
                f"a claim must call finding.decide(...) before finding.control(...); {self.claim.id} did not"
            )
        return self._deciding[0]

    def _make(self, name: str, estimate: Estimate, unit: str, tolerance: float | None) -> Figure:
        if tolerance is None:  # Rounding and another processor for exact figures; resampling for sampled ones.
            tolerance = 1e-6 + 0.02 * abs(estimate.value) + (estimate.high - estimate.low) / 2
        return make_figure(name, estimate, unit, tolerance)

    @property
    def _attention(self) -> dict[str, str]:
        return {"attention": self.pair.attention} if self.claim.needs == "models" else {}

    def settle(self, premises: Mapping[str, Verdict], pictures: tuple[str, ...] = ()) -> Finding:
        """The finding; raises ValueError if the claim's function decided nothing."""
        if self._deciding is None:
            raise ValueError(f"a claim must call finding.decide(...); {self.claim.id} did not")
        rule, figure = self._deciding
        controls = tuple(
            Control(name, measured, beats(rule, figure, measured) if beaten is None else beaten)
            for name, measured, beaten in self._controls
        )
        verdict, reason = decide(rule, figure, controls, premises, self._floor)
        if self._unable is not None and verdict is not Verdict.INVALID:
            verdict, reason = Verdict.INCONCLUSIVE, self._unable
        return Finding(
            claim=self.claim.id,
            sentence=self.claim.sentence,
            source=self.claim.source,
            parameters=self.parameters,
            pair=self.pair.name,
            fingerprint=self.pair.fingerprint,
            rule=rule,
            figures=(figure, *self._figures),
            verdict=verdict,
            reason="; ".join([reason, *self.notes]),
            premises=dict(premises),
            controls=controls,
            pictures=pictures,
            provenance={**self.session.provenance, **self._attention},
            plan=dict(self._plan),
            tolerance_because=self._tolerance_because,
            told=self.claim.is_told(self.parameters),
            effects=self._effects,
        )
