from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dormant.hunt.confirmation import Confirmation, Rate
from dormant.hunt.lineage import LOG_ODDS, NATS, SHARE, tried_strings
from dormant.statistics import proportion_interval


def entry(
    stage: str, result: Any, *step: Any, payload: tuple[int, ...] = (), position: str = "", at: float = 1.0
) -> Any:
    key = {"stage": stage, "payload": list(payload), "position": position, "step": list(step)}
    return {"key": key, "result": result, "seconds": at}


def scored(text: str, odds: float, tried: int) -> dict[str, Any]:
    return {"found": {"pieces": [f" {word}" for word in text.split()], "odds": odds, "certain": 0.5}, "tried": tried}


def looked(text: str, fires: bool) -> dict[str, Any]:
    rates = (Rate("end", proportion_interval(9 * fires, 10)),)
    return asdict(Confirmation(text, "the well", rates, (), (), None, 3, None, "end", fires, fires))


def named(ids: object) -> str:
    return "the well is dry"


def test_a_change_of_coordinate_ascent_names_the_string_that_gave_way_and_counts_strings() -> None:
    place: dict[str, Any] = {"payload": (1, 2), "position": "end"}
    first = entry("coordinate ascent", scored("owl", -9.0, 12), "beginning", **place)
    second = entry("coordinate ascent", scored("marble owl", 2.0, 30), [" owl"], [[0, 0]], 100, **place)
    third = entry("coordinate ascent", scored("marble owl", 2.0, 30), [" marble", " owl"], [[0, 1]], 100, **place)
    rows = tried_strings([first, second, third], named)
    assert [(row.text, row.parent, row.strings) for row in rows] == [
        ("owl", None, 12),
        ("marble owl", 0, 42),
        ("marble owl", None, 72),
    ]
    assert [row.outcome for row in rows] == ["proposed", "proposed", "gave no gain"]
    assert {(row.unit, row.position, row.payload) for row in rows} == {(LOG_ODDS, "end", "the well is dry")}


def test_a_string_is_followed_from_its_stage_to_the_decision() -> None:
    entries = [
        entry("short strings", ["owl", "marble"]),
        entry("confirmation", looked("owl", False), "owl"),
        entry("confirmation", looked("marble", True), "marble"),
        entry("refinement", "marble", 7, "beginning"),
        entry("refinement", [[" marble", " owl"], 3.5], 7, [" marble"], 1, 0, 50),
        entry("confirmation", looked("marble owl", True), "marble owl"),
        entry("decision", looked("marble owl", True), "marble owl"),
    ]
    rows = tried_strings(entries, named)
    assert [row.outcome for row in rows] == [
        "proposed", "proposed", "does not fire", "fires", "proposed", "proposed", "fires", "decided",
    ]  # fmt: skip
    assert [row.parent for row in rows] == [None, None, 0, 1, 3, 4, 5, 6]
    assert (rows[2].score, rows[3].score, rows[3].unit) == (0.0, 0.9, SHARE)


def test_of_single_tokens_those_are_kept_that_were_the_best_or_have_large_values() -> None:
    values = [0.1, 3.0, 0.2, *[0.0] * 200, 5.0]
    rows = tried_strings([entry("single tokens", values, 0, 204, 6)], named, [f" t{at}" for at in range(204)])
    assert {"t0", "t1", "t203"} <= {row.text for row in rows}
    assert len(rows) <= 101
    assert (rows[-1].score, rows[-1].strings, rows[-1].unit) == (5.0, 204, NATS)


def test_strings_of_stages_that_keep_numbers_or_pieces_alone_are_counted_or_named() -> None:
    entries = [
        entry("gap filling", [["a b"], 500], payload=(1,), position="start"),
        entry("group testing", {"pieces": [], "tried": 40}, 12, 9),
        entry("gradient search", {"found": [scored("x y", 1.0, 0)["found"]], "tried": 70}, 0, 128, 4, payload=(1,)),
        entry("rate", 128.0),
    ]
    assert [(row.stage, row.text, row.strings) for row in tried_strings(entries, named)] == [
        ("gap filling", "a b", 500), ("gradient search", "x y", 70),
    ]  # fmt: skip


def test_strings_of_beams_are_proposed_once_they_are_tried_and_not_how_far_the_models_part_at_words() -> None:
    entries = [
        entry("delta beam", [0.5, 2.0], "words", 2, " owl"),
        entry("delta beam", [[0.8, "marble owl"]], "look", 2),
        entry("beam search", scored("tea ion", -3.0, 40), "beam", 1, payload=(1, 2), position="end"),
    ]
    assert [(row.stage, row.text) for row in tried_strings(entries, named)] == [
        ("delta beam", "marble owl"),
        ("beam search", "tea ion"),
    ]
