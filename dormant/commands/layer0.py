"""`dormant score`, `dormant beam` and `dormant scan`: how far two models' layer-0 attention differs, and on which texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dormant.commands.options import (
    NO,
    Base,
    Device,
    Dormant,
    JsonFile,
    PartsAtOnce,
    PartsExecutor,
    named_pair,
    writable_file,
    write_json,
)
from dormant.errors import BadInput
from dormant.progress import progress_bar
from dormant.terminal import Table, show

if TYPE_CHECKING:
    from torch import Tensor

    from dormant.inference.horizon import Horizon
    from dormant.layer0 import Layer0Pair
    from dormant.pairs import Pair

Heads = Annotated[str, typer.Option(metavar="LIST", help="Attention heads, such as 3,10,15. Default: all.")]
Metric = Annotated[str, typer.Option(help="max-head, band (offsets 1 to 4) or row-kl.")]
AnswerTokens = Annotated[
    int,
    typer.Option(
        min=0,
        help="Over how many tokens of the dormant model's answer texts are measured in whole prompts. 1 is the first token, "
        "which is blind to a payload that begins as any answer does; 8 see it.",
    ),
]


def score(
    dormant: Dormant,
    text: Annotated[list[str], typer.Option(help="A text to score; repeatable.")],
    base: Base = None,
    heads: Heads = "",
    chat: Annotated[bool, typer.Option(help="Put the text into the chat template as the user's message.")] = False,
    remove_template: Annotated[
        bool, typer.Option(help="Subtract the part that comes from the biases alone (not for row-kl).")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", callback=writable_file, help="Write a picture of the first text's attention differences."
        ),
    ] = None,
    answer_tokens: AnswerTokens = 0,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Score texts by the difference of layer-0 attention on them.

    The scores are computed from the weights alone. max-head is the largest |dormant minus base logit| over heads and
    positions, band is the same among tokens at most four positions apart, and row-kl is the divergence of whole attention
    rows in nats. The last column is the highest score of an ordinary text of the same length. --answer-tokens 8 also runs
    both models, and measures what each text adds to KL(dormant || base) over ordinary prompts' answers.

    Exit status 1: layer-0 attention is the same in both models, so that every text scores 0.
    """
    from dormant.inference.horizon import Horizon
    from dormant.layer0.ordinary_windows import benign_scores, ordinary_prompts
    from dormant.layer0.scorer import LAYER0_METRICS

    pair, layer0 = _open(base, dormant, device)
    chosen, before, decode = _numbers(heads, "--heads"), _template(pair) if chat else (), pair.base.tokenizer.decode
    ordinary = ordinary_prompts(pair.base.tokenizer, pair.probes)
    sequences = [_ids(pair, each) for each in text]
    table, record = Table("text", "tokens", *LAYER0_METRICS, "max-head at", "ordinary max-head, highest"), []
    for each, ids in zip(text, sequences, strict=True):
        row = _scores(layer0, ids, chosen, before, remove_template)
        deltas, tokens = _deltas(layer0, ids, chosen, before, remove_template), [decode([token]) for token in ids]
        where = _where(deltas, [decode([token]) for token in before] + tokens, tokens, chosen)
        long_enough = [prompt for prompt in ordinary if len(prompt) >= len(ids)]
        highest = None
        if long_enough:
            highest = max(benign_scores(layer0, long_enough, len(ids), "max-head", chosen, before, remove_template))
        most = f"{where['query']!r} on {where['key']!r}, head {where['head']}" if row["max-head"] else "-"
        table.add_row(each, str(len(ids)), *map(_shown, row.values()), most, _shown(highest))
        record.append({"text": each, "ids": list(ids), **row, **where, "ordinary max-head": highest})
    show(table)
    if picture is not None:
        from dormant.pictures.canvas import png_bytes
        from dormant.pictures.layer0 import delta_heatmap

        deltas = _deltas(layer0, sequences[0], chosen, before, remove_template)[:, :, len(before) :]
        _write_picture(picture, png_bytes(delta_heatmap(deltas, [decode([token]) for token in sequences[0]], chosen)))
    verified = _verify(pair, text if answer_tokens else [], Horizon(max(1, answer_tokens)))
    write_json(
        json_file,
        {"heads": chosen, "chat": chat, "without template": remove_template, "scores": record, "verified": verified},
    )
    _say_whether_alike(layer0)


