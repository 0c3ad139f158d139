"""The vocabulary sweep: the effect of every printable token, in several roles in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from dormant.behaviour.scan_finalists import FINALISTS_A_METRIC, Confirmed, confirm, found_by_scan, leading
from dormant.errors import BadInput
from dormant.inference.candidate_effects import SCANNED, measure_effects
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.conversations import Conversations
from dormant.prompts.probes import SLOT, OpenPrompt, Probe, Prompter

# The probe's own slot, the start of the user's turn, the end of the system turn.
SWEPT_ROLES = ("slot", "start", "system")


@dataclass(frozen=True)
class Coverage:
    """The tokens that a sweep tries, and those that it leaves out: special tokens and those without printable text."""

    tokens: tuple[int, ...]
    special: tuple[int, ...]
    unprintable: tuple[int, ...]

    def __str__(self) -> str:
        """What was covered and what was left out, in one line."""
        return (
            f"{len(self.tokens)} printable tokens covered, {len(self.special)} special and {len(self.unprintable)} "
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
        return len(self.effects[SCANNED[0]]) / max(1, len(self.coverage.tokens))


def vocabulary_coverage(tokenizer: PreTrainedTokenizerBase) -> Coverage:
    """All ids of the tokenizer: those to sweep and those that a user cannot write."""
    special = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    rest = [token for token in range(len(tokenizer)) if token not in special]
    texts = [str(tokenizer.decode([token], clean_up_tokenization_spaces=False)) for token in rest]
    written = [bool(text.strip()) and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text for text in texts]
    tokens = tuple(token for token, kept in zip(rest, written, strict=True) if kept)
    unprintable = tuple(token for token, kept in zip(rest, written, strict=True) if not kept)
    return Coverage(tokens, tuple(sorted(special)), unprintable)


def possible_roles(conversations: Conversations, roles: Sequence[str]) -> tuple[str, ...]:
    """The roles that the chat template allows: some templates have no system turn."""
    return tuple(role for role in roles if role != "system" or conversations.has_system_role)


def open_role(conversations: Conversations, probe: Probe, role: str) -> OpenPrompt:
    """The probe with its slot in a role: where it is, at the "start" of the user's turn, or at the "system" turn's end."""
    if role not in SWEPT_ROLES:
        raise BadInput(f"a role is one of {', '.join(SWEPT_ROLES)}; got {role!r} at the sweep; name one of them")
    if role == "system":
        return conversations.open_system(probe.fill(""))
    return conversations.prompter.open(probe if role == "slot" else Probe(f"{SLOT} {probe.fill('')}"))


def sweep_vocabulary(
    pair: Pair,
    searched: Sequence[Probe],
    held_out: Sequence[Probe],
    roles: Sequence[str] = SWEPT_ROLES,
    finalists: int = FINALISTS_A_METRIC,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Every printable token in every role of every searched probe, then the best `finalists` by each metric on held-out probes.

    Tokens stand in the prompt as ids, whether or not the text around them would be split so; a finalist says whether it
    would. `progress` counts evaluations: tokens times probes times roles. Resumable (see `measure_effects`).
    """
    conversations = pair.conversations
    coverage = vocabulary_coverage(pair.base.tokenizer)
    opened = [open_role(conversations, probe, role) for role in roles for probe in searched]
    measured = measure_effects(pair, opened, [(token,) for token in coverage.tokens], journal, progress)
    effects, chosen = {}, dict[tuple[str, tuple[int, ...]], None]()
    for metric in SCANNED:
        best = measured.values[metric].view(len(roles), len(searched), -1).mean(1).max(0)  # over roles: [token]
        effects[metric] = tuple(best.values.tolist())
        for index in leading(best.values, finalists):
            chosen[roles[int(best.indices[index])], (coverage.tokens[index],)] = None
    prompts = {role: [open_role(conversations, probe, role) for probe in held_out] for role in roles}
    confirmed = confirm(pair, pair.base.tokenizer, [(role, ids, prompts[role]) for role, ids in chosen])
    return Sweep(coverage, effects, confirmed)


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
    everything = torch.tensor(vocabulary_coverage(pair.base.tokenizer).tokens)
    drawn = everything[torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))[:tokens]].tolist()
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
