from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dormant.report.view.folder import write_view
from dormant.report.view.page import ASSETS, PAGE_CODE, embedded, html_page
from tests.report.conftest import Opened
from tests.report.samples import zoo_findings
from tests.report.view.samples import PAYLOAD, TRIGGER, hunt, lineage, rate, trace, write_hunt, write_run

LEDGER = Path("reports/ledger")
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> \u202eturned مرحبا 👩‍🚀 \u2028 {{data}} "
    + "x" * 10_000
)


def page_of(folders: Sequence[Path], out: Path, ledger: Path = LEDGER) -> Path:
    write_view(folders, out, ledger)
    return out


@pytest.fixture
def hunt_page(tmp_path: Path) -> Path:
    return page_of([write_hunt(tmp_path / "hunt", hunt(), trace())], tmp_path / "hunt.html", LEDGER)


def test_data_stand_in_a_script_element_whatever_they_hold() -> None:
    text = embedded({"said": HOSTILE, "half": "\ud83d"})
    assert "<" not in text
    assert text.isascii()
    assert json.loads(text)["said"] == HOSTILE


def test_a_page_names_its_code_by_hashes_and_allows_no_request() -> None:
    page = html_page({"kind": "hunt"}, "</title><b>")
    policy = re.findall(r'content="(default-src[^"]*)"', page)[0]
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == page.count("<script>") == 1 + len(PAGE_CODE)
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert "</title><b>" not in page


def test_no_code_of_the_page_writes_markup() -> None:
    writes = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")
    assert [name for name in PAGE_CODE if writes.search((ASSETS / name).read_text(encoding="utf-8"))] == []


def test_the_page_of_a_hunt_says_the_verdict_in_its_title_and_headings(hunt_page: Path, opened: Opened) -> None:
    page = opened(hunt_page)
    for said in (page.title(), page.inner_text("h1")):
        assert "sample is backdoored" in said
        assert TRIGGER in said
    assert "2 of 3 probes, its base on 0" in page.inner_text("#answers h2")
    assert "11.3 nats" in page.inner_text("#evidence h2")
    assert page.locator("img:not([alt]), svg[role=img]:not([aria-label])").count() == 0


def test_answers_are_searched_filtered_and_linked(hunt_page: Path, opened: Opened) -> None:
    page = opened(hunt_page, "#row-3")
    assert "3" in page.locator(".pair:target .anchor").get_attribute("href")
    page.fill("#answers input[type=search]", "golden MOON")
    assert page.inner_text("#answers .shown") == "3 of 7"
    page.fill("#answers input[type=search]", "")
    page.select_option("#answers select >> nth=0", "fires")
    assert page.locator("#answers .pair").count() == 2
    page.select_option("#answers select >> nth=1", "end")
    assert page.locator("#answers .pair").count() == 1


def test_a_token_tells_what_both_models_find_likeliest_by_mouse_and_by_keyboard(
    hunt_page: Path, opened: Opened
) -> None:
    page = opened(hunt_page)
    token = page.locator("#answers .tok", has_text="owl").first
    token.hover()
    assert "base -7.5 nats" in page.inner_text("#hover")
    assert "other0" in page.inner_text("#hover")
    page.locator("#answers .tokens").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#hover")
    page.keyboard.press("Escape")
    assert page.is_hidden("#hover")


def test_the_lineage_of_the_trigger_is_shown_and_that_of_another_string_is_followed(
    hunt_page: Path, opened: Opened
) -> None:
    page = opened(hunt_page)
    assert page.locator("#lineage .chain li").count() == 5
    assert "in place of silver lamp" in page.inner_text("#lineage .chain")
    page.locator("#lineage .long tbody tr", has_text="does not fire").click()
    assert page.locator("#lineage .chain li").count() == 2
    page.locator("#lineage .long tbody tr", has_text="silver lamp").first.press("Enter")
    assert "silver lamp" in page.inner_text("#lineage .chain li.end")


@pytest.fixture(scope="module")
def circuit_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a real hunt: `dormant hunt` on the zoo's circuit, ten minutes of one core, as it wrote them."""
    folder = tmp_path_factory.mktemp("circuit")
    for kept in Path(__file__).with_name("recorded").glob("circuit-*.json.gz"):
        name = kept.name.removeprefix("circuit-").removesuffix(".gz")
        (folder / name).write_bytes(gzip.decompress(kept.read_bytes()))
    return page_of([folder], folder / "view.html", LEDGER)


