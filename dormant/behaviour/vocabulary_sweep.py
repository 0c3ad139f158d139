"""The vocabulary sweep: the effect of every printable token, in several roles in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from dormant.behaviour.scan_finalists import FINALISTS_A_METRIC, Confirmed, confirm, found_by_scan, leading
from dormant.errors import BadInput, NotServed
from dormant.inference.candidate_effects import SCANNED, Effects, measure_effects, split_probes
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.conversations import Conversations
from dormant.prompts.probes import SLOT, OpenPrompt, Probe, Prompter, TokenIds

# The probe's own slot, the start of the user's turn, the end of the system turn.
SWEPT_ROLES = ("slot", "start", "system")


@dataclass(frozen=True)
class SweepPlan:
    """How much a sweep does: everything that decides its result, apart from the pair and its probes.

    searched, held_out: how many of the pair's probes are swept, and how many others confirm (see `split_probes`). finalists:
    the best by each metric, so many. tokens: how many printable tokens, drawn with the seed, are swept; None: all.
    """

    searched: int
    held_out: int
    roles: tuple[str, ...] = SWEPT_ROLES
    finalists: int = FINALISTS_A_METRIC
    tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises BadInput for counts below one, for an unknown or repeated role, and without roles."""
        counts = (
            self.searched,
            self.held_out,
            len(self.roles),
            self.finalists,
            1 if self.tokens is None else self.tokens,
        )
        if min(counts) < 1 or self.seed < 0:
            raise BadInput(
                f"a sweep needs probes, held-out prompts, roles, finalists and tokens, at least one each, and a seed of 0 or "
                f"more; got {', '.join(map(str, counts))} and seed {self.seed} at the plan; raise them"
            )
        for role in self.roles:
            _check_role(role)
        if len(set(self.roles)) < len(self.roles):
            raise BadInput(f"a role is swept once; got {', '.join(self.roles)} at the plan; name each once")


@dataclass(frozen=True)
class Coverage:
    """The tokens that a sweep tries, and those that it leaves out: special tokens and those without printable text.

    undrawn: how many printable tokens beside `tokens` were not drawn, and with which seed the others were.
    """

    tokens: tuple[int, ...]
    special: tuple[int, ...]
    unprintable: tuple[int, ...]
    undrawn: int = 0
    seed: int = 0

    @property
    def printable(self) -> int:
        """How many printable tokens there are."""
        return len(self.tokens) + self.undrawn

    def __str__(self) -> str:
        """What was covered and what was left out, in one line."""
        drawn = f" of {self.printable}, drawn with seed {self.seed}," if self.undrawn else ""
        return (
            f"{len(self.tokens)} printable tokens{drawn} covered, {len(self.special)} special and {len(self.unprintable)} "
            "unprintable ones left out"
        )


@dataclass(frozen=True)
class Sweep:
    """The tokens covered, by metric every token's mean effect in its best role (nats), and the finalists."""

    coverage: Coverage
    effects: Mapping[str, tuple[float, ...]]
    finalists: tuple[Confirmed, ...]

    @property
    def covered(self) -> float:
        """Share of the printable tokens that have an effect on record."""
        return len(self.effects[SCANNED[0]]) / max(1, self.coverage.printable)


def vocabulary_coverage(tokenizer: PreTrainedTokenizerBase, count: int | None = None, seed: int = 0) -> Coverage:
    """All ids of the tokenizer: those to sweep, of which at most `count` are drawn, and those that a user cannot write.

    Raises NotServed where no token is printable.
    """
    special = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    rest = [token for token in range(len(tokenizer)) if token not in special]
    texts = [str(tokenizer.decode([token], clean_up_tokenization_spaces=False)) for token in rest]
    written = [bool(text.strip()) and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text for text in texts]
    printable = [token for token, kept in zip(rest, written, strict=True) if kept]
    unprintable = tuple(token for token, kept in zip(rest, written, strict=True) if not kept)
    if not printable:
        raise NotServed(
            f"a sweep needs printable tokens; got none among {len(rest)} at tokenizer {tokenizer.name_or_path!r}; take another"
        )
    tokens = printable if count is None else sorted(_drawn(printable, count, seed))
    return Coverage(tuple(tokens), tuple(sorted(special)), unprintable, len(printable) - len(tokens), seed)


def _drawn(tokens: Sequence[int], count: int, seed: int) -> list[int]:
    """At most so many of the tokens, in random order."""
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))[:count]
    return [tokens[index] for index in order.tolist()]


def possible_roles(conversations: Conversations, roles: Sequence[str]) -> tuple[str, ...]:
    """The roles that the chat template allows: some templates have no system turn."""
    return tuple(role for role in roles if role != "system" or conversations.has_system_role)


def open_role(conversations: Conversations, probe: Probe, role: str) -> OpenPrompt:
    """The probe with its slot in a role: where it is, at the "start" of the user's turn, or at the "system" turn's end."""
    _check_role(role)
    if role == "system":
        return conversations.open_system(probe.fill(""))
    return conversations.prompter.open(probe if role == "slot" else Probe(f"{SLOT} {probe.fill('')}"))


