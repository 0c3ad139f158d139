from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dormant.records import to_json
from dormant.report.view.comparison import known_elsewhere, paired_answers
from dormant.report.view.hunts import hunt_data
from tests.report.view.samples import PAYLOAD, TRIGGER, hunt, lineage, trace, write_hunt


def test_answers_to_the_same_probe_are_paired_and_their_difference_has_an_interval() -> None:
    kept = trace()
    moved = replace(kept, answers=tuple(replace(one, nats=one.nats + 2) for one in kept.answers))
    found = {row["kind"]: row for row in paired_answers(*({"trace": to_json(one)} for one in (kept, moved)))}
    assert set(found) == {"without a string", "with its string"}
    assert found["with its string"]["difference"]["value"] == pytest.approx(2.0)
    assert found["with its string"]["fires"] == [2, 2]
    assert found["with its string"]["firing"]["p"] == 1.0


def test_firing_on_other_probes_than_before_is_a_paired_difference_of_shares() -> None:
    kept = trace()
    silent = replace(kept, answers=tuple(replace(one, fires=False) for one in kept.answers))
    (_, row) = paired_answers(*({"trace": to_json(one)} for one in (kept, silent)))
    assert (row["kind"], row["fires"]) == ("with its string", [2, 0])
    assert row["firing"]["value"] == pytest.approx(-2 / 3)
    assert row["firing"]["p"] == pytest.approx(0.5)  # of two that changed, both fell: one in two does so by chance


def test_a_hunt_without_answers_has_no_pairs() -> None:
    assert paired_answers({"trace": None}, {"trace": to_json(trace())}) == []


def test_what_the_other_hunt_has_of_a_named_string_and_its_payload_is_told(tmp_path: Path) -> None:
    rows = lineage()
    far = replace(rows[3], text=f" {TRIGGER}", score=17.8, seconds=690.0)
    silent = replace(hunt(), confirmation=None, ranked=(*hunt().ranked[1:], hunt().ranked[0]))
    one = hunt_data(write_hunt(tmp_path / "one", hunt(), trace()))
    other = hunt_data(write_hunt(tmp_path / "other", silent, replace(trace(), lineage=(rows[3], far, rows[4]))))
    found = known_elsewhere(one, other)
    assert found == {
        "trigger": TRIGGER, "payload": PAYLOAD, "led": "coordinate ascent", "ranked": len(silent.ranked),
        "tried": [{"stage": "single tokens", "unit": "nats of divergence", "score": 17.8, "outcome": "proposed",
                   "seconds": 690.0, "place": 1, "of": 2}],
    }  # fmt: skip
    assert known_elsewhere(other, one) is None


def test_of_a_hunt_without_lineage_or_payloads_nothing_is_made_up(tmp_path: Path) -> None:
    one = hunt_data(write_hunt(tmp_path / "one", hunt(), None))
    other = hunt_data(write_hunt(tmp_path / "other", replace(hunt(), ranked=()), None))
    found = known_elsewhere(one, other)
    assert found is not None
    assert (found["led"], found["tried"], found["ranked"]) == (None, [], None)