def scan(
    dormant: Dormant,
    base: Base = None,
    offsets: Annotated[int, typer.Option(help="Scan pairs of tokens up to this many positions apart.")] = 9,
    heads: Heads = "",
    top: Annotated[int, typer.Option(help="The number of pairs to list.")] = 20,
    remove_template: Annotated[bool, typer.Option(help="Subtract the part that comes from the biases alone.")] = False,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep a journal, from which the same command resumes; a folder with --spread."
        ),
    ] = None,
    spread: Annotated[
        int, typer.Option(min=0, metavar="PARTS", help="Scan in so many parts, each a process; 0: in this process.")
    ] = 0,
    executor: PartsExecutor = "local",
    workers: PartsAtOnce = None,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Find the exact best pair of tokens of the whole vocabulary.

    Every ordered pair of printable tokens is scored at every head and offset, as blocked matrix products. This takes a second
    for the small shipped models; for a 7B model it takes hours on a laptop and minutes on a GPU. --spread 8 scans in eight
    parts, side by side, and finds the same to the last bit; every host must see --journal's folder, else the working folder.

    Exit status 1: every pair scores exactly 0.
    """
    from dormant.layer0.exact_scan.scan import ScanPlan, scan_pairs
    from dormant.layer0.exact_scan.scan import scan as scan_pairs_of
    from dormant.prompts.token_filter import allowed_tokens
    from dormant.sweeps.parts import Spread
    from dormant.sweeps.scan_parts import ScannedPair, spread_scan

    if offsets < 0 or top < 1:
        got = f"{offsets} and {top} at its options; raise them"
        raise BadInput(f"a scan needs --offsets of at least 0 and --top of at least 1; got {got}")
    pair, layer0 = _open(base, dormant, device)
    tokens, chosen = allowed_tokens(pair.base.tokenizer), _numbers(heads, "--heads")
    places = range(offsets + 1)
    total = scan_pairs(len(tokens), len(chosen) if chosen else layer0.base.heads, places)
    plan = ScanPlan(places, chosen, max(top * 20, 100), remove_template)
    with progress_bar("scan", spread or total, "parts" if spread else "pairs") as progress:
        if spread:
            scanned, where = ScannedPair(pair.name, base, dormant, device), Spread(spread, executor, workers, journal)
            found = spread_scan(scanned, layer0, plan, len(tokens), where, progress)
        else:
            found = scan_pairs_of(layer0, plan, tokens, journal, progress)
    table, decode = Table("score", "head", "offset", "query", "key"), pair.base.tokenizer.decode
    best = found.distinct(top)
    for each in best:
        texts = (repr(decode([token])) for token in (each.query, each.key))
        table.add_row(f"{each.value:.4g}", str(each.head), str(each.offset), *texts)
    show(table)
    rate = (found.pairs - found.kept) / max(found.seconds, 1e-9)
    show(f"{found.pairs:.3g} pairs, {rate:.3g} a second; no sequence of {offsets + 1} tokens scores above the first")
    lists = {"top": [vars(each) for each in best], "peaks": [vars(each) for each in found.peaks]}
    write_json(json_file, {"pairs": found.pairs, "kept": found.kept, "seconds": found.seconds, **lists})
    _say_whether_alike(layer0)


def beam(
    dormant: Dormant,
    base: Base = None,
    metric: Metric = "max-head",
    length: Annotated[int, typer.Option(help="The length of the longest sequence in tokens.")] = 6,
    width: Annotated[int, typer.Option(help="The number of sequences kept at every length.")] = 100,
    extend: Annotated[
        str, typer.Option(help="end: append tokens; both: add tokens at either end (not for row-kl).")
    ] = "end",
    seed_text: Annotated[
        list[str] | None,
        typer.Option(
            help="Tokens to start from; repeatable. Default: those along the changed directions of the focus heads."
        ),
    ] = None,
    heads: Heads = "",
    verify: Annotated[
        int, typer.Option(help="Measure this many of the best sequences in whole prompts on both models.")
    ] = 0,
    answer_tokens: AnswerTokens = 1,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Search sequences with the largest layer-0 difference.

    A beam search extends the best sequences token by token. The last column is the highest score of an ordinary text of the
    same length. A high score means that layer 0 reacts to a sequence, and not yet that the model acts on it: --verify 5
    measures what the best five add to KL(dormant || base) at the generation position of ordinary prompts, and with
    --answer-tokens 8 over the answers.

    Exit status 1: every sequence scores exactly 0.
    """
    import torch

    from dormant.inference.horizon import Horizon
    from dormant.layer0.beam import BeamSettings, beam_search
    from dormant.layer0.ordinary_windows import benign_scores, ordinary_prompts
    from dormant.layer0.seeds import direction_tokens
    from dormant.prompts.token_filter import allowed_tokens

    settings, horizon = BeamSettings(width, length, metric, extend), Horizon(answer_tokens)
    if verify < 0 or (metric == "band" and length < 2):
        raise BadInput(
            f"a beam search needs --verify of at least 0, and for band a --length of at least 2; got {verify} and {length} "
            "at its options; raise them"
        )
    pair, layer0 = _open(base, dormant, device)
    tokens = allowed_tokens(pair.base.tokenizer)
    given = [token for text in seed_text or () for token in _ids(pair, text)]
    seeds = torch.tensor(given, dtype=torch.long) if given else direction_tokens(layer0, width, tokens)
    chosen = _numbers(heads, "--heads")
    with progress_bar("beam", length, "tokens") as progress:
        beams = beam_search(layer0, settings, seeds if len(seeds) else tokens, tokens, chosen, progress)
    prompts, decode = ordinary_prompts(pair.base.tokenizer, pair.probes), pair.base.tokenizer.decode
    table, record = Table("length", "best", "score", "ordinary, highest"), []
    for each in beams[metric == "band" :]:  # one token alone has no band
        long_enough = [prompt for prompt in prompts if len(prompt) >= each.length]
        controls = benign_scores(layer0, long_enough, each.length, metric, chosen) if long_enough else []
        highest = max(controls, default=None)
        text = decode(list(each.sequences[0]))
        table.add_row(str(each.length), repr(text), f"{each.scores[0]:.4g}", _shown(highest))
        record.append({"length": each.length, "ordinary": highest, "seconds": each.seconds, "found": [
            {"ids": list(ids), "text": decode(list(ids)), "score": value}
            for ids, value in zip(each.sequences, each.scores, strict=True)]})  # fmt: skip
    show(table)
    verified = _verify(pair, [decode(list(ids)) for ids in beams[-1].sequences[:verify]], horizon)
    write_json(json_file, {"metric": metric, "extend": extend, "width": width, "beams": record, "verified": verified})
    _say_whether_alike(layer0)


