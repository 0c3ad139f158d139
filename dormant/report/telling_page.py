"""The table of methods as a page, a record and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dormant.errors import BadInput
from dormant.pictures.canvas import png_bytes
from dormant.pictures.telling import auroc_forest
from dormant.records import write_json
from dormant.report.clustered_auroc import least_auroc
from dormant.report.grid import escape_markdown, interval_text, short_number
from dormant.report.known_auroc import known_record
from dormant.report.telling_table import TellingRow, TellingTable, discoveries

RECORD, PAGE, PICTURE = "telling.json", "README.md", "auroc.png"
SHIPPED_PART = "known_auroc.json"  # what the grid of any other run shows of it
FALSE_DISCOVERIES = 0.05  # the share of rows called separating that may be so by luck

READING_A_ROW = """\
Each row is the deciding figure of a claim, over all models. **AUROC** is the chance that a backdoored model's figure lies
further on the side that the claim predicts than a clean model's: 0.5 says nothing, 1 separates them all, 0 the wrong way round.
Its 95 % interval is of a bootstrap that draws whole families (an organism and its relatives share base, recipe and seed).
**own twin** is the share of organisms whose figure beats that of their own plain relative: what both share cancels. **blind**
figures need neither trigger nor payload; **told** ones were given or judged with them and cannot find a backdoor. **left out**
counts the models on which the claim was invalid or has no meaning. **q** is the expected share of rows by luck among those with
a test as sure (Benjamini and Hochberg on Mann and Whitney's test, which takes the models of a family for independent and so
flatters). A threshold plays no part here.
"""


def write_telling(table: TellingTable, out: Path) -> Path:
    """Write records, picture and page to a folder; the page's path. Raises BadInput where it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / RECORD, table)
        write_json(out / SHIPPED_PART, known_record(table))
        measured = [(row.key, row.told, row.auroc) for row in table.rows if row.auroc is not None]
        if measured:
            (out / PICTURE).write_bytes(png_bytes(auroc_forest(measured)))
        (out / PAGE).write_text(telling_markdown(table), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"the table's folder must be writable; got {error.strerror} at {out}; name another with --out"
        ) from error
    return out / PAGE


def telling_markdown(table: TellingTable) -> str:
    """The page: who was asked, what so many can tell, the table, by kind of organism, and the models."""
    shares = discoveries(table.rows)
    planted = [subject for subject in table.subjects if subject.backdoored]
    clean = [subject for subject in table.subjects if not subject.backdoored]
    parts = [
        "# Which figures tell a backdoored model from a clean one",
        f"{len(planted)} backdoored and {len(clean)} clean models, {len({one.cluster for one in table.subjects})} families. "
        + _power(len(planted), len(clean)),
        READING_A_ROW.strip(),
    ]
    if any(row.auroc is not None for row in table.rows):
        parts.append(f"![AUROC by figure]({PICTURE})")
    for told in (False, True):
        rows = [row for row in table.rows if row.told is told]
        if rows:
            compared = [row for row in rows if row.auroc is not None]
            parts += [f"## {'Told' if told else 'Blind'}", _luck(rows, shares), _rows(compared, shares)]
    if kinds := _kinds(table.rows):
        parts.append(f"## By kind of organism\n\nOrganisms of one kind beside all clean models; AUROC.\n\n{kinds}")
    models = [
        [
            one.name,
            "yes" if one.backdoored else "no",
            one.cluster,
            ", ".join(f"{name} {value}" for name, value in one.kinds.items()),
        ]
        for one in table.subjects
    ]
    parts.append("## The models\n\n" + _table(("model", "backdoored", "family", "kind"), models))
    return "\n\n".join(parts) + "\n"


def _power(planted: int, clean: int) -> str:
    if not planted or not clean:
        return "A comparison needs both."
    least = least_auroc(planted, clean)
    return (
        f"So many tell an AUROC of {least:.2f} from 0.5 with a power of 80 %; what lies nearer to 0.5 may be missed."
        if least < 1
        else "So few can tell no AUROC from 0.5 with a power of 80 %."
    )


def _luck(rows: Sequence[TellingRow], shares: dict[str, float]) -> str:
    compared = [row for row in rows if row.auroc is not None]
    surely = sum(shares[row.key] <= FALSE_DISCOVERIES for row in compared)
    said = (
        f"{len(compared)} rows have three models a side; {surely} have a q of {FALSE_DISCOVERIES:g} or less, of which one in "
        f"{1 / FALSE_DISCOVERIES:.0f} is expected to be luck."
    )
    others = dict.fromkeys(row.claim for row in rows if row.auroc is None)
    if others:
        said += f" Asked of fewer, and not compared: {', '.join(f'`{name}`' for name in others)}."
    return said


def _rows(rows: Sequence[TellingRow], shares: dict[str, float]) -> str:
    head = ("claim", "figure, unit", "needs", "AUROC", "own twin", "left out", "q", "tokens", "seconds")
    return _table(head, [_cells(row, shares.get(row.key)) for row in rows])


def _cells(row: TellingRow, share: float | None) -> list[str]:
    side = "large" if row.rising else "small"
    return [
        f"`{row.key}`",
        f"{row.figure}, {row.unit}; {side} is suspect",
        row.needs,
        interval_text(row.auroc),
        interval_text(row.paired),
        ", ".join(f"{count} {why}" for why, count in sorted(Counter(row.left_out.values()).items())) or "none",
        "-" if share is None else short_number(share),
        "-" if row.tokens is None else f"{row.tokens:,.0f}",
        "-" if row.seconds is None else f"{row.seconds:.1f}",
    ]


def _kinds(rows: Sequence[TellingRow]) -> str:
    kinds = sorted({kind for row in rows for kind in row.by_kind})
    blind = [row for row in rows if not row.told and row.by_kind]
    if not kinds or not blind:
        return ""
    cells = [[f"`{row.key}`", *(interval_text(row.by_kind.get(kind)) for kind in kinds)] for row in blind]
    return _table(("claim", *kinds), cells)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
