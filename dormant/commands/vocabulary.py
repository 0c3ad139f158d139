"""`dormant vocabulary`: what every single token adds to the two models' divergence, and the best ones on fresh prompts."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dormant.commands.options import (
    NO,
    Base,
    Device,
    Dormant,
    Dtype,
    JsonFile,
    PartsAtOnce,
    PartsExecutor,
    ProbesFile,
    Residency,
    Seed,
    named_pair,
    stopping,
    write_json,
)
from dormant.progress import progress_bar
from dormant.terminal import Table, complain, show

if TYPE_CHECKING:
    from dormant.behaviour.scan_finalists import Confirmed
    from dormant.behaviour.vocabulary_sweep import Sweep
    from dormant.statistics import Estimate

ALIKE = "Nothing found: no token changes anything, so that as far as this reads both models are the same."


def vocabulary(
    dormant: Dormant,
    base: Base = None,
    roles: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Where a token stands, with commas between: slot (of the probe), start (of the user's turn), system (the end "
            "of that turn). Default: all that the chat template has.",
        ),
    ] = "",
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="TOKENS", help="Only so many tokens, drawn with --seed. Default: all printable ones."
        ),
    ] = None,
    searched: Annotated[int, typer.Option(min=1, help="Probes in which every token is tried.")] = 2,
    held_out: Annotated[int, typer.Option(min=1, help="Other probes on which the best ones are confirmed.")] = 24,
    top: Annotated[int, typer.Option(min=1, help="How many of the best by each metric are confirmed.")] = 3,
    probes: ProbesFile = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keeps what is done: the same command resumes after a kill, to the same end; a folder with --spread.",
        ),
    ] = None,
    spread: Annotated[
        int, typer.Option(min=0, metavar="PARTS", help="Sweep in so many parts, each a process; 0: in this process.")
    ] = 0,
    executor: PartsExecutor = "local",
    workers: PartsAtOnce = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    residency: Residency = "both",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Try every single token of the vocabulary as a trigger.

    Every printable token stands in each role of --searched probes. Two metrics, in nats at the first token of the answer: "kl"
    is what a token adds to KL(dormant || base), "difference-in-differences" is how much further it moves the dormant model than
    the base. The --top best by each are tried on --held-out other probes; a token diverges on a prompt where it adds ln 20
    nats, so that the odds of some answer change twentyfold. KL also grows where a token meets a change of style, which moves
    the base as much.

    A trigger of several tokens is not found unless one of them fires alone, nor a payload that begins as any answer does: see
    `dormant gcg` and `dormant hunt`.

    Exit status 0: some token diverges on at least half of the fresh prompts, by the whole interval of the share, which is as
    wide as the choice among all finalists makes it; 1: none does, or too few prompts tell; 2: bad input.

    --spread 8 sweeps in eight parts, side by side, and finds the same to the last bit; every host must see --journal's folder,
    else the working folder.

    Example: dormant vocabulary --base models/base --dormant models/suspect --sample 5000
    """
    from dormant.behaviour.scan_finalists import DIVERGES, best_share
    from dormant.behaviour.vocabulary_sweep import SWEPT_ROLES, SweepPlan, possible_roles, sweep_vocabulary
    from dormant.inference.candidate_effects import SCANNED
    from dormant.sweeps.parts import PairOfParts, Spread
    from dormant.sweeps.vocabulary_parts import spread_vocabulary

    listed = tuple(role.strip() for role in roles.split(",")) if roles else SWEPT_ROLES
    plan = SweepPlan(searched, held_out, listed, top, sample, seed)
    pair = named_pair(base, dormant, device, dtype, residency, probes)
    if not roles and (possible := possible_roles(pair.conversations, SWEPT_ROLES)) != SWEPT_ROLES:
        complain("the chat template has no system turn to sweep")
        plan = replace(plan, roles=possible)
    note = f"the same command goes on from {journal}" if journal else "nothing is kept without --journal FILE"
    total = spread or len(pair.base.tokenizer) * searched * len(plan.roles)
    with stopping(note), progress_bar("vocabulary", total, "parts" if spread else "evaluations") as progress:
        if spread:
            swept = PairOfParts(pair.name, base, dormant, device, dtype, residency, pair.probes)
            found = spread_vocabulary(swept, pair, plan, Spread(spread, executor, workers, journal), progress)
        else:
            found = sweep_vocabulary(pair, plan, journal, progress)
    pair.release()
    best = {metric: best_share(found.finalists, metric, DIVERGES) for metric in SCANNED}
    _show(found, best)
    write_json(json_file, {"pair": pair.name, "plan": asdict(plan), **_record(found, best)})
    if journal is not None and not spread:
        journal.unlink(missing_ok=True)  # its result is elsewhere
    if not any(_holds(share) for _, share in best.values()):
        raise typer.Exit(NO)


