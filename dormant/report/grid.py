"""The grid of verdicts: claims and parameters down, pairs across, "does it tell" last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dormant.catalogue import PUBLISHED_PAIRS, ZOO_PAIRS
from dormant.claims.finding import Finding, Parameter, Verdict
from dormant.report.telling import Telling, does_it_tell

PAIR_ORDER = (*ZOO_PAIRS, *PUBLISHED_PAIRS)

# Words of at most three letters, so that a cell with its figure fits beside nine others in 120 columns and in ASCII.
SYMBOLS = {Verdict.SUPPORTED: "yes", Verdict.REFUTED: "no", Verdict.INCONCLUSIVE: "?", Verdict.INVALID: "x"}
STYLES = {Verdict.SUPPORTED: "green", Verdict.REFUTED: "red", Verdict.INCONCLUSIVE: "yellow", Verdict.INVALID: "dim"}
LEGEND = (
    "yes supported, no refuted, ? inconclusive, x invalid (a premise does not hold); the number is the deciding "
    "figure. Does it tell: on how many backdoored organisms the claim holds and on their clean twin does not."
)
HEADER_WIDTH = 8
LABEL_WIDTH = 16
COLLAPSE_ABOVE = 12


@dataclass(frozen=True)
class GridRow:
    """One claim with one set of parameters: its finding on each pair, and whether it tells."""

    claim: str
    label: str
    findings: Mapping[str, Finding]
    telling: Telling


def grid_rows(findings: Iterable[Finding], twins: Mapping[str, str]) -> list[GridRow]:
    """Rows of the grid: premises first, then claims by name, then parameters in natural order."""
    findings = list(findings)
    premises = {premise for finding in findings for premise in finding.premises}

    def order(finding: Finding) -> tuple[object, ...]:
        return finding.claim not in premises, finding.claim, _natural(finding.parameters), finding.key

    rows = []
    for _, of_one_key in groupby(sorted(findings, key=order), key=lambda finding: finding.key):
        group = list(of_one_key)
        by_pair = {finding.pair: finding for finding in group}
        label = parameter_label(group[0].parameters)
        rows.append(GridRow(group[0].claim, label, by_pair, does_it_tell(list(by_pair.values()), twins)))
    return rows


def pair_columns(findings: Iterable[Finding]) -> list[str]:
    """The pairs that have a finding, the zoo's in its order and all others behind it by name."""
    names = {finding.pair for finding in findings}
    return [name for name in PAIR_ORDER if name in names] + sorted(names - set(PAIR_ORDER))


def parameter_label(parameters: Mapping[str, Parameter]) -> str:
    """Parameters in a few words: text speaks for itself, a number keeps its name (`q_proj, median, length 3`)."""
    parts = (value if isinstance(value, str) else f"{name} {value}" for name, value in parameters.items())
    return ", ".join(parts)


def short_number(value: float) -> str:
    """A number in at most six characters (`15.9`, `0.997`, `1e-7`, `-2.1e4`)."""
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict_grid(
    findings: Iterable[Finding],
    twins: Mapping[str, str] | None = None,
    collapse_above: int | None = COLLAPSE_ABOVE,
    width: int = 120,
) -> Group:
    """The grid for a terminal of `width` columns: a line for each claim and its rule, its parameters below.

    A claim with more than `collapse_above` sets of parameters becomes one row of counts; None shows every row.
    """
    findings = list(findings)
    pairs = pair_columns(findings)
    parts, texts = [], list[list[Text]]()
    for claim, group in groupby(grid_rows(findings, twins or {}), key=lambda row: row.claim):
        rows = list(group)
        collapsed = collapse_above is not None and len(rows) > collapse_above
        lines = [_counted(rows, pairs)] if collapsed else [_line_of_cells(row, pairs) for row in rows]
        parts.append((Text.assemble((claim, "bold"), (f"  {_rule(rows)}", "dim")), lines))
        texts += lines
    heads = [Text("parameters"), *(Text(_broken_at_hyphens(pair)) for pair in pairs), Text("does\nit tell")]
    widths = [max((_width(line[column]) for line in [heads, *texts]), default=0) for column in range(len(heads))]
    others = sum(widths[1:]) + len(widths)  # one column between two; the labels fold into what is left
    widths[0] = min(widths[0], max(LABEL_WIDTH, width - others))
    shown: list[RenderableType] = [Text("Verdicts", "bold"), _aligned([heads], widths, SIMPLE_HEAD)]
    for heading, lines in parts:
        shown += [heading, _aligned(lines, widths, None), ""]
    return Group(*shown, Text(LEGEND, "dim"))


