"""The grid of verdicts: blind claims, then told ones, with their parameters down, pairs across, "does it tell" last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from textwrap import wrap

from dormant.catalogue import PUBLISHED_PAIRS, ZOO_PAIRS
from dormant.claims.finding import Finding, Parameter, Verdict
from dormant.report.known_auroc import known_aurocs
from dormant.report.telling import Relatives, Telling, does_it_tell
from dormant.statistics import Estimate
from dormant.terminal import UNBOUNDED, fitted_widths, longest_word, text_width

PAIR_ORDER = (*ZOO_PAIRS, *PUBLISHED_PAIRS)

# Words of at most three letters, so that a cell with its figure fits beside nine others in 120 columns and in ASCII.
SYMBOLS = {Verdict.SUPPORTED: "yes", Verdict.REFUTED: "no", Verdict.INCONCLUSIVE: "?", Verdict.INVALID: "x"}
LEGEND = (
    "yes supported, no refuted, ? inconclusive, x invalid (a premise does not hold); the number is the deciding "
    "figure. Does it tell: on how many backdoored organisms the claim holds and on none of their clean relatives; not from: "
    "the kinds from which it does not part one on which it holds; tells: the AUROC's interval, too, lies above one half. "
    "AUROC: over the models of known truth of the committed table; 1 separates backdoored from clean ones, .5 says nothing."
)
BLOCK_TITLES = {
    False: "BLIND: the figure needs neither trigger nor payload",
    True: "TOLD: the figure is measured or judged with the planted trigger or payload, or with a given candidate",
}
HEADER_WIDTH = 8
LABEL_WIDTH = 16  # at least, where labels are as long
TELLING_WIDTH = 16
INDENT = "    "  # of a label's further lines
LEGEND_WIDTH = 80  # at least, however narrow the grid is
COLLAPSE_ABOVE = 12


@dataclass(frozen=True)
class GridRow:
    """One claim with one set of parameters: its finding on each pair, whether it tells, and its AUROC in the shipped table."""

    claim: str
    label: str
    findings: Mapping[str, Finding]
    telling: Telling
    known: Estimate | None = None

    @property
    def told(self) -> bool:
        """Whether its figures need the planted trigger or payload."""
        return any(finding.told for finding in self.findings.values())


def grid_rows(findings: Iterable[Finding], relatives: Relatives) -> list[GridRow]:
    """The rows of the grid: blind before told, premises first, then claims by name, then parameters in natural order."""
    findings = list(findings)
    premises = {premise for finding in findings for premise in finding.premises}

    def order(finding: Finding) -> tuple[object, ...]:
        return finding.told, finding.claim not in premises, finding.claim, _natural(finding.parameters), finding.key

    rows = []
    for _, of_one_key in groupby(sorted(findings, key=order), key=lambda finding: finding.key):
        group = list(of_one_key)
        by_pair = {finding.pair: finding for finding in group}
        label = parameter_label(group[0].parameters)
        telling = does_it_tell(list(by_pair.values()), relatives)
        rows.append(GridRow(group[0].claim, label, by_pair, telling, known_aurocs().by_key.get(group[0].key)))
    return rows


def pair_columns(findings: Iterable[Finding]) -> list[str]:
    """The pairs that have a finding: the zoo's in its order, then the others by name."""
    names = {finding.pair for finding in findings}
    return [name for name in PAIR_ORDER if name in names] + sorted(names - set(PAIR_ORDER))


def parameter_label(parameters: Mapping[str, Parameter]) -> str:
    """Parameters in a few words: a text without its name, a number with it (`q_proj, median, length 3`)."""
    parts = (value if isinstance(value, str) else f"{name} {value}" for name, value in parameters.items())
    return ", ".join(parts)


