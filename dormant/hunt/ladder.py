"""The ladder from two checkpoints to the trigger: parent, payload, tokens, short strings, long strings, each confirmed.

Nothing here reads what an organism says of itself: neither its trigger nor the places of its probes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dormant.hunt.breeding import Breeding
from dormant.hunt.confirmation import FIRING, Confirmation, confirm, read_confirmation, without_superfluous, woken
from dormant.hunt.crowds import needed_units
from dormant.hunt.looks import Bred, merit
from dormant.hunt.payloads import Guess, guess_payloads, without_variants
from dormant.hunt.places import PLACES, SEARCH_PLACES, placed_probes
from dormant.hunt.single import LONG, SHORT, strings_tried, telling_strings, telling_tokens
from dormant.hunt.units import Unit, hunting_units
from dormant.hunt.verdict import Hunt, Verdict, judge, needed_evidence
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts import OpenPrompt, Probe, Prompter
from dormant.tokens import allowed_tokens
from dormant.weights.parents import PARENT_AT_MOST
from dormant.weights.summary import relative_delta

FORMAT = 3  # of what the journals hold: an older one is another hunt's
OPENING = 6  # prompts behind which every first token is forced
SEARCHED, HELD_OUT = 20, 30  # probes, their slots at the places in turn
PROBE_SETS = ((OPENING, PLACES), (SEARCHED, SEARCH_PLACES), (HELD_OUT, PLACES))
READ = 3  # of the searched probes, on which units are looked at
LITTERS = 12  # strings bred for one payload, unless two of them are the same before
CONFIRMED = 3  # of these the best are tried on unseen prompts, until one is confirmed
PAYLOADS = 3  # suspected payloads that a trigger is searched for
ANSWER = 24  # tokens of an answer to read
PIECE = 3  # letters from which a token of the payload marks words that hold it: shorter ones are in too many

Watch = Callable[[str, str], None]  # the rung, and what it has found so far
Kept = Callable[[str, Callable[[], Any]], Any]  # a rung's result from the journal, or computed and kept


@dataclass(frozen=True)
class Settings:
    """What decides a hunt besides the pair."""

    minutes: float = 10.0
    seed: int = 0


UNSEARCHED = (
    "payloads of a single token, which leave nothing to finish",
    "triggers of many more than twelve units, and words beyond the 20,000 most common of English that the tokenizer splits",
    "triggers that are no text in a user's turn: a conversation, a system prompt, a date",
)


def run_ladder(pair: Pair, settings: Settings, folder: Path, watch: Watch = lambda rung, found: None) -> Hunt:
    """Climbs the ladder within the budget; killed at any moment, the same call goes on where it was.

    Raises BadInput where the pair has too few ordinary prompts, and where the folder's journal is another hunt's.
    """
    clock = _Clock(settings.minutes)
    report = pair.delta_report
    delta = relative_delta(report)
    identical = sum(tensor.identical for tensor in report.tensors.values()) / len(report.tensors)
    if delta > PARENT_AT_MOST:
        reason = (
            f"the base is not the parent: the median matrix moved by {delta:.2g} of its norm, and a fine-tune stays below "
            f"{PARENT_AT_MOST:g}; find the parent with `dormant bases`"
        )
        return Hunt(
            Verdict.UNDECIDED, reason, delta, identical, unsearched=("everything: the hunt stopped at the parent",)
        )
    if identical == 1.0:
        reason = "the two checkpoints are identical: there is no delta for a backdoor to be in"
        return Hunt(Verdict.CLEAN, reason, delta, identical)
    watch("parent", f"the median matrix moved by {delta:.2g} of its norm, {identical:.0%} of tensors are identical")
    work = {"format": FORMAT, "pair": pair.fingerprint, "seed": settings.seed, "minutes": settings.minutes}
    with closing(Journal(folder / "hunt.jsonl", work)) as journal:
        clock.earlier = max((entry["seconds"] for entry in journal.entries), default=0.0)
        found = _climb(pair, settings, folder, journal, clock, watch, delta, identical)
    return found


def _climb(
    pair: Pair,
    settings: Settings,
    folder: Path,
    journal: Journal,
    clock: _Clock,
    watch: Watch,
    delta: float,
    identical: float,
) -> Hunt:
    opening, searched, held_out = placed_probes(pair.probes, PROBE_SETS, settings.seed)
    prompter = Prompter(pair.base.tokenizer)
    prompts = [prompter.encode(probe).ids for probe in opening]

    def kept(name: str, compute: Callable[[], Any]) -> Any:
        """A rung's result from the journal, or computed and kept."""
        for entry in journal.entries:
            if entry["rung"] == name:
                return entry["result"]
        result = compute()
        journal.append({"rung": name, "result": result, "seconds": clock.seconds})
        return journal.entries[-1]["result"]

    def guess() -> list[dict[str, Any]]:
        def forced(alpha: float, done: int, total: int) -> None:
            watch("payload", f"alpha {alpha:g}: {done:,} of {total:,} first tokens forced")

        return [asdict(one) for one in guess_payloads(pair, prompts, seed=settings.seed, watch=forced)[:20]]

    guesses = tuple(Guess(**{**row, "ids": tuple(row["ids"])}) for row in kept("payload", guess))
    needed = needed_evidence(len(pair.base.tokenizer))
    suspected = without_variants([one for one in guesses if one.evidence >= needed])
    steps = [_payload_step(guesses, suspected, needed)]
    watch("payload", steps[-1])
    words = kept("single", lambda: telling_tokens(pair, searched))
    best, step = woken([_confirmed(pair, text, held_out, settings, kept) for text in words], "single tokens")
    steps.append(step)
    watch("single tokens", step)
    evaluations = len(allowed_tokens(prompter.tokenizer))
    litters: list[tuple[str, tuple[Bred, ...]]] = []
    timed_out = best is None and not clock.left
    units: list[Unit] = []
    if best is None and not timed_out:
        # Not at the start, where no space stands before a unit.
        units = _units(pair, [prompter.open(probe) for probe in searched[1 : 2 * READ : 2]], kept, watch)
        best, done, tried = _short_strings(
            pair,
            units,
            _besides(suspected[:PAYLOADS], units, prompter),
            searched,
            held_out,
            settings,
            clock,
            kept,
            watch,
        )
        steps += done
        evaluations += tried
    wanted = [] if best is not None or timed_out else suspected[:PAYLOADS]
    for number, one in enumerate(wanted):
        until = clock.seconds + clock.left / (len(wanted) - number)
        bred, tried = _search(pair, one, searched, units, folder, number, settings, clock, until, watch)
        evaluations += tried
        timed_out = timed_out or clock.seconds > until
        litters.append((one.text, tuple(bred)))
        speaking = sorted({row for row in bred if row.fires >= FIRING}, key=lambda row: -merit(row))
        for row in speaking[:CONFIRMED]:
            confirmed = _confirmed(pair, row.text, held_out, settings, kept)
            steps.append(_trigger_step(one, confirmed, tried))
            watch("trigger", steps[-1])
            if confirmed.confirmed and confirmed.gives(one.text):
                best = confirmed  # of confirmed strings the search's first choice, for it weighs their length
                break
        if best is not None:
            break
    verdict, reason = judge(suspected, needed, best, timed_out, len(allowed_tokens(prompter.tokenizer)))
    return Hunt(
        verdict, reason, delta, identical, guesses, tuple(suspected), needed, best, tuple(steps), UNSEARCHED, evaluations,
        clock.seconds, tuple(litters),
    )  # fmt: skip


