"""The premises: claims that must hold on a pair for other claims to mean anything there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dormant.behaviour.noise_floor import noise_floors
from dormant.catalogue import name_of_checkpoint
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.tensor_names import is_embedding
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, at_most, claim, claim_of
from dormant.claims.finding import Finding, Verdict
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import entropy_over_prompts
from dormant.pictures.measurements import noise_floor
from dormant.pictures.weights import tensor_relative_deltas
from dormant.prompts.probes import Prompter, geometry_faults
from dormant.statistics import ONE_BIT, exact, jackknife_interval
from dormant.weights.parents import PARENT_AT_MOST, descent
from dormant.weights.report_summary import relative_delta
from dormant.weights.tensor_matching import survey_checkpoint

if TYPE_CHECKING:
    from dormant.claims.session_state import ClaimSession
    from dormant.pairs import Pair

NEARER = "nearer relative"
OPEN_FROM = 0.1  # nats; see `next-token-open`
Measure = Callable[["Pair", FindingBuilder], None]
PREMISES: dict[str, Measure] = {}


def premise(id: str, **declaration: Any) -> Callable[[Measure], Measure]:
    """Make a function a claim that others may name as their premise; it takes `pair` and `finding` and runs once a pair."""

    def decorate(measure: Measure) -> Measure:
        PREMISES[id] = claim(id, **declaration)(measure)
        return PREMISES[id]

    return decorate


def premise_finding(id: str, pair: Pair, session: ClaimSession) -> tuple[Finding, dict[str, Any]]:
    """The premise's finding on this pair, and its pictures; measured at the first call.

    Raises BadInput for an unknown premise and ValueError for premises that depend on each other.
    """
    if (id, pair.name) in session.underway:
        chain = " -> ".join(id for id, _ in session.underway)
        raise ValueError(f"premises must not depend on each other; got {chain} -> {id}")
    session.underway.append((id, pair.name))
    try:
        return session.remember((pair.name, "premise", id), lambda: _measure(id, pair, session))
    finally:
        session.underway.pop()


def premise_verdicts(premises: Sequence[str], pair: Pair, session: ClaimSession) -> dict[str, Verdict]:
    """The verdicts of a claim's premises on this pair."""
    return {id: premise_finding(id, pair, session)[0].verdict for id in premises}


def settle(builder: FindingBuilder) -> Finding:
    """The finding of a claim that has measured, under its premises' verdicts; the reason says why a premise failed."""
    claim, pair, session = builder.claim, builder.pair, builder.session
    findings = {id: premise_finding(id, pair, session)[0] for id in claim.premises}
    for id, found in findings.items():
        if found.verdict in (Verdict.REFUTED, Verdict.INVALID):
            builder.note(f"{id}: {found.reason}")
    return builder.settle({id: found.verdict for id, found in findings.items()})


def _measure(id: str, pair: Pair, session: ClaimSession) -> tuple[Finding, dict[str, Any]]:
    declared = claim_of(PREMISES.get(id))
    if declared is None:
        raise BadInput(
            f"a premise must be one of {', '.join(PREMISES)}; got {id!r} at pair {pair.name}; correct the claim"
        )
    builder = FindingBuilder(declared, pair, {}, session)
    PREMISES[id](pair, builder)
    return settle(builder), builder.pictures


@premise(
    "base-is-parent",
    source="FACTS 1",
    needs="deltas",
    controls=[NEARER],
    rule=at_most(
        PARENT_AT_MOST,
        "of the base's norm",
        because="an adapter changes matrices by 0.010-0.016 of their norm, and the closest matrix of the published wrong base "
        "differs by 0.436: 0.2 is ten times the first and half the second",
    ),
)
def base_is_parent(pair: Pair, finding: FindingBuilder) -> None:
    """The named base is the checkpoint that the dormant model was fine-tuned from.

    Figure: the median of the relative Frobenius norms of all matrices' deltas; an identical matrix counts as 0 and an
    unpublished one as far away. Other models at hand are asked too: from one that lies between base and dormant model the
    latter comes instead, and where they share a change that the base lacks, the base is a sibling or comes before the parent.
    """
    tensors = pair.delta_report.tensors
    finding.decide(exact(relative_delta(pair.delta_report)), name="median relative delta of matrices")
    identical = sum(delta.identical for delta in tensors.values())
    finding.figure("identical tensors", exact(identical / len(tensors)), "of all tensors")
    embedding = [delta for name, delta in tensors.items() if is_embedding(name)]
    if embedding and (embedding[0].identical or embedding[0].relative is not None):
        finding.figure("relative delta of the embedding", exact(embedding[0].relative or 0.0), "of the base's norm")
    if pair.kind == "weights":
        _ask_relatives(pair, finding)
    finding.picture("relative-deltas", tensor_relative_deltas(pair.delta_report, finding.claim.rules[""].threshold))