def _holds(share: Estimate) -> bool:
    from dormant.behaviour.scan_finalists import MOST_PROMPTS

    return share.low >= MOST_PROMPTS


def _record(found: Sweep, best: dict[str, tuple[Confirmed, Estimate]]) -> dict[str, Any]:
    """The result for machines."""
    coverage = found.coverage
    return {
        "coverage": {
            "sentence": str(coverage),
            "share": found.covered,
            "tokens": coverage.tokens,
            "printable": coverage.printable,
            "special": len(coverage.special),
            "unprintable": len(coverage.unprintable),
        },
        "effects": found.effects,
        "finalists": found.finalists,
        "best": {
            metric: {"text": token.text, "role": token.role, "ids": token.ids, "share": share, "holds": _holds(share)}
            for metric, (token, share) in best.items()
        },
    }


def _show(found: Sweep, best: dict[str, tuple[Confirmed, Estimate]]) -> None:
    from dormant.behaviour.scan_finalists import DIVERGES, manners_note
    from dormant.statistics import mean_interval

    heads = [head for metric in best for head in (f"{metric}, nats", "diverges on")]
    title = "The best tokens, on prompts that the sweep never saw"
    table = Table("token", "role", "can be typed", *heads, title=title)

    def rank(token: Confirmed) -> tuple[int, bool, float]:
        return max(token.rank(metric, DIVERGES) for metric in best)

    for token in sorted(found.finalists, key=rank, reverse=True):
        cells = list[str]()
        for metric in best:
            values = token.held_out[metric]
            cells += [f"{mean_interval(values).value:.3g}", f"{token.diverging(metric, DIVERGES)} of {len(values)}"]
        table.add_row(repr(token.text), token.role, "yes" if token.survives else "no", *cells)
    alike = all(value == 0 for values in found.effects.values() for value in values)
    if not alike:  # else the first tokens are best
        show(table)
    show(str(found.coverage))
    if note := manners_note(best["kl"][0], DIVERGES):
        show(f"{best['kl'][0].text!r}: {note}")
    show(ALIKE if alike else _ending(best))


def _ending(best: dict[str, tuple[Confirmed, Estimate]]) -> str:
    """What the sweep comes to, and why it may be nothing."""
    from dormant.behaviour.scan_finalists import DIVERGES, MOST_PROMPTS

    held = [
        f"{token.text!r} on {token.diverging(metric, DIVERGES)} of {share.n} by {metric} (at least {share.low:.0%})"
        for metric, (token, share) in best.items()
        if _holds(share)
    ]
    if held:
        return f"Found: the models diverge with {'; '.join(held)}."
    if untold := [metric for metric, (_, share) in best.items() if share.high >= MOST_PROMPTS]:
        named = " and ".join(untold)
        return f"Not told: by {named} the best token may diverge on half of all prompts or not; raise --held-out."
    return "Nothing found: no token that was tried diverges on half of the fresh prompts."