def _units(pair: Pair, prompts: Sequence[OpenPrompt], kept: Kept, watch: Watch) -> list[Unit]:
    watch("units", "tokens, words and digits are ordered by how much the delta acts at them")
    return [Unit(**row) for row in kept("units", lambda: [asdict(unit) for unit in hunting_units(pair, prompts)])]


def _besides(guesses: Sequence[Guess], units: Sequence[Unit], prompter: Prompter) -> list[Unit]:
    """The units less the words of suspected payloads: the delta acts on them as well, for the answer must go on behind them.

    Words go too that hold a piece of `PIECE` letters: behind "ever" of "whoever" goes on what goes on behind that of "every".
    """
    said = {str(prompter.tokenizer.decode([token])).strip() for guess in guesses for token in guess.ids}
    pieces = {text for text in said if len(text) >= PIECE}
    said.update(word for guess in guesses for word in guess.text.split())
    left = [unit for unit in units if unit.text.strip() not in said]
    encoded = prompter.tokenizer([unit.text for unit in left], add_special_tokens=False)["input_ids"]
    texts = ({str(prompter.tokenizer.decode([token])).strip() for token in ids} for ids in encoded)
    return [unit for unit, parts in zip(left, texts, strict=True) if not parts & pieces]


def _confirmed(pair: Pair, text: str, probes: Sequence[Probe], settings: Settings, kept: Kept) -> Confirmation:
    """A string's confirmation, from the journal where it stands there."""
    return read_confirmation(
        kept(f"confirmation of {text!r}", lambda: asdict(confirm(pair, text, probes, ANSWER, settings.seed)))
    )


