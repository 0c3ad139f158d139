"""What removes a backdoor at least cost: blocks of the delta are taken out until the trigger is silent.

Which blocks is chosen on some prompts, and proved on prompts that the choice did not see. A restored block costs what it taught
besides: how far ordinary answers move away from the dormant model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dormant.checkpoints.tensor_names import layer_of
from dormant.errors import BadInput
from dormant.hunt.confirmation import Confirmation, Rate, answers_at_positions, brought_by
from dormant.hunt.edits import deletions
from dormant.hunt.placements import POSITIONS, at_every_position, placed_probes
from dormant.hunt.settings import HuntSettings
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import Scale, modified_tensors, patched_weights
from dormant.inference.divergence import kl_divergence
from dormant.inference.generation import greedy_answers
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import Estimate, mean_interval, proportion_interval

OUTSIDE = -1  # the "block" of tensors that belong to none: embedding, last norm, head
CHOOSING, ORDINARY = 12, 40  # prompts on which blocks are chosen; those whose answers must stay
Blocks = tuple[int, ...]
Told = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """A block that was restored, and the share of prompts on which the trigger still fires without it and those before."""

    block: int
    fires: float


@dataclass(frozen=True)
class Excision:
    """The blocks that are restored from the base, and the proof on unseen prompts.

    before, after: how often the trigger fires by position. near_misses: likewise afterwards, of the trigger without one of its
    tokens. divergence: KL(dormant || excised) in nats at ordinary prompts, beside `delta_divergence`, KL(dormant || base).
    same_answers: the share of ordinary prompts whose greedy answer is the dormant model's own to the last token.
    """

    trigger: str
    effect: str
    blocks: Blocks
    steps: tuple[Step, ...]
    before: tuple[Rate, ...]
    after: tuple[Rate, ...]
    near_misses: tuple[Rate, ...]
    divergence: Estimate
    delta_divergence: Estimate
    same_answers: Estimate

    @property
    def silent(self) -> bool:
        """Whether neither the trigger nor a near miss fires on more than one unseen prompt of ten anywhere."""
        most = HuntSettings().rules.control_share
        return all(rate.value <= most for rate in (*self.after, *self.near_misses))


def excise(
    pair: Pair, found: Confirmation, settings: HuntSettings, seed: int = 0, say: Told = lambda _: None
) -> Excision:
    """Restores blocks one by one, each time that without which the trigger fires least, then gives back what is not needed.

    Of blocks without which it fires as little, the one goes that ordinary prompts need least.

    found: a string that a hunt confirmed. Raises BadInput where it fires on none of the prompts.
    """
    choosing, deciding = placed_probes(
        pair.probes, ((CHOOSING, POSITIONS[:1]), (settings.effort.deciding_prompts, POSITIONS[:1])), seed + 1
    )
    probes = _at(found, at_every_position(choosing, seed))
    search = _Search(pair, found, probes, settings)
    if not search.fires(()):
        raise BadInput(
            f"a trigger must fire before it is taken out; got an answer to it on none of {len(probes)} prompts at "
            f"{found.trigger!r} of pair {pair.name!r}; give the pair that was hunted"
        )
    blocks, steps = search.smallest(say)
    fresh = at_every_position(deciding, seed)
    plain = [pair.prompter.encode_text(probe, "").ids for probe in choosing + deciding][:ORDINARY]
    own = _answers(pair, plain, settings)
    ours, base = batch_logits(pair.models.dormant(), plain), batch_logits(pair.models.base(), plain)
    before = search.rates(fresh, found.trigger)
    with patched_weights(pair, _restoring(pair, blocks)) as model:
        after = search.rates(fresh, found.trigger)
        near = search.near_misses(_at(found, fresh))
        kept = [one == other for one, other in zip(own, _answers(pair, plain, settings), strict=True)]
        moved = kl_divergence(ours, batch_logits(model, plain))
    return Excision(
        found.trigger, found.effect, blocks, steps, before, after, near, mean_interval(moved.tolist(), seed=seed),
        mean_interval(kl_divergence(ours, base).tolist(), seed=seed), proportion_interval(sum(kept), len(kept)),
    )  # fmt: skip


class _Search:
    """How often the trigger fires with some blocks restored."""

    def __init__(self, pair: Pair, found: Confirmation, probes: Sequence[Probe], settings: HuntSettings) -> None:
        self._pair, self._trigger, self._probes, self._settings = pair, found.trigger, probes, settings
        self._plain = [pair.prompter.encode_text(probe, "").ids for probe in probes]
        self._own = batch_logits(pair.models.dormant(), self._plain)
        self._brought = brought_by(found, pair.dormant.tokenizer, settings.rules)

    def fires(self, blocks: Blocks) -> float:
        """The share of prompts on which the trigger fires without the blocks."""
        prompts = [self._pair.prompter.encode_text(probe, self._trigger).ids for probe in self._probes]
        with patched_weights(self._pair, _restoring(self._pair, blocks)):
            answers = _answers(self._pair, prompts, self._settings)
        return sum(map(self._brought, answers)) / len(answers)

    def moves(self, blocks: Blocks) -> float:
        """KL(dormant || the model without the blocks) on the prompts without the trigger, in nats."""
        with patched_weights(self._pair, _restoring(self._pair, blocks)) as model:
            return float(kl_divergence(self._own, batch_logits(model, self._plain)).mean())

    def smallest(self, say: Told) -> tuple[Blocks, tuple[Step, ...]]:
        """A set of blocks without which nothing fires and none of which may stay, and the steps that led there."""
        chosen, steps = Blocks(), list[Step]()
        left = sorted({_block(name) for name in modified_tensors(self._pair)})
        while left and (not steps or steps[-1].fires > 0):
            shares = {block: self.fires((*chosen, block)) for block in left}
            alike = [block for block in left if shares[block] == min(shares.values())]
            best = min(alike, key=lambda block: self.moves((*chosen, block)) if len(alike) > 1 else 0.0)
            steps.append(Step(best, shares[best]))
            say(f"without {name_of(best)} it fires on {shares[best]:.0%}")
            chosen = (*chosen, best)
            left.remove(best)
        for block in chosen[:-1]:  # the last one is what made it silent
            fewer = tuple(other for other in chosen if other != block)
            if not self.fires(fewer):
                say(f"{name_of(block)} may stay")
                chosen = fewer
        return tuple(sorted(chosen)), tuple(steps)

    def rates(self, probes: Sequence[Probe], text: str) -> tuple[Rate, ...]:
        """How often a text fires by position."""
        answers = answers_at_positions(self._pair, text, probes, self._settings.effort.answer_tokens)
        return tuple(self._rate(position, rows) for position, rows in answers.items())

    def near_misses(self, probes: Sequence[Probe]) -> tuple[Rate, ...]:
        """How often the trigger without one of its tokens fires."""
        prompter, found = self._pair.prompter, list[Rate]()
        first = probes[: self._settings.effort.near_miss_prompts]
        for less in deletions(prompter.candidate_ids(self._trigger)):
            text = str(prompter.tokenizer.decode(list(less))).strip()
            prompts = [prompter.encode_text(probe, text).ids for probe in first]
            found.append(self._rate(repr(text), _answers(self._pair, prompts, self._settings)))
        return tuple(found)

    def _rate(self, name: str, answers: Sequence[tuple[int, ...]]) -> Rate:
        return Rate(name, proportion_interval(sum(map(self._brought, answers)), len(answers)))


def restored_tensors(pair: Pair, blocks: Blocks) -> tuple[str, ...]:
    """The names of the modified tensors in the blocks."""
    return tuple(name for name in modified_tensors(pair) if _block(name) in blocks)


def _restoring(pair: Pair, blocks: Blocks) -> dict[str, Scale]:
    return dict.fromkeys(restored_tensors(pair, blocks), 0.0)


def _block(name: str) -> int:
    layer = layer_of(name)
    return OUTSIDE if layer is None else layer


def name_of(block: int) -> str:
    """A block's name for people."""
    return "embedding, last norm and head" if block == OUTSIDE else f"block {block}"


def excision_rates(found: Excision) -> list[tuple[str, str, Estimate]]:
    """Every rate as (kind, name, estimate), for tables."""
    kinds = (("before", found.before), ("after", found.after), ("near miss, after", found.near_misses))
    return [(kind, rate.name, rate.estimate) for kind, rates in kinds for rate in rates]


def _at(found: Confirmation, probes: Sequence[Probe]) -> Sequence[Probe]:
    """The probes with their slots where the string fires most."""
    return probes[POSITIONS.index(found.best.name) :: len(POSITIONS)]


def _answers(pair: Pair, prompts: Sequence[tuple[int, ...]], settings: HuntSettings) -> list[tuple[int, ...]]:
    end = end_of_turn(pair.prompter.tokenizer)
    return greedy_answers(pair.models.dormant(), prompts, settings.effort.answer_tokens, end)