def grid_text(
    findings: Iterable[Finding],
    twins: Mapping[str, str] | None = None,
    width: int = 120,
    collapse_above: int | None = COLLAPSE_ABOVE,
) -> str:
    """The terminal's grid as plain text without colour, at most `width` columns wide."""
    console = Console(file=StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(verdict_grid(findings, twins, collapse_above, width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def grid_markdown(findings: Iterable[Finding], twins: Mapping[str, str] | None = None) -> str:
    """The whole grid as a markdown table, verdicts in words, nothing collapsed."""
    findings = list(findings)
    pairs = pair_columns(findings)
    rows = grid_rows(findings, twins or {})
    lines = [_line(["claim", "parameters", *pairs, "does it tell"]), _line(["---"] * (len(pairs) + 3))]
    for row in rows:
        cells = [_words(row.findings.get(pair)) for pair in pairs]
        lines.append(_line([f"`{row.claim}`", row.label, *cells, row.telling.detail]))
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Text that cannot end a table's cell or line."""
    return text.replace("|", "\\|").replace("\n", " ")


def _rule(rows: Sequence[GridRow]) -> str:
    rules = {str(finding.rule) for row in rows for finding in row.findings.values()}
    return rules.pop() if len(rules) == 1 else "each row has its own rule"


def _aligned(lines: Sequence[Sequence[Text]], widths: Sequence[int], box: Box | None) -> Table:
    """Rows in columns of given widths; tables of the same widths stand below each other like one."""
    padding = (0, 0 if box else 1, 0, 0)  # a box brings its own column between two
    table = Table(box=box, padding=padding, pad_edge=False, show_edge=False, show_header=box is not None)
    for head, width in zip(lines[0], widths, strict=True):
        table.add_column(head, width=width, overflow="fold")
    for line in lines if box is None else []:
        table.add_row(*line)
    return table


def _width(text: Text) -> int:
    return max(map(len, text.plain.split("\n")))


def _line_of_cells(row: GridRow, pairs: Sequence[str]) -> list[Text]:
    cells = [_cell(row.findings.get(pair)) for pair in pairs]
    return [Text(f"  {row.label}"), *cells, Text(str(row.telling), "bold")]


def _counted(rows: Sequence[GridRow], pairs: Sequence[str]) -> list[Text]:
    label = Text(f"  {len(rows)} rows: see\n  summary.md", "dim")
    return [label, *(_counts(rows, pair) for pair in pairs), Text(_count_tellings(rows), "bold")]


def _cell(finding: Finding | None) -> Text:
    if finding is None:
        return Text("")
    return Text(f"{SYMBOLS[finding.verdict]} {_brief(finding.deciding.value)}", STYLES[finding.verdict])


def _brief(value: float) -> str:
    """At most two digits and no leading zero (`16`, `.059`, `8e6`): ten pairs and their figures fit into 120 columns."""
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
    return text.replace("0.", ".", 1) if text.removeprefix("-").startswith("0.") else text


def _words(finding: Finding | None) -> str:
    return "" if finding is None else f"{finding.verdict} ({short_number(finding.deciding.value)})"


def _counts(rows: Sequence[GridRow], pair: str) -> Text:
    counts = Counter(row.findings[pair].verdict for row in rows if pair in row.findings)
    lines = [Text(f"{counts[verdict]} {SYMBOLS[verdict]}", STYLES[verdict]) for verdict in Verdict if counts[verdict]]
    return Text("\n").join(lines)


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