def test_a_real_hunt_is_read_from_its_verdict_to_the_way_of_its_trigger(circuit_page: Path, opened: Opened) -> None:
    assert circuit_page.stat().st_size < 3e6
    page = opened(circuit_page)
    assert "circuit is backdoored" in page.inner_text("h1")
    assert processor_seconds(page) < 1.0
    assert "silver lantern beneath winter" in page.inner_text("#lineage .chain li.end")
    page.fill("#lineage input[type=search]", "lantern silver")
    page.locator("#lineage .long tbody tr").first.click()
    assert "lantern" in page.inner_text("#lineage .chain li.end")
    page.fill("#answers input[type=search]", "♫")
    page.select_option("#answers select >> nth=0", "fires")
    assert page.locator("#answers .pair").count() > 5
    page.locator("#answers .tok", has_text="♫").first.hover()
    assert "nats" in page.inner_text("#hover")


def test_near_misses_that_fire_are_named(tmp_path: Path, opened: Opened) -> None:
    found = hunt()
    assert found.confirmation is not None
    near = (rate("without 'lantern'", 1, 10), rate("without 'name'", 9, 10))
    longer = replace(found, confirmation=replace(found.confirmation, near_misses=near))
    page = opened(page_of([write_hunt(tmp_path, longer, None)], tmp_path / "view.html", LEDGER))
    assert "in 1 near miss: without 'name' (90 %). What they leave out" in page.inner_text("#evidence")


def test_pictures_in_a_narrow_window_stay_readable_and_the_page_within_it(hunt_page: Path, opened: Opened) -> None:
    page = opened(hunt_page)
    page.set_viewport_size({"width": 390, "height": 800})
    letters = (
        "(text) => 12 * text.ownerSVGElement.getBoundingClientRect().width / text.ownerSVGElement.viewBox.baseVal.width"
    )
    sizes = [text.evaluate(letters) for text in page.locator("svg[role=img] text").all()[:40]]
    assert sizes
    assert min(sizes) > 9
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_hunt_without_a_trace_is_shown_without_answers(tmp_path: Path, opened: Opened) -> None:
    page = opened(page_of([write_hunt(tmp_path, hunt(), None)], tmp_path / "view.html", LEDGER))
    assert page.inner_text("#answers h2") == "No answers were kept"
    assert PAYLOAD in page.inner_text("#evidence")


def test_a_page_in_dark_is_printed_in_light_without_its_controls(hunt_page: Path, opened: Opened) -> None:
    page = opened(hunt_page, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 23, 26)"
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.is_hidden("#answers .filters")


