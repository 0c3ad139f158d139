from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.records import to_json
from dormant.report.view.comparison import paired_answers
from tests.report.view.samples import trace


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
