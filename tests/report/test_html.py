from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.report import html
from tests.report.test_compact import page_of

ANALYTICS = """<script async src="https://www.googletagmanager.com/gtag/js?id=G-1"></script>
    <script>
        window.dataLayer = window.dataLayer || [];
        function gtag(){dataLayer.push(arguments);}
        gtag('config', 'G-1', {"reportUuid": "x"});
    </script>"""
PAGE = f"<body><script>before()</script>{ANALYTICS}<script>after()</script></body>"
DATA = page_of({"data/a.json": b"{}"})

# Stands in for npx: writes the page where the configuration says, as Allure does.
GENERATES = f"""#!/bin/sh
while [ "$1" != --config ]; do shift; done
output=$(sed 's/.*"output": "\\([^"]*\\)".*/\\1/' "$2")
mkdir -p "$output"
cat > "$output/index.html" <<'PAGE'
{PAGE}
{DATA}
PAGE
"""


def fake_npx(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "npx"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "1-result.json").write_text("{}")
    return folder


def test_analytics_is_cut_out_and_nothing_else() -> None:
    assert html.without_analytics(PAGE) == "<body><script>before()</script><script>after()</script></body>"


def test_analytics_of_another_form_is_refused() -> None:
    with pytest.raises(RuntimeError, match="must not call home"):
        html.without_analytics(PAGE.replace("<script async", "<link"))


def test_the_report_is_one_file_without_analytics(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npx(tmp_path, monkeypatch, GENERATES)
    report = html.generate_html(results, tmp_path / "out" / "report.html", tmp_path / "history.jsonl")
    assert report.path == tmp_path / "out" / "report.html"
    assert "googletagmanager" not in report.path.read_text()
    assert "allSettled" not in report.path.read_text()


def test_without_node_or_network_it_says_so_and_exits_with_zero(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--results", str(results), "--output", str(tmp_path / "r.html"), "--history", str(tmp_path / "h")]
    fake_npx(tmp_path, monkeypatch, "#!/bin/sh\necho 'npm error code ENOTFOUND' >&2; exit 1\n")
    assert html.main(arguments) == 0
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert html.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "registry" in printed[0]
    assert "npx is not installed" in printed[1]


def test_failures_and_bad_input_have_their_exit_status(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_npx(tmp_path, monkeypatch, "#!/bin/sh\necho 'heap out of memory' >&2; exit 1\n")
    arguments = ["--output", str(tmp_path / "r.html"), "--history", str(tmp_path / "h"), "--results"]
    assert html.main([*arguments, str(results)]) == 1
    assert html.main([*arguments, str(tmp_path / "nothing")]) == 2
    assert "run pytest with --alluredir" in capsys.readouterr().err


def test_an_unwritable_folder_is_named_before_anything_runs(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npx(tmp_path, monkeypatch, "#!/bin/sh\nexit 9\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="must be writable"):
        html.generate_html(results, tmp_path / "file" / "report.html")


def test_the_configuration_asks_for_one_file_history_and_categories(tmp_path: Path) -> None:
    config = json.loads(json.dumps(html.allure_config(tmp_path / "report", tmp_path / "history.jsonl")))
    assert config["plugins"]["awesome"]["options"]["singleFile"] is True
    assert config["historyPath"].endswith("history.jsonl")
    assert [category["name"] for category in config["categories"]][:2] == [
        "The harness broke (no verdict)", "Differs from the ledger"
    ]  # fmt: skip
