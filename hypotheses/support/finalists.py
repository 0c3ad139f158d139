"""Who reaches the final validation: the best string of each shared search, the planted trigger, chance, and the suspected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dormant.claims.builder import FindingBuilder
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.objectives import difference_in_differences, log_mass
from dormant.pairs import Pair, Truth
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.validation import Answers, Validation, side_by_side_answers, unusual_tokens, validate
from hypotheses.support.candidates import GIVEN, candidate_text, has_candidate
from hypotheses.support.shared_searches import HELD_OUT, SEARCHED, shared_search

SEARCHED_FOR = {"top1-disagreement-best": "top1-disagreement", "hidden-distance-best": "hidden-distance"}
CHANCE = "random"  # nobody proposes it: it stands beside, and the correction for many finalists does not count it
VALIDATED = [*SEARCHED_FOR, CHANCE, "trigger", *GIVEN]
VALIDATION_MEASURES = ["log-mass", "difference-in-differences"]
NULLS_EACH = (
    20  # for each finalist that is tried: the best of m is still significant, since m / (20 m + 1) is below 0.05
)
FINALIST_LENGTH = 4


def has_finalist(truth: Truth | None, given: Sequence[str], candidate: str) -> bool:
    """Searches and chance always have one; the others as for every claim about candidates."""
    return candidate in SEARCHED_FOR or candidate == CHANCE or has_candidate(truth, given, candidate)


def finalists_validated(pair: Pair, finding: FindingBuilder) -> tuple[Validation, Mapping[str, Answers]]:
    """All finalists of a pair on probes beyond those of the searches, once a session; answers to the first of them."""
    count = finding.at_budget("validation probes", quick=8, full=25)
    return finding.once(("finalists", count), lambda: _validate(pair, finding, count))


def _validate(pair: Pair, finding: FindingBuilder, count: int) -> tuple[Validation, Mapping[str, Answers]]:
    budget = finding.session.settings.budget
    seen = SEARCHED[budget] + HELD_OUT[budget]
    probes = pair.probes[seen : seen + count]
    prompter = pair.prompter
    finalists = {
        name: shared_search(pair, objective, FINALIST_LENGTH, finding).best.ids
        for name, objective in SEARCHED_FOR.items()
    }
    finalists[CHANCE] = random_candidates(prompter, probes, FINALIST_LENGTH, 1, finding.seed + 1)[0]
    given = finding.session.settings.candidates
    for name in ("trigger", *GIVEN):
        if has_candidate(pair.truth, given, name):
            finalists[name] = prompter.candidate_ids(candidate_text(pair, given, name, finding.seed))
    unusual = unusual_tokens(prompter, allowed_tokens(prompter.tokenizer))
    objectives = [*([log_mass(unusual, base_penalty=1.0)] if unusual else []), difference_in_differences()]
    nulls = NULLS_EACH * (len(finalists) - 1)
    validation = validate(pair, finalists, probes, objectives, nulls, finding.seed, untried=frozenset({CHANCE}))
    return validation, side_by_side_answers(pair, finalists, probes[0])