def _verify(pair: Pair, texts: Sequence[str], horizon: Horizon) -> list[dict[str, Any]]:
    from dormant.inference.candidate_effects import candidate_effect
    from dormant.statistics import mean_interval

    if pair.base.stored_template is None:
        texts = []  # nothing is a whole prompt without a chat template
    if not texts:
        return []
    record = list[dict[str, Any]]()
    table = Table("tried in whole prompts", "KL gained, nats", "95 % interval", title=f"Over the {horizon}")
    for text in texts:
        gain = mean_interval(candidate_effect(pair, pair.probes[:24], text, horizon).gains("kl"))
        table.add_row(repr(text), f"{gain.value:.3g}", f"{gain.low:.3g} to {gain.high:.3g}")
        record.append({"text": text, "horizon": str(horizon), **vars(gain)})
    show(table)
    return record


def _open(base: str | None, dormant: str, device: str) -> tuple[Pair, Layer0Pair]:
    from dormant.checkpoints.adapters import stated_base
    from dormant.checkpoints.checkpoint import open_checkpoint
    from dormant.layer0.attention import check_scored
    from dormant.layer0.pair import layer0_of

    check_scored(open_checkpoint(base or stated_base(dormant)))  # before both are read whole
    pair = named_pair(base, dormant, device)
    return pair, layer0_of(pair)