def short_number(value: float) -> str:
    """A number in at most six characters (`15.9`, `0.997`, `1e-7`, `-2.1e4`)."""
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def grid_text(
    findings: Iterable[Finding],
    relatives: Relatives | None = None,
    width: int | None = None,
    collapse_above: int | None = COLLAPSE_ABOVE,
) -> str:
    """The terminal's grid in `width` columns (None: as wide as it needs): a line a claim and rule, its parameters below.

    Pairs that find no room stand in a further grid below the first. A claim with more than `collapse_above` sets of
    parameters becomes one row of counts; None shows every row.
    """
    findings = list(findings)
    room = UNBOUNDED if width is None else width
    rows = grid_rows(findings, relatives or {})
    grids = [
        _grid(rows, pairs, collapse_above, room) for pairs in _bands(rows, pair_columns(findings), collapse_above, room)
    ]
    widest = max(text_width(grid) for grid in grids)
    text_room = min(room, max(LEGEND_WIDTH, widest))
    return "\n".join([*grids, _wrapped(LEGEND, text_room), _wrapped(luck(rows), text_room)]) + "\n"


def grid_markdown(findings: Iterable[Finding], relatives: Relatives | None = None) -> str:
    """The whole grid as two markdown tables, blind and told: verdicts in words, every row shown."""
    findings = list(findings)
    pairs = pair_columns(findings)
    rows = grid_rows(findings, relatives or {})
    lines = list[str]()
    for told, block in groupby(rows, key=lambda row: row.told):
        lines += [
            f"**{BLOCK_TITLES[told]}**",
            "",
            _line(["claim", "parameters", *pairs, "does it tell", _known_head()]),
        ]
        lines.append(_line(["---"] * (len(pairs) + 4)))
        for row in block:
            cells = [_words(row.findings.get(pair)) for pair in pairs]
            lines.append(_line([f"`{row.claim}`", row.label, *cells, row.telling.detail, interval_text(row.known)]))
        lines.append("")
    return "\n".join([*lines, luck(rows), ""])


def luck(rows: Sequence[GridRow]) -> str:
    """One sentence on multiplicity: how many rows would rank every organism above every relative by luck alone."""
    compared = [row.telling for row in rows if row.telling.compared]
    perfect = sum(telling.auroc is not None and telling.auroc.value == 1 for telling in compared)
    expected = sum(telling.chance for telling in compared)
    return (
        f"Of {len(compared)} rows that are compared with clean relatives {perfect} show a perfect split; if no figure meant "
        f"anything, luck alone would show {expected:.2g}."
    )


def escape_markdown(text: str) -> str:
    """Text that cannot end a table's cell or line."""
    return text.replace("|", "\\|").replace("\n", " ")


def _rule(rows: Sequence[GridRow]) -> str:
    rules = {str(finding.rule) for row in rows for finding in row.findings.values()}
    return rules.pop() if len(rules) == 1 else "each row has its own rule"


def _bands(
    rows: Sequence[GridRow], pairs: Sequence[str], collapse_above: int | None, room: int
) -> Iterator[Sequence[str]]:
    """The pairs in as many groups as the room asks for, at least one in each."""
    first = 0
    for last in range(1, len(pairs) + 1):
        if last == len(pairs) or _widths(rows, pairs[first : last + 1], collapse_above, room) is None:
            yield pairs[first:last]
            first = last


def _grid(rows: Sequence[GridRow], pairs: Sequence[str], collapse_above: int | None, room: int) -> str:
    widths = _widths(rows, pairs, collapse_above, room) or _widths(rows, pairs, collapse_above, UNBOUNDED) or []
    lines = [_aligned(_heads(pairs), widths), "─" * (sum(widths) + 2 * len(widths) - 2)]
    for told, block in groupby(rows, key=lambda row: row.told):
        lines += [_wrapped(BLOCK_TITLES[told], room), ""]
        for heading, cells in _claims(list(block), pairs, collapse_above):
            lines += [_wrapped(heading, room), *(_aligned(row, widths) for row in cells), ""]
    return "\n".join(lines)


def _heads(pairs: Sequence[str]) -> list[str]:
    return ["parameters", *map(_broken_at_hyphens, pairs), "does\nit tell", _known_head().replace(" ", "\n", 1)]


