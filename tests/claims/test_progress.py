"""Work of hours shows how far it is and keeps what is done; short work does neither."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim, at_least
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair
from dormant.progress import Progress

pytest_plugins = ["pytester"]

CLAIM = Claim("works", "Something works.", "test", "behaviour", {"": at_least(1, "units", because="a test")})


def test_short_work_is_silent_and_keeps_nothing(tiny_pair: Pair) -> None:
    finding = FindingBuilder(CLAIM, tiny_pair, {}, ClaimSession(Settings()))
    with finding.progress("sweep", "tokens") as report:
        report(1, 2)
    assert finding.journal("sweep") is None


def test_work_of_hours_shows_its_rate_and_has_a_journal_of_its_own(tiny_pair: Pair, tmp_path: Path) -> None:
    seen: list[tuple[object, ...]] = []

    @contextmanager
    def progress(title: str, unit: str) -> Iterator[Progress]:
        yield lambda done, total, remark="": seen.append((title, unit, done, total))

    finding = FindingBuilder(CLAIM, tiny_pair, {}, ClaimSession(Settings("full"), journals=tmp_path, progress=progress))
    with finding.progress("sweep", "tokens") as report:
        report(3, 9)
    assert seen == [("tiny, sweep", "tokens", 3, 9)]
    assert finding.journal("sweep") == tmp_path / "tiny-sweep.jsonl"
    assert finding.journal("sweep", "twin") != finding.journal("sweep")


def test_the_bar_reaches_a_terminal_although_pytest_captures(tmp_path: Path) -> None:
    body = "def test_bar(claim_session):\n    with claim_session.progress('sweep of pi', 'tokens') as report:\n"
    body += "        report(3, 9)\n"
    (tmp_path / "test_bar.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-p", "dormant.plugin", "--budget", "full", "-q"]
    ours, theirs = pty.openpty()
    terminal = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    child = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs, env=terminal)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how a terminal says that nobody writes to it any more
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert child.wait() == 0, shown.decode()
    assert "sweep of pi" in shown.decode()
    assert "tokens/s" in shown.decode()


@pytest.mark.parametrize(("body", "kept"), [("pass", 0), ("raise KeyboardInterrupt", 1), ("raise OSError", 1)])
def test_journals_stay_until_a_session_ends_whole(pytester: pytest.Pytester, body: str, kept: int) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from dormant.claims.claim import at_least, claim
        from dormant.statistics import exact

        @claim("keeps", source="test", rule=at_least(0, "units", because="a test"), needs="deltas")
        def test_keeps(pair, finding):
            "It keeps what is done."
            finding.decide(exact(1.0))
            path = finding.journal("work")
            path.parent.mkdir(parents=True)
            path.write_text("done")

        @claim("breaks", source="test", rule=at_least(0, "units", because="a test"), needs="deltas")
        def test_then_breaks(pair, finding):
            "It may break."
            finding.decide(exact(1.0))
            {body}
        """
    )
    plugins = ("-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*plugins, "--budget", "full", "--pair", "warmup-vs-qwen2", no_reraise_ctrlc=True)
    assert len(list((pytester.path / "reports" / "journals").glob("*.jsonl"))) == kept


def test_every_worker_has_journals_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(claim_session): assert claim_session.journals.parts[-2:] == ('journals', 'gw0')")
    plugins = ("-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*plugins, "--budget", "full", "-n", "1").assert_outcomes(passed=1)