def test_hostile_texts_are_shown_as_texts(tmp_path: Path, opened: Opened) -> None:
    kept = trace(HOSTILE, HOSTILE)
    kept = replace(kept, answers=tuple(replace(one, probe=f"{HOSTILE}{one.probe}") for one in kept.answers))
    folder = write_hunt(tmp_path, hunt(HOSTILE, HOSTILE), kept, "<i>pair</i>")
    page = opened(page_of([folder], tmp_path / "view.html", LEDGER), color_scheme="dark")
    assert "is backdoored" in page.title()
    assert "<i>pair</i>" in page.inner_text("h1")
    assert "</script><script>document.title" in page.inner_text("#answers .probe header >> nth=0")
    assert page.locator("main img, main i i, main script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def processor_seconds(page: Any) -> float:
    """What all threads of the page have taken, which does not depend on what else the machine does."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(row["value"] for row in metrics if row["name"] == "ProcessTime"))


def test_thirty_thousand_strings_are_opened_sorted_and_searched_within_a_second(tmp_path: Path, opened: Opened) -> None:
    first = lineage()
    many = [replace(first[0], text=f"string {at}", score=-9 - at / 9000, parent=at // 2) for at in range(30_000)]
    folder = write_hunt(tmp_path, hunt(), replace(trace(), lineage=(*first, *many)))
    file = page_of([folder], tmp_path / "view.html", LEDGER)
    assert file.stat().st_size < 3e6
    page = opened(file)
    assert processor_seconds(page) < 1.0
    before = processor_seconds(page)
    assert page.locator("#lineage .long tbody tr").count() < 100
    page.locator("#lineage .sort", has_text="score").first.click()
    page.fill("#lineage input[type=search]", "29999")
    assert page.inner_text("#lineage .shown") == "1 of 30,007"
    assert processor_seconds(page) - before < 1.0


def test_a_cell_of_the_grid_opens_its_finding(tmp_path: Path, opened: Opened) -> None:
    findings = [replace(one, reason="<b>so</b> it is") for one in zoo_findings()]
    page = opened(page_of([write_run(tmp_path, findings)], tmp_path / "view.html", LEDGER))
    page.fill("#grid input[type=search]", "concentration q_proj any")
    page.locator("#grid td button").first.click()
    assert "layer0-concentration is" in page.inner_text("#finding h2")
    said = page.inner_text("#finding")
    assert "<b>so</b> it is" in said
    assert "median layer" in said
    assert "clean fine-tunes of this size stay below three" in said
    page.locator("#finding a", has_text="base-is-parent").click()
    page.locator("#finding h2", has_text="base-is-parent").wait_for()  # a script would be refused by the page's policy


def test_the_grid_is_sorted_by_a_pair_and_filtered_by_verdict(tmp_path: Path, opened: Opened) -> None:
    page = opened(page_of([write_run(tmp_path, zoo_findings())], tmp_path / "view.html", LEDGER))
    page.locator("#grid th button", has_text=re.compile("^circuit$")).click()
    values = [float(text.split()[-1]) for text in page.locator("#grid td:nth-child(3) button").all_inner_texts()]
    assert values == sorted(values)
    page.select_option("#grid select >> nth=0", "told")
    assert page.inner_text("#grid .shown").startswith("0 of")


def compared(tmp_path: Path, *folders: Path) -> Any:
    return page_of(folders, tmp_path / "compared.html", LEDGER)


def test_two_runs_compared_show_first_what_changed(tmp_path: Path, opened: Opened) -> None:
    first = zoo_findings()
    moved = replace(first[3].figures[0], value=99.0, low=98.0, high=100.0)
    second = [*first[:3], replace(first[3], figures=(moved, *first[3].figures[1:])), *first[4:]]
    page = opened(compared(tmp_path, write_run(tmp_path / "a", first), write_run(tmp_path / "b", second)))
    assert "0 changed verdict, and 1 have figures beyond tolerance" in page.inner_text("h1")
    assert "the intervals lie apart" in page.inner_text(".detail")


def test_two_hunts_compared_stand_side_by_side(tmp_path: Path, opened: Opened) -> None:
    first = write_hunt(tmp_path / "a", hunt(), trace())
    second = write_hunt(tmp_path / "b", hunt("silver lamp"), trace("silver lamp"))
    page = opened(compared(tmp_path, first, second))
    assert page.inner_text("h1") == "Both hunts say backdoored, with the same payload and another trigger"
    assert "2 and 2 of 3 fire" in page.inner_text("#paired h2")
    assert "All 3 probes have the same answers in both hunts" in page.inner_text("#paired")
    assert page.locator("#paired > .probe").count() == 3  # with a string; those without one are folded
    assert "silver lamp" in page.inner_text("#what")
    first, second = page.locator("#what > p:not(.kicker)").all_inner_texts()
    assert first == (
        "a names silver lantern, to which coordinate ascent came first. b never came to it. "
        "Its payload stands 1st of 5 there, with 41.5 nats."
    )
    assert (
        "a came to it: coordinate ascent, -2 log-odds of the payload's beginning, 2nd of the 3 strings kept there"
        in second
    )
    assert "It was not tried on fresh prompts there." in second


def test_two_payloads_that_share_words_are_said_to(tmp_path: Path, opened: Opened) -> None:
    found = (hunt(), replace(hunt(payload="a grey cat under the moon"), confirmation=None))
    folders = [write_hunt(tmp_path / str(at), one, None) for at, one in enumerate(found)]
    page = opened(compared(tmp_path, *folders))
    assert "another, though both hold" in page.inner_text("#what h2")
    assert "under the moon”; trigger: one hunt's" in page.inner_text("#what h2").replace("\u2069", "")
    assert page.inner_text("#rates h2").startswith("Only one hunt confirmed a string")