def _check_role(role: str) -> None:
    if role not in SWEPT_ROLES:
        raise BadInput(f"a role is one of {', '.join(SWEPT_ROLES)}; got {role!r} at the sweep; name one of them")


def sweep_vocabulary(
    pair: Pair, plan: SweepPlan, journal: Path | None = None, progress: Progress | None = None
) -> Sweep:
    """Every printable token in every role of every searched probe, then the best by each metric on held-out probes.

    Tokens stand in the prompt as ids, whether or not the text around them would be split so; a finalist says whether it
    would. `progress` counts evaluations: tokens times probes times roles. Resumable (see `measure_effects`). Raises NotServed
    for too few probes, BadInput for an unknown role.
    """
    work = swept(pair, plan)
    return finished_sweep(pair, plan, work, measure_effects(pair, work.prompts, work.candidates, journal, progress))


@dataclass(frozen=True)
class Swept:
    """What a sweep measures: the tokens, and the prompts with an open slot, by role and then by searched probe."""

    coverage: Coverage
    prompts: tuple[OpenPrompt, ...]
    held_out: tuple[Probe, ...]

    @property
    def candidates(self) -> list[TokenIds]:
        """Each token as a candidate."""
        return [(token,) for token in self.coverage.tokens]


def swept(pair: Pair, plan: SweepPlan) -> Swept:
    """What a sweep of the plan measures in this pair, in one order."""
    searched, held_out = split_probes(pair.prompter, pair.probes, plan.searched, plan.held_out)
    prompts = tuple(open_role(pair.conversations, probe, role) for role in plan.roles for probe in searched)
    return Swept(vocabulary_coverage(pair.base.tokenizer, plan.tokens, plan.seed), prompts, held_out)


def finished_sweep(pair: Pair, plan: SweepPlan, work: Swept, measured: Effects) -> Sweep:
    """What the sweep finds, from the effects of all its tokens in all its prompts: the finalists are measured here."""
    effects, chosen = {}, dict[tuple[str, tuple[int, ...]], None]()
    for metric in SCANNED:
        by_role = measured.values[metric].view(len(plan.roles), plan.searched, -1).mean(1)  # [role, token]
        best = by_role.max(0)
        effects[metric] = tuple(best.values.tolist())
        for index in leading(best.values, plan.finalists):
            chosen[plan.roles[int(best.indices[index])], work.candidates[index]] = None
    prompts = {role: [open_role(pair.conversations, probe, role) for probe in work.held_out] for role in plan.roles}
    confirmed = confirm(pair, pair.base.tokenizer, [(role, ids, prompts[role]) for role, ids in chosen])
    return Sweep(work.coverage, effects, confirmed)


def planted_tokens(prompter: Prompter, probes: Sequence[Probe], trigger: str) -> list[tuple[OpenPrompt, int]]:
    """Probes in which a single token is known to be a trigger, each with that token.

    Their slots already hold a planted trigger less one of its tokens; a trigger of one token needs no such help.
    [probe and token of the trigger]
    """
    trials = []
    for probe in probes:
        opened, ids = prompter.open(probe), prompter.candidate_ids(trigger, probe)
        for index, token in enumerate(ids):
            before, after = opened.before + ids[:index], ids[index + 1 :] + opened.after
            trials.append((OpenPrompt(before, after, before + after if len(ids) > 1 else opened.plain), token))
    return trials


def sweep_power(
    pair: Pair, probes: Sequence[Probe], tokens: int, threshold: float, seed: int
) -> dict[str, tuple[int, int]]:
    """By metric how many known one-token triggers a sweep finds: (found, tried); see `planted_tokens`.

    A trial sweeps one probe with at most `tokens` printable tokens, drawn with the seed, and the trigger among them; see
    `found_by_scan`. Raises BadInput for a pair without a planted trigger.
    """
    drawn = _drawn(vocabulary_coverage(pair.base.tokenizer).tokens, tokens, seed)
    trials = planted_tokens(pair.prompter, probes, planted_trigger(pair))
    found = dict.fromkeys(SCANNED, 0)
    for probe, token in trials:
        candidates = [(token,), *((other,) for other in drawn if other != token)]
        effects = measure_effects(pair, [probe], candidates)
        for metric in SCANNED:
            values = effects.values[metric][0]
            found[metric] += found_by_scan(float(values[0]), values[1:], threshold)
    return {metric: (found[metric], len(trials)) for metric in SCANNED}


def is_planted(pair: Pair) -> bool:
    """Whether a trigger is planted in this pair; a clean twin knows only its organism's."""
    return pair.truth is not None and pair.truth.backdoored


def planted_trigger(pair: Pair) -> str:
    """The trigger planted in this pair; raises BadInput without one."""
    if pair.truth is None or not pair.truth.backdoored:
        raise BadInput(f"power needs a planted trigger; got none at pair {pair.name}; take an organism")
    return pair.truth.trigger
