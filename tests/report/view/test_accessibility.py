"""Whether everybody can read the pages: contrast and names of controls by axe-core, the keyboard, and paper."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dormant.claims.finding import Verdict
from dormant.report.view.folder import write_view
from tests.report.conftest import Opened
from tests.report.samples import zoo_findings
from tests.report.view.samples import hunt, lineage, trace, write_hunt, write_run

LEDGER = Path("reports/ledger")
KINDS = ("hunt", "claims", "hunts", "runs")
WIDE = "claims of all pairs"
GUIDELINES = (
    "wcag2a",
    "wcag2aa",
    "wcag21a",
    "wcag21aa",
    "wcag22aa",
)  # texts must have a contrast of 4.5, large ones of 3
# axe-core reads the colour of texts in pictures as if they were HTML; their own is `fill`.
FILLS = """[...document.querySelectorAll("svg text")].map((one) => getComputedStyle(one).fill)"""
REACHED = """(() => {
  const one = document.activeElement, style = getComputedStyle(one);
  if (one === document.body) return null;
  one.dataset.reached = "yes";
  return {what: one.outerHTML.slice(0, 80), ring: style.outlineStyle !== "none" && style.outlineWidth !== "0px"};
})()"""
MISSED = """[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && !one.dataset.reached).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind that shows all that it can."""
    folder = tmp_path_factory.mktemp("pages")
    every = zoo_findings()
    findings = [found for found in every if found.pair in ("circuit", "circuit-plain")]
    changed = [replace(findings[0], verdict=Verdict.REFUTED), *findings[1:]]
    hunts = [write_hunt(folder / name, hunt(), trace()) for name in ("one hunt", "another hunt")]
    runs = [write_run(folder / name, found) for name, found in (("one run", findings), ("another run", changed))]
    shown = dict(
        zip((*KINDS, WIDE), (hunts[:1], runs[:1], hunts, runs, [write_run(folder / WIDE, every)]), strict=True)
    )
    for kind, folders in shown.items():
        write_view(folders, folder / f"{kind}.html", LEDGER)
    return {kind: folder / f"{kind}.html" for kind in shown}


def whole(kind: str, pages: dict[str, Path], opened: Opened, **options: Any) -> Any:
    """The page with a finding or a token open, and all that folds."""
    page = opened(pages[kind], "#finding-1" if "claims" in kind else "", **options)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if kind == "hunt":
        page.locator("#answers .tok").first.hover()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_stands_out_and_every_control_has_a_name(
    kind: str, scheme: str, pages: dict[str, Path], opened: Opened
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = whole(kind, pages, opened, color_scheme=scheme)
    found = axe.run(page, options={"runOnly": {"type": "tag", "values": GUIDELINES}}).response
    assert [(rule["id"], node["html"][:120]) for rule in found["violations"] for node in rule["nodes"]] == []
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert {fill for fill in page.evaluate(FILLS) if fill != ink} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_tab_key_reaches_all_controls_and_shows_where_it_is(
    kind: str, pages: dict[str, Path], opened: Opened
) -> None:
    page = opened(pages[kind])
    for _ in range(600):
        page.keyboard.press("Tab")
        stop = page.evaluate(REACHED)
        if stop is None:
            break
        assert stop["ring"], stop["what"]
    assert page.evaluate(MISSED) == []


def test_a_long_table_keeps_the_focus_while_it_is_scrolled(tmp_path: Path, opened: Opened) -> None:
    many = [replace(lineage()[0], text=f"string {at}") for at in range(400)]
    write_view(
        [write_hunt(tmp_path, hunt(), replace(trace(), lineage=(*lineage(), *many)))], tmp_path / "a.html", LEDGER
    )
    page = opened(tmp_path / "a.html")
    page.locator("#lineage .long tbody tr[tabindex]").nth(20).focus()
    page.evaluate("document.querySelector('#lineage .frame').scrollTop = 600")
    expect = pytest.importorskip("playwright.sync_api").expect
    space = page.locator("#lineage .space").first.locator("xpath=./*[1]")
    expect(space).to_have_attribute(
        "style", re.compile(r"height:\s*238px")
    )  # the page's policy forbids to wait by a script
    assert page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == "22"


@pytest.mark.parametrize("kind", [*KINDS, WIDE])
def test_on_paper_nothing_is_cut_off(kind: str, pages: dict[str, Path], opened: Opened) -> None:
    page = whole(kind, pages, opened)
    page.set_viewport_size({"width": 718, "height": 1047})  # A4 at 96 dots an inch, within margins of a centimetre
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