def _widths(rows: Sequence[GridRow], pairs: Sequence[str], collapse_above: int | None, room: int) -> list[int] | None:
    """The columns' widths, None where they find no room; only labels give way: a verdict stays beside its figure."""
    lines = [_heads(pairs), *(row for _, cells in _claims(rows, pairs, collapse_above) for row in cells)]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(text_width, column)) for column in columns]
    least = min(widths[0], max(LABEL_WIDTH, len(INDENT) + longest_word(columns[0])))
    return fitted_widths(widths, [least, *widths[1:]], room - 2 * (len(widths) - 1))


def _claims(
    rows: Sequence[GridRow], pairs: Sequence[str], collapse_above: int | None
) -> Iterator[tuple[str, list[list[str]]]]:
    """A heading for each claim that has a finding on one of the pairs, and the cells below it, row by row."""
    for claim, group in groupby(rows, key=lambda row: row.claim):
        every = list(group)
        shown = [row for row in every if any(pair in row.findings for pair in pairs)]
        if not shown:
            continue
        collapsed = collapse_above is not None and len(every) > collapse_above
        cells = [_counted(shown, pairs)] if collapsed else [_line_of_cells(row, pairs) for row in shown]
        yield f"{claim}  {_rule(shown)}", cells


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One row of the grid, its cells padded to the columns' widths and its labels broken between words."""
    label = cells[0] if text_width(cells[0]) <= widths[0] else _wrapped(cells[0], widths[0], INDENT)
    split = [cell.split("\n") for cell in (label, *cells[1:])]
    lines = zip_longest(*split, fillvalue="")
    return "\n".join(
        "  ".join(part + " " * (width - text_width(part)) for part, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _wrapped(text: str, width: int, indent: str = "") -> str:
    lines = wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _line_of_cells(row: GridRow, pairs: Sequence[str]) -> list[str]:
    telling = _wrapped(str(row.telling), TELLING_WIDTH)
    return [f"  {row.label}", *(_cell(row.findings.get(pair)) for pair in pairs), telling, _known(row)]


def _counted(rows: Sequence[GridRow], pairs: Sequence[str]) -> list[str]:
    return [
        f"  {len(rows)} rows: see\n  summary.md",
        *(_counts(rows, pair) for pair in pairs),
        _count_tellings(rows),
        "-",
    ]


def _cell(finding: Finding | None) -> str:
    return "" if finding is None else f"{SYMBOLS[finding.verdict]} {_brief(finding.deciding.value)}"


def _brief(value: float) -> str:
    """At most two digits and no leading zero (`16`, `.059`, `8e6`): ten pairs and their figures fit into 120 columns."""
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
    return text.replace("0.", ".", 1) if text.removeprefix("-").startswith("0.") else text


def _known_head() -> str:
    return f"AUROC of {known_aurocs().models}"


def _known(row: GridRow) -> str:
    return "-" if row.known is None else _brief(row.known.value)


def interval_text(estimate: Estimate | None) -> str:
    """An AUROC with its interval, "-" for none."""
    return "-" if estimate is None else f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _words(finding: Finding | None) -> str:
    return "" if finding is None else f"{finding.verdict} ({short_number(finding.deciding.value)})"


def _counts(rows: Sequence[GridRow], pair: str) -> str:
    counts = Counter(row.findings[pair].verdict for row in rows if pair in row.findings)
    return "\n".join(f"{counts[verdict]} {SYMBOLS[verdict]}" for verdict in Verdict if counts[verdict])


def _count_tellings(rows: Sequence[GridRow]) -> str:
    counts = Counter(str(row.telling) for row in rows if row.telling.compared)
    return "\n".join(f"{telling}: {count}x" for telling, count in sorted(counts.items(), reverse=True)) or "-"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def _natural(parameters: Mapping[str, Parameter]) -> tuple[tuple[bool, float, str], ...]:
    """A sorting key that puts numbers by size before text by letter."""
    return tuple(
        (True, 0.0, value) if isinstance(value, str) else (False, float(value), "") for value in parameters.values()
    )


def _broken_at_hyphens(name: str) -> str:
    """A heading broken behind hyphens, so that ten names fit above ten narrow columns."""
    lines = [""]
    for part in name.replace("-", "-\n").split("\n"):
        if lines[-1] and len(lines[-1] + part) > HEADER_WIDTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
