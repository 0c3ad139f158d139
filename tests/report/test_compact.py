from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dormant.pictures.canvas import SERIES, legend_below, new_picture, png_bytes
from dormant.records import json_text
from dormant.report.allure import describe_finding, figures_csv
from dormant.report.compact import with_data_compressed, with_each_attachment_once
from tests.report.samples import zoo_findings

READY = """<script defer>
  Promise.allSettled([FILES])
    .then(function(){
      window.allureReportDataReady = true;
    })
</script>"""


def page_of(files: dict[str, bytes]) -> str:
    """As Allure 3 writes it: a call of d(NAME, BASE64) a file."""
    calls = ",".join(
        f"d({json.dumps(name)},{json.dumps(base64.b64encode(content).decode())})" for name, content in files.items()
    )
    return f"<script>window.allureReportData = {{}};</script>{READY.replace('FILES', calls)}<script>after()</script>"


def test_a_page_whose_data_are_elsewhere_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"adapt compact\.DATA"):
        with_data_compressed("<script>somewhere else</script>")


def test_the_browser_unpacks_what_was_compressed(tmp_path: Path, browser: Any) -> None:
    files = {"data/a.json": '{"said": "</script> \u2028 مرحبا"}'.encode(), "data/b.png": bytes(range(256))}
    (tmp_path / "page.html").write_text(with_data_compressed(page_of(files)).replace("after()", ""), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("window.allureReportDataReady")
    found = page.evaluate(
        "Object.fromEntries(Object.keys(allureReportData).map((name) => [name, allureReportData[name]]))"
    )
    page.close()
    assert {name: base64.b64decode(content) for name, content in found.items()} == files


def test_files_that_begin_alike_stand_together() -> None:
    files = {"c.svg": b"<svg>1", "a.svg": b"<svg>2", "b.json": b"{}", "0.svg": b"<svg>0"}
    packed = re.findall(r'id="dormant-packed">([^<]+)<', with_data_compressed(page_of(files)))[0]
    texts = json.loads(gzip.decompress(base64.b64decode(packed)))["texts"]
    assert list(texts.items()) == [("b.json", "{}"), ("0.svg", "<svg>0"), ("c.svg", "<svg>1"), ("a.svg", "<svg>2")]


def test_attachments_of_the_same_content_become_one(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for at, content in enumerate((b"same", b"same", b"other")):
        (results / f"{at}-attachment.png").write_bytes(content)
        (results / f"{at}-result.json").write_text(json.dumps({"attachments": [{"source": f"{at}-attachment.png"}]}))
    (results / "environment.properties").write_text("seed=0")
    prepared = with_each_attachment_once(results, tmp_path / "prepared")
    sources = [json.loads((prepared / f"{at}-result.json").read_text())["attachments"][0]["source"] for at in range(3)]
    assert sources[0] == sources[1] != sources[2]
    assert sorted(file.name for file in prepared.glob("*-attachment.png")) == sorted(set(sources))
    assert (prepared / "environment.properties").read_text() == "seed=0"


def test_a_finding_takes_little_of_the_report_beside_its_picture() -> None:
    findings = zoo_findings()
    files = dict[str, bytes]()
    for at, one in enumerate(findings):
        record = json_text(one.keyed_record)
        result = json_text(
            {"name": one.key, "description": describe_finding(one), "uuid": f"{at:032x}", "finding": record}
        )
        files |= {f"data/{at}.json": result.encode(), f"data/{at}.csv": figures_csv(one).encode()}
    assert len(with_data_compressed(page_of(files))) < 1000 * len(findings)


def test_a_picture_takes_few_kilobytes() -> None:
    figure, axes = new_picture(
        "Eight searches of 200 steps end at 3.1 nats or less, random ones at 2.2", "step", "nats"
    )
    for number, colour in enumerate(SERIES):
        axes.plot(np.random.default_rng(number).random(200).cumsum(), color=colour, label=f"restart {number}")
    legend_below(figure, axes)
    assert len(png_bytes(figure)) < 16_000
