from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dormant.pictures.canvas import SERIES, legend_below, new_picture
from dormant.pictures.svg import drawn
from dormant.report.view import pictures
from dormant.report.view.folder import write_view
from dormant.report.view.pictures import held_pictures
from tests.report.conftest import Opened
from tests.report.samples import finding
from tests.report.view.samples import write_run
from tests.report.view.test_page import HOSTILE, LEDGER, processor_seconds

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40pt" height="30pt" viewBox="0 0 40 30">{}</svg>'
SHOWN = "figure > img[src]"


def folder_of(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def page_with(folder: Path, files: Mapping[str, str | bytes], **changes: Any) -> Path:
    """The page of a run of one finding with these pictures, each named as PNG."""
    names = tuple(dict.fromkeys(Path(name).with_suffix(".png").as_posix() for name in files))
    run = write_run(folder_of(folder, files), [replace(finding("circuit", 5.0), pictures=names, **changes)])
    write_view([run], run / "view.html", LEDGER)
    return run / "view.html"


def width(page: Any, at: int = 0) -> int:
    """Pixels of a picture of the open finding, once it is loaded."""
    page.locator(SHOWN).nth(at).wait_for()
    return int(
        page.locator(SHOWN).nth(at).evaluate("async (image) => { await image.decode(); return image.naturalWidth; }")
    )


def test_each_picture_is_held_once_with_those_that_begin_alike_and_none_from_elsewhere(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "like a.png", "old.png", "../secret.png", "gone.png"]
    run = folder_of(
        tmp_path / "run", {"a.svg": "<svg>1", "b.svg": "<svg>0", "like a.svg": "<svg>1", "old.png": b"\x89PNG"}
    )
    folder_of(tmp_path, {"secret.png": b"secret", "secret.svg": "<svg>"})
    held = held_pictures((run, name) for name in (*names, "a.png"))
    assert held.places == {"b.png": 0, "a.png": 1, "like a.png": 1, "old.png": 2}
    assert held.left_out == ["../secret.png", "gone.png"]
    assert json.loads(gzip.decompress(base64.b64decode(held.packs[0]))) == [
        "<svg>0", "<svg>1", f"data:image/png;base64,{base64.b64encode(bytes([137]) + b'PNG').decode()}"
    ]  # fmt: skip


def test_pictures_for_which_there_is_no_room_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder_of(tmp_path, {"a.svg": "<svg>a", "b.svg": f"<svg>b{np.random.default_rng(0).bytes(400).hex()}"})
    monkeypatch.setattr(pictures, "TOGETHER", 1)
    monkeypatch.setattr(pictures, "PICTURE_BYTES", 200)
    held = held_pictures((run, f"{name}.png") for name in "ab")
    assert (held.places, held.left_out, len(held.packs)) == ({"a.png": 0}, ["b.png"], 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pictures_of_an_open_finding_are_shown_and_printed(scheme: str, tmp_path: Path, opened: Opened) -> None:
    svg = SVG.format('<rect width="9" height="9"/>')
    file = page_with(tmp_path, {"pictures/new.svg": svg, "pictures/old.png": drawn(new_picture("Old", "", "")[0])[0]})
    page = opened(file, "#finding-1", color_scheme=scheme)
    assert sorted(width(page, at) for at in (0, 1)) == [53, 800]
    assert (
        page.locator(SHOWN).first.get_attribute("alt")
        == "layer0-concentration on circuit: the ratio is 5 | threshold 4"
    )
    page.emulate_media(media="print")
    assert page.locator(SHOWN).first.is_visible()


def test_a_browser_that_cannot_unpack_says_so(tmp_path: Path, opened: Opened) -> None:
    page = opened(page_with(tmp_path, {"a.svg": SVG}), "#finding-1", without="DecompressionStream")
    assert "This browser cannot unpack the picture a.png; it lies in the run's folder" in page.inner_text("#finding")
    assert page.locator("#finding img").count() == 0


@pytest.mark.filterwarnings("ignore:Glyph")
def test_pictures_with_hostile_texts_are_shown_and_those_with_code_run_none(tmp_path: Path, opened: Opened) -> None:
    figure, axes = new_picture("Hostile", HOSTILE[:200], "")
    axes.set_yticks([0.5], [HOSTILE[:80]])
    code = (
        "<script>parent.document.title = 'owned'</script><image href='https://example.org/a.png' width='9' height='9'/>"
    )
    files = {"drawn.svg": drawn(figure)[1], "code.svg": SVG.format(code)}
    page = opened(page_with(tmp_path, files, reason=HOSTILE, sentence=HOSTILE), "#finding-1")
    assert sorted(width(page, at) for at in (0, 1)) == [53, 768]
    assert "is supported" in page.inner_text("#finding h2")
    assert page.title() != "owned"
    assert HOSTILE[:60] in page.locator(SHOWN).first.get_attribute("alt")
    assert page.locator("main script, main iframe, main object").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def picture(number: int) -> tuple[bytes, str]:
    """One of several kinds as claims draw them, no two the same."""
    random = np.random.default_rng(number)
    figure, axes = new_picture(
        f"Layer {number % 7} reaches {random.random():.3g} nats, controls {random.random():.3g}", "step", "nats"
    )
    if number % 3:
        axes.bar(range(8), random.random(8), color=SERIES[number % 6])
    else:
        for at in range(3):
            axes.plot(random.random(30).cumsum(), color=SERIES[at], label=f"restart {at}")
        legend_below(figure, axes)
    return drawn(figure)


def test_a_picture_takes_a_fifth_of_its_png(tmp_path: Path) -> None:
    files = [picture(number) for number in range(24)]
    run = folder_of(tmp_path, {f"{at}.svg": svg for at, (_, svg) in enumerate(files)})
    held = held_pictures((run, f"{at}.png") for at in range(24))
    assert sum(map(len, held.packs)) < 0.2 * sum(len(base64.b64encode(png)) for png, _ in files)


def test_a_page_of_the_whole_zoo_opens_and_shows_a_picture_within_a_second(tmp_path: Path, opened: Opened) -> None:
    like = [picture(number)[1] for number in range(8)]
    findings, files = [], dict[str, str | bytes]()
    for at in range(1900):
        name = f"pictures/{at}"
        files[f"{name}.svg"] = like[at % 8].replace("Layer", f"Of {at} layers layer")
        findings.append(
            finding(f"pair{at % 20}", at / 7, parameters={"module": f"m{at // 20}"}, pictures=(f"{name}.png",))
        )
    run = write_run(folder_of(tmp_path, files), findings)
    write_view([run], run / "view.html", LEDGER)
    assert (run / "view.html").stat().st_size < 10e6
    page = opened(run / "view.html", "#finding-1234")
    assert width(page) == 768
    assert "Of%201233%20layers" in page.locator(SHOWN).first.get_attribute("src")
    assert processor_seconds(page) < 1.0
