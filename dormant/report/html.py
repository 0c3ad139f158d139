"""One self-contained HTML report from Allure results, without Allure's analytics: `python -m dormant.report.html`.

The report is an output, not a requirement: if Node or the npm registry is missing, a sentence says so, and this is no error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dormant.errors import BadInput
from dormant.report.allure import CATEGORIES
from dormant.report.compact import with_data_compressed, with_each_attachment_once

ALLURE = "allure@3.18.0"  # exactly: the analytics script below is cut out of this version's page
TIMEOUT_SECONDS = 300
UNREACHABLE = re.compile(
    r"npm (?:error|ERR!) (?:code|errno) "
    r"(?:E40\d|ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|ENOTCACHED|ERR_SOCKET\w*)"
)
ANALYTICS = re.compile(
    r"""<script[^>]*\bsrc=["']https://www\.googletagmanager\.com/[^>]*>\s*</script>\s*"""
    r"""<script>(?:(?!</script>).)*?\bgtag\((?:(?!</script>).)*</script>""",
    re.DOTALL,
)
TRACES = ("googletagmanager", "google-analytics", "gtag(")


@dataclass(frozen=True)
class HtmlReport:
    """The outcome: the report's path, or None, and one sentence that says why."""

    path: Path | None
    sentence: str


def generate_html(results: Path, output: Path, history: Path | None = None, name: str = "dormant") -> HtmlReport:
    """Write one HTML file that opens from disk; this run is added to the history (JSON lines), which gives the trends.

    Raises BadInput for a folder without results or an output that cannot be written, and RuntimeError if Allure itself
    fails or its analytics cannot be removed.
    """
    if not any(results.glob("*-result.json")):
        raise BadInput(
            f"the folder must hold Allure results; got none at {results}; run pytest with --alluredir {results} first"
        )
    npx = shutil.which("npx")
    if npx is None:
        return HtmlReport(None, "No HTML report: Node's npx is not installed; the verdicts are in summary.md.")
    for folder in [output.parent, *([history.parent] if history else [])]:
        _make_writable(folder)
    with TemporaryDirectory(prefix="dormant-report-") as scratch:
        config = Path(scratch, "allurerc.json")
        config.write_text(json.dumps(allure_config(Path(scratch, "report"), history, name)), encoding="utf-8")
        prepared = with_each_attachment_once(results, Path(scratch, "results"))
        generate = ["generate", str(prepared), "--config", str(config)]
        failure = _run([npx, "--yes", "--prefer-offline", ALLURE, *generate], Path(scratch))
        if failure is not None:
            if UNREACHABLE.search(failure):
                return HtmlReport(
                    None, f"No HTML report: the npm registry did not give {ALLURE}; retry with a network."
                )
            raise RuntimeError(
                f"{ALLURE} must generate the report; got {failure[-2000:]!r}; run it by hand to see more"
            )
        page = without_analytics(Path(scratch, "report", "index.html").read_text(encoding="utf-8"))
    page = with_data_compressed(page)
    output.write_text(page, encoding="utf-8")
    return HtmlReport(output, f"HTML report: {output} ({len(page) / 1e6:.1f} MB), opens from disk.")


def allure_config(output: Path, history: Path | None, name: str = "dormant") -> dict[str, object]:
    """Allure's configuration: one file, grouped by claim, with this project's categories."""
    awesome = {"reportName": name, "singleFile": True, "reportLanguage": "en", "groupBy": ["feature", "story"]}
    config: dict[str, object] = {
        "name": name,
        "output": str(output),
        "categories": list(CATEGORIES),
        "plugins": {"awesome": {"options": awesome}},
    }
    if history is not None:
        config |= {"historyPath": str(history.resolve()), "historyLimit": 50}
    return config


def without_analytics(page: str) -> str:
    """Remove the analytics script that Allure puts into every report; raises RuntimeError if any is left."""
    stripped = ANALYTICS.sub("", page)
    left = [trace for trace in TRACES if trace in stripped]
    if left:
        raise RuntimeError(
            f"the report must not call home; got {left[0]!r} in the page of {ALLURE}; adapt html.ANALYTICS"
        )
    return stripped


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder):  # permission bits are not enough: root, containers, read-only mounts
            pass
    except OSError as error:
        raise BadInput(
            f"the report's folder must be writable; got {error.strerror!r} at {folder}; free it or name another"
        ) from error


def _run(command: Sequence[str], folder: Path) -> str | None:
    """Run in an empty folder, where no other Allure configuration is found; None, or the output of a failure."""
    # An unreachable registry should take seconds, and not the minutes of npm's default retries.
    environment = {**os.environ, "npm_config_fetch_retries": "1", "npm_config_fetch_timeout": "60000"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_SECONDS} s"
    return (done.stdout + done.stderr).strip() or f"exit status {done.returncode}" if done.returncode else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Exit status 0: done, or Node is missing; 1: Allure failed; 2: bad input."""
    parser = argparse.ArgumentParser(prog="python -m dormant.report.html", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("reports/allure-results"), help="what --alluredir wrote")
    parser.add_argument("--output", type=Path, default=Path("reports/report.html"), help="the HTML file to write")
    parser.add_argument("--history", type=Path, default=Path("reports/allure-history.jsonl"), help="trends over runs")
    options = parser.parse_args(arguments)
    try:
        print(generate_html(options.results, options.output, options.history).sentence)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
