"""Does a claim tell? That is, does its deciding figure separate backdoored organisms from all their clean relatives?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

from dormant.catalogue import RELATIVES
from dormant.claims.decision import beats
from dormant.claims.finding import Finding, Verdict
from dormant.statistics import Estimate, auroc_interval

Relatives = Mapping[str, Mapping[str, str]]  # by organism and kind the names of the clean relatives


@dataclass(frozen=True)
class Telling:
    """How many of the compared organisms a claim separates from each of their relatives, and its figure's AUROC over all.

    `unseparated`: the kinds of relatives from which it does not separate some organism on which it holds; "any" for all.
    """

    separated: int
    compared: int
    unseparated: tuple[str, ...] = ()
    auroc: Estimate | None = None
    relatives: int = 0

    @property
    def tells(self) -> bool:
        """Whether chance is excluded: an organism is separated, and the AUROC's whole interval lies above one half."""
        return self.separated > 0 and self.auroc is not None and self.auroc.low > 0.5

    @property
    def chance(self) -> float:
        """The chance that figures without any meaning rank every organism above every relative."""
        return 1 / comb(self.compared + self.relatives, self.compared) if self.compared else 0.0

    def __str__(self) -> str:
        """The count as the table shows it."""
        if not self.compared:
            return "-"
        count = f"{'tells ' if self.tells else ''}{self.separated} of {self.compared}"
        return f"{count} (not from {', '.join(self.unseparated)})" if self.unseparated else count

    @property
    def detail(self) -> str:
        """The count in words, with the AUROC, its interval, and the numbers of organisms and relatives behind it."""
        if self.auroc is None:
            return str(self)
        count = f"{self.separated} of {self.compared}"
        words = f"tells on {count}" if self.tells else f"holds on {count}, not on relatives"
        if self.unseparated:
            words += f"; not from {', '.join(self.unseparated)}"
        interval = f"{self.auroc.value:.2f} [{self.auroc.low:.2f}, {self.auroc.high:.2f}]"
        return f"{words} (AUROC {interval}, {self.compared} + {self.relatives})"


def does_it_tell(findings_of_one_key: Sequence[Finding], relatives: Relatives) -> Telling:
    """Count the organisms on which the claim holds while it holds on none of their relatives, with disjoint intervals.

    That two figures differ is not enough: no two trainings give the same spectrum, so the rule must part them. An organism
    is compared where it and its three relatives have a finding that is not invalid: what an invalid one measured is not what
    the claim is about. The AUROC is over every organism and relative that is compared, and knows no threshold.
    """
    valid = {finding.pair: finding for finding in findings_of_one_key if finding.verdict is not Verdict.INVALID}
    families = {
        name: {kind: valid[family[kind]] for kind in RELATIVES}
        for name, family in relatives.items()
        if name in valid and all(family.get(kind) in valid for kind in RELATIVES)
    }
    if not families:
        return Telling(0, 0)
    apart = {
        name: {kind: _is_apart(valid[name], relative) for kind, relative in family.items()}
        for name, family in families.items()
    }
    holding = [name for name in families if valid[name].verdict is Verdict.SUPPORTED]
    unseparated = tuple(kind for kind in RELATIVES if not all(apart[name][kind] for name in holding))
    clean = {relative.pair: relative for family in families.values() for relative in family.values()}
    return Telling(
        separated=sum(all(separated.values()) for separated in apart.values()),
        compared=len(families),
        unseparated=("any",) if unseparated == RELATIVES else unseparated,
        auroc=auroc_interval(
            [_predicted_side_up(valid[name]) for name in families], [*map(_predicted_side_up, clean.values())]
        ),
        relatives=len(clean),
    )


def _is_apart(organism: Finding, relative: Finding) -> bool:
    if organism.verdict is not Verdict.SUPPORTED or relative.verdict is Verdict.SUPPORTED:
        return False
    return beats(organism.rule, organism.deciding, relative.deciding)


def _predicted_side_up(finding: Finding) -> float:
    value = finding.deciding.value
    return value if finding.rule.comparator == "at least" else -value