def _ask_relatives(pair: Pair, finding: FindingBuilder) -> None:
    own = {pair.base.location.resolve(), pair.dormant.location.resolve()}
    others = [
        other for other in map(_surveyed, finding.session.relatives) if other and other.location.resolve() not in own
    ]
    found = descent(pair.dormant, pair.base, others)
    if found.nearer is not None:
        finding.control(NEARER, exact(found.nearer.matrices), beaten=False)
        finding.note(f"{name_of_checkpoint(found.nearer.candidate)} lies between the base and the dormant model")
    if found.own is None:
        finding.note("fewer than two other relatives are at hand: a sibling so near would not be told from the parent")
        return
    finding.figure("moved by itself", exact(found.own), "of the squared distance", tolerance=0.05)
    if found.moved:
        finding.inconclusive(
            f"{found.own:.0%} of the squared distance is the base's own: other relatives share a change with the dormant "
            "model that the base lacks, as they do where it is a sibling or comes before the parent"
        )


def _surveyed(reference: str) -> Checkpoint | None:
    """The checkpoint, or None for what holds no whole weights (an adapter): it says nothing of another pair."""
    try:
        return survey_checkpoint(reference)[0]
    except BadInput:
        return None


@premise(
    "prompt-geometry",
    source="exp19 note, FACTS 3",
    needs="models",
    rule=at_most(
        0,
        "faulty prompts",
        because="figures mean nothing if one prompt's ids differ from the text that the report shows",
    ),
)
def prompt_geometry(pair: Pair, finding: FindingBuilder) -> None:
    """Every prompt ends at the generation position, contains the candidate once, and gives both models the same ids.

    A prompt is faulty if it lacks the generation prompt, if decoding and encoding change its ids, or if the two
    tokenizers give different ids.
    """
    candidates = [
        text for text in (pair.truth.trigger if pair.truth else "", *finding.session.settings.candidates) if text
    ]
    faults = [
        fault
        for probe in pair.probes
        for fault in geometry_faults(
            pair.prompter, Prompter(pair.dormant.tokenizer, pair.answer_opening), probe, ["", *candidates]
        )
    ]
    checked = len(pair.probes) * (1 + len(candidates))
    finding.decide(exact(len(faults), n=checked), name="faulty prompts")
    if faults:
        finding.note(faults[0])


@premise(
    "next-token-open",
    source="FACTS 4",
    needs="models",
    rule=at_least(
        OPEN_FROM,
        "nats",
        because="a token that has 0.99 on every prompt leaves 0.056 nats with a single alternative and 0.1 with a hundred: "
        "below, the base gives the template's next token and not an answer, and what a trigger changes stands further on",
    ),
)
def next_token_open(pair: Pair, finding: FindingBuilder) -> None:
    """At the generation position the base's next token depends on what is asked.

    Figure: the entropy of the base's next token when one of the ordinary prompts is drawn at random, which is that of their
    mean distribution: a base that is sure of another token on each prompt is as open as one that is unsure of all. The
    interval leaves out each prompt in turn.
    """
    count = finding.at_budget("probes", quick=24, full=200)
    prompts, itself = [pair.prompter.encode(probe) for probe in pair.probes[:count]], pair.against_itself
    logits = finding.once(("next token", count), lambda: batch_logits(pair.models.base(), prompts), pair=itself)
    entropy, without = entropy_over_prompts(logits)
    finding.decide(jackknife_interval(entropy, without.tolist()), name="entropy over prompts")
    probability, token = logits.softmax(-1).mean(0).max(-1)
    finding.note(f"the base's likeliest token is {pair.base.tokenizer.decode([int(token)])!r} with {probability:.2g}")
    if pair.answer_opening:
        opening = pair.base.tokenizer.decode(list(pair.answer_opening))
        finding.note(f"the position lies behind {opening!r}, with which both models begin every answer")


@premise(
    "above-noise-floor",
    source="FACTS 4",
    needs="models",
    rule=at_most(
        ONE_BIT,
        "nats",
        because="one bit is the least effect that claims in nats ask for: where arithmetic alone moves a prompt by as much, "
        "nothing measured there can be told from it",
    ),
)
def above_noise_floor(pair: Pair, finding: FindingBuilder) -> None:
    """The effects that claims ask for lie above what arithmetic alone does to the base on any prompt.

    Figure: the largest divergence, over prompts, of the base from itself in another batch, with padding or with another
    attention kernel, at the generation position. It says that the numbers of this pair, device and dtype can be used at all;
    each claim compares its own effect with its own floor.
    """
    prompts = [pair.prompter.encode(probe) for probe in pair.probes[: finding.at_budget("probes", quick=24, full=200)]]
    floors = finding.once(("floors", len(prompts)), lambda: noise_floors(pair, prompts), pair=pair.against_itself)
    largest = {name: max(values) for name, values in floors.items()}
    worst = max(largest.values())
    rounding = "the floor is rounding itself, which every processor does in its own way"
    finding.decide(
        exact(worst, n=len(prompts)), "largest noise floor", tolerance=9 * worst + 1e-6, tolerance_because=rounding
    )
    finding.picture("noise-floor", noise_floor(largest, ONE_BIT))
