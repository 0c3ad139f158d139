"""A soft inversion of a pair with the row that it is compared to, and what its projections keep of its gains."""

from __future__ import annotations

from dataclasses import dataclass

from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import log_mass, named_objective
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.layer0 import read_layer0_pair
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.layer0_objective import Detector
from dormant.search.soft_inversion import Climbable, Inversion, InversionSettings, invert
from dormant.search.validation import unusual_tokens


@dataclass(frozen=True)
class SoftCampaign:
    """An inversion, its objective's unit, and the mean over probes of the empty row."""

    inversion: Inversion
    unit: str
    empty: float
    best_text: str

    def soft_gains(self) -> list[float]:
        """The highest soft value of each restart over the empty row."""
        return [self.inversion.soft.best(restart) - self.empty for restart in range(len(self.inversion.hard))]

    def hard_gains(self) -> list[float]:
        """What each restart's best projection gave over the empty row."""
        return [self.inversion.best(restart).value - self.empty for restart in range(len(self.inversion.hard))]

    def moved(self) -> list[float]:
        """The share of places whose token the last projection changed: a projection that stays has kept nothing to lose."""
        return [
            sum(now != then for now, then in zip(row[-1].ids, row[0].ids, strict=True)) / len(row[0].ids)
            for row in self.inversion.hard
        ]

    def kept(self, floor: float) -> list[float]:
        """Hard gain over soft gain, from 0 to 1, of the restarts whose soft gain reached `floor`."""
        gains = zip(self.hard_gains(), self.soft_gains(), strict=True)
        return [min(1.0, max(0.0, hard / soft)) for hard, soft in gains if soft >= floor]


def run_soft_inversion(pair: Pair, objective: str, settings: InversionSettings, probes: int) -> SoftCampaign:
    """Inverts an objective of `OBJECTIVES`, "log-mass" of the unusual tokens (experiment 16b) or "detector" (16)."""
    prompter = Prompter(pair.base.tokenizer)
    allowed = allowed_tokens(prompter.tokenizer)
    climbed: Climbable
    if objective == "detector":
        climbed = detector = Detector(read_layer0_pair(pair.base, pair.dormant))
        unit, empty = detector.unit, 0.0
    else:
        chosen = log_mass(unusual_tokens(prompter, allowed)) if objective == "log-mass" else named_objective(objective)
        evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in pair.probes[:probes]], chosen)
        climbed = SoftEvaluator(evaluator, sequential=pair.models.run_config.residency == "swap")
        unit, empty = chosen.unit, float(evaluator.empty().mean())
    inversion = invert(climbed, settings, allowed)
    best = max((inversion.best(restart) for restart in range(settings.restarts)), key=lambda point: point.value)
    return SoftCampaign(inversion, unit, empty, str(prompter.tokenizer.decode(list(best.ids))))
