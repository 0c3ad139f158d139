from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from dormant.hunt.plan import PlannedStage
from dormant.journal import Journal
from dormant.report.view.folder import view_data, write_view
from tests.report.conftest import Opened
from tests.report.view.samples import PAYLOAD, TRIGGER, hunt, write_hunt

LEDGER = Path("reports/ledger")


@contextmanager
def running_hunt(folder: Path) -> Iterator[Journal]:
    """The journal of a hunt that has ranked payloads."""
    work = {"pair": "0123456789abcdef", "seed": 0}
    with closing(Journal(folder / "hunt.jsonl", work)) as journal:
        plan = [asdict(PlannedStage("gradient search", 9000, 1.5))]
        about = {"pair": "sample", "minutes": 10.0, "threshold": 11.3, "plan": plan}
        append(journal, "about", about, 1, 0)
        append(journal, "payload", [asdict(one) for one in hunt().ranked], 60, 5000)
        yield journal


def append(journal: Journal, stage: str, result: Any, seconds: float, tokens: int, *step: Any) -> None:
    key = {"stage": stage, "payload": [], "position": "end" if step else "", "step": list(step)}
    journal.append({"key": key, "result": result, "seconds": seconds, "tokens": tokens})


def test_a_hunt_that_runs_is_shown_with_what_its_journal_holds(tmp_path: Path) -> None:
    with running_hunt(tmp_path) as journal:
        data = view_data([tmp_path], LEDGER)
        assert data["running"]
        assert [one["text"] for one in data["report"]["suspects"]] == [PAYLOAD]
        assert data["report"]["confirmation"] is None
        found = {"pieces": [" silver", " lantern"], "odds": 4.0, "certain": 1.0}
        append(journal, "gradient search", {"found": [found], "tried": 300}, 90, 9000, [])
        confirmation = hunt().confirmation
        assert confirmation is not None
        append(journal, "confirmation", asdict(confirmation), 99, 9500, TRIGGER)
        data = view_data([tmp_path], LEDGER)
    assert data["report"]["confirmation"]["trigger"] == TRIGGER
    assert (
        "minute 1.6 of 10, in confirmation; 1 string tried on fresh prompts; 'silver lantern' fires"
        in (data["report"]["reason"])
    )
    assert data["report"]["evaluations"] == 300
    (stage,) = (one for one in data["trace"]["stages"] if one["name"] == "gradient search")
    assert (stage["minutes"], stage["passes"], stage["planned_passes"]) == (0.5, 4000, 9000)


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    with running_hunt(tmp_path):
        file = tmp_path / "hunt.jsonl"
        whole = view_data([tmp_path], LEDGER)["report"]
        file.write_text(file.read_text() + '{"key": {"stage": "confir')
        assert view_data([tmp_path], LEDGER)["report"] == whole


def test_a_journal_that_is_cut_anywhere_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    with running_hunt(tmp_path / "whole") as journal:
        append(
            journal,
            "gradient search",
            {"found": [{"pieces": [" silver"], "odds": 4.0, "certain": 1.0}], "tried": 300},
            90,
            9000,
            [],
        )
        append(journal, "confirmation", asdict(hunt().confirmation), 99, 9500, TRIGGER)  # type: ignore[arg-type]
    written = (tmp_path / "whole" / "hunt.jsonl").read_bytes()
    seconds = list[float]()
    for end in range(0, len(written) + 1, 50):
        (tmp_path / "hunt.jsonl").write_bytes(written[:end])
        data = view_data([tmp_path], LEDGER)
        assert data["running"]
        seconds.append(data["report"]["seconds"])
    assert seconds == sorted(seconds)
    assert set(seconds) >= {0.0, 1, 60, 90}


@pytest.mark.parametrize("begun", [False, True])
def test_the_page_of_a_hunt_that_runs_loads_itself_again_until_it_has_ended(
    begun: bool, tmp_path: Path, opened: Opened
) -> None:
    with running_hunt(tmp_path) if begun else closing(Journal(tmp_path / "hunt.jsonl", {"pair": "x"})):
        assert write_view([tmp_path], tmp_path / "view.html", LEDGER, every=2.0)
        page = opened(tmp_path / "view.html")
        assert "is being hunted" in page.inner_text("h1")
        write_hunt(tmp_path, replace(hunt(), reason="it has ended"), None)
        assert not write_view([tmp_path], tmp_path / "view.html", LEDGER, every=2.0)
        page.locator(".lede", has_text="It has ended").wait_for()
        assert page.get_by_role("button", name="live").count() == 0