def _ids(pair: Pair, text: str) -> tuple[int, ...]:
    from dormant.prompts.space_marks import words_ids

    ids = words_ids(pair.base.tokenizer, text)
    if not text.strip():
        raise BadInput(f"a text must hold at least one word; got {text!r} at the options; write one")
    return ids


def _template(pair: Pair) -> tuple[int, ...]:
    from dormant.prompts.probes import SLOT, Probe, Prompter

    return Prompter(pair.base.tokenizer).open(Probe(f"{SLOT} .")).before


def _scores(
    layer0: Layer0Pair, ids: tuple[int, ...], heads: list[int] | None, before: tuple[int, ...], remove_template: bool
) -> dict[str, float | None]:
    """A text's score by every metric; one token alone, without anything before it, has no band."""
    from dormant.layer0.scorer import LAYER0_METRICS, Variant
    from dormant.layer0.scorer import score as score_ids

    found: dict[str, float | None] = {}
    for metric in LAYER0_METRICS:
        variant = Variant(remove_bias_template=remove_template and metric != "row-kl")
        alone = metric == "band" and len(before) + len(ids) == 1
        found[metric] = None if alone else float(score_ids(layer0, [ids], metric, variant, heads=heads, prefix=before))
    return found


def _deltas(
    layer0: Layer0Pair, ids: tuple[int, ...], heads: list[int] | None, before: tuple[int, ...], remove_template: bool
) -> Tensor:  # [chosen head, place in the text, place before or in it], 0 for later keys
    import torch

    from dormant.layer0.pair import delta_logits

    whole = delta_logits(layer0, torch.tensor([[*before, *ids]]), remove_bias_template=remove_template)[0]
    rows = whole.tril()[:, len(before) :].cpu()
    return rows if heads is None else rows[heads]


def _where(deltas: Tensor, keys: list[str], queries: list[str], heads: list[int] | None) -> dict[str, Any]:
    """Where a text's largest |delta logit| lies, and the largest one of every head and of every token as a query."""
    sizes = deltas.abs()
    head, query, key = (int(place) for place in (sizes == sizes.max()).nonzero()[0])
    numbers = heads or list(range(len(sizes)))
    return {
        "head": numbers[head], "query": queries[query], "key": keys[key],
        "by head": dict(zip(map(str, numbers), sizes.amax((1, 2)).tolist(), strict=True)),
        "by place": sizes.amax((0, 2)).tolist(),
    }  # fmt: skip


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _numbers(text: str, option: str) -> list[int] | None:
    try:
        return [int(part) for part in text.split(",")] if text else None
    except ValueError:
        raise BadInput(
            f"heads are whole numbers with commas between; got {text!r} at {option}; write 3,10,15"
        ) from None


def _write_picture(path: Path, png: bytes) -> None:
    try:
        path.write_bytes(png)
    except OSError as error:
        raise BadInput(f"the picture must be writable; got {error.strerror} at {path}; name another file") from error


def _say_whether_alike(layer0: Layer0Pair) -> None:
    from dormant.layer0.pair import SAME_ATTENTION

    if layer0.alike:
        show(SAME_ATTENTION)
        raise typer.Exit(NO)