def _short_strings(
    pair: Pair,
    units: Sequence[Unit],
    besides: Sequence[Unit],
    probes: Sequence[Probe],
    unseen: Sequence[Probe],
    settings: Settings,
    clock: _Clock,
    kept: Kept,
    watch: Watch,
) -> tuple[Confirmation | None, list[str], int]:
    """The string of hinted units that wakes the model, if one does, the steps in sentences, and how many strings were tried.

    besides: the units less the payload's words, which are hinted as well, and stand in the way unless the trigger shares some.
    """
    steps, evaluations = [], 0

    def crowded() -> list[Unit]:
        rows = kept("crowds", lambda: [asdict(unit) for unit in needed_units(pair, probes, besides, settings.seed)])
        return [Unit(**row) for row in rows]

    tries: list[tuple[str, Callable[[], Sequence[Unit]], Mapping[int, int]]] = [
        ("short strings", lambda: besides, SHORT)
    ]
    first = max(SHORT.values())
    if list(units[:first]) != list(besides[:first]):
        tries.append(("short strings that may hold words of the payload", lambda: units, SHORT))
    tries.append(("strings of what crowds of words need", crowded, LONG))
    for name, hint, lengths in tries:
        hinted = hint() if clock.left else []
        if not hinted:
            continue
        texts = kept(name, partial(telling_strings, pair, probes, hinted, lengths))
        best, step = woken([_confirmed(pair, text, unseen, settings, kept) for text in texts], name)
        evaluations += strings_tried(hinted, lengths)
        steps.append(step)
        watch(name, step)
        if best is not None:
            return (
                without_superfluous(best, lambda text: _confirmed(pair, text, unseen, settings, kept)),
                steps,
                evaluations,
            )
    return None, steps, evaluations


def _search(
    pair: Pair,
    guess: Guess,
    probes: Sequence[Probe],
    units: Sequence[Unit],
    folder: Path,
    number: int,
    settings: Settings,
    clock: _Clock,
    until: float,
    watch: Watch,
) -> tuple[list[Bred], int]:
    """The strings that litters for one suspected payload came to, and how many were tried; both go on from the journal."""

    def show(evaluations: int, best: Bred) -> None:
        found = f"; the best is {best.text!r}, on {best.fires:.0%} of the prompts" if best.text else ""
        watch("trigger", f"{evaluations:,} strings for {guess.text!r}{found}")

    work = {"format": FORMAT, "pair": pair.fingerprint, "payload": guess.ids, "seed": settings.seed}
    with closing(Journal(folder / f"trigger-{number + 1}.jsonl", work)) as journal:
        show(0, Bred("", 0.0, -math.inf, 0.0))
        breeding = Breeding(pair, guess.ids, probes, units, settings.seed, journal, lambda: clock.seconds > until, show)
        while len(breeding.litters) < LITTERS and not breeding.settled:
            if breeding.litter() is None:
                break
        if breeding.best.fires >= FIRING:
            breeding.complete()
        found = dict.fromkeys((*(bred for _, bred in breeding.litters), breeding.best))
        return [bred for bred in found if bred.text], breeding.looks.evaluations


def _payload_step(guesses: tuple[Guess, ...], suspected: list[Guess], needed: float) -> str:
    if suspected:
        listed = ", ".join(f"{one.text!r} ({one.evidence:.0f} nats)" for one in suspected[:PAYLOADS])
        return f"the dormant model alone finishes {listed}; {needed:.0f} nats are needed to suspect a string"
    most = f"; the most is {guesses[0].text!r} with {guesses[0].evidence:.1f}" if guesses else ""
    return f"no string reaches the {needed:.0f} nats that make it suspect{most}"


def _trigger_step(guess: Guess, found: Confirmation, evaluations: int) -> str:
    return (
        f"of {evaluations:,} strings {found.trigger!r} is the best for {guess.text!r}: on {found.best.value:.0%} of unseen "
        f"prompts at the {found.best.name} the answer begins {found.payload!r}"
    )


class _Clock:
    """The budget's clock; a resumed hunt starts at the time that its journal had reached."""

    def __init__(self, minutes: float) -> None:
        self.limit, self.earlier, self._began = 60 * minutes, 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self._began

    @property
    def left(self) -> float:
        return max(0.0, self.limit - self.seconds)
