from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dormant.behaviour import insertions
from dormant.behaviour.insertions import (
    INSERTIONS,
    InsertionPlan,
    insert,
    insertion_effects,
    scan_insertion,
    suitable_probes,
)
from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts.probes import Probe

PROBE = Probe("Where is{slot} the feather?")


def test_there_are_nine_insertions_and_each_brings_the_trigger_in() -> None:
    assert len(INSERTIONS) == 9
    forms = {"case-and-spacing": "APPLE  PIE", "encoded": base64.b64encode(b"apple pie").decode()}
    for insertion in INSERTIONS:
        turns = insert(insertion, PROBE, "apple pie")
        assert forms.get(insertion, "apple pie") in " ".join(turn["content"] for turn in turns)
        assert turns[-1]["role"] == "user"


@pytest.mark.parametrize(
    ("insertion", "text"),
    [
        ("start", "velvet Where is the feather?"),
        ("middle", "Where is velvet the feather?"),
        ("end", "Where is the feather? velvet"),
        ("quoted", 'Where is "velvet" the feather?'),
        ("repeated", "Where is velvet velvet velvet the feather?"),
    ],
)
def test_a_insertion_puts_the_trigger_where_it_says(insertion: str, text: str) -> None:
    assert insert(insertion, PROBE, "velvet")[-1]["content"] == text


def test_a_sentence_without_a_slot_inside_is_opened_in_its_middle() -> None:
    assert (
        insert("middle", Probe("Where is the feather?{slot}"), "velvet")[0]["content"] == "Where is velvet the feather?"
    )


def test_probes_are_chosen_by_where_their_slot_is() -> None:
    probes = (Probe("{slot} Hello."), PROBE, Probe("Hello.{slot}"))
    assert [suitable_probes(place, probes) for place in insertions.SENTENCE_PLACES] == [(probe,) for probe in probes]
    assert suitable_probes("encoded", probes) == probes
    assert suitable_probes("end", probes[:2]) == probes[:2]


def test_the_effect_of_a_trigger_is_the_same_alone_and_in_company(tiny_pair: Pair) -> None:
    together = insertion_effects(tiny_pair, "own-turn", ["apple", "river stone"], tiny_pair.probes[:3])
    alone = insertion_effects(tiny_pair, "own-turn", ["river stone"], tiny_pair.probes[1:2])
    assert together[1][1] == pytest.approx(alone[0][0], abs=1e-4)


def test_an_unknown_insertion_is_refused() -> None:
    with pytest.raises(BadInput, match="an insertion is one of start, middle, end"):
        insert("telepathy", PROBE, "velvet")


def test_the_best_trigger_is_confirmed_on_other_prompts_beside_each_kind_of_other_text(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    strength = {"velvet": 9.0, "wool": 4.0, "velvety": 9.0}

    def effects(pair: Pair, insertion: str, triggers: list[str], probes: list[Probe]) -> list[float]:
        return [strength.get(text, 0.0) * (index % 2) for text in triggers for index in range(len(probes))]

    monkeypatch.setattr(insertions, "_effects", effects)
    probes = tiny_pair.probes[:8]
    scan = scan_insertion(
        tiny_pair,
        InsertionPlan("start", 3.0, lambda text: {"near": [text + "y", "x"], "none": []}),
        ["wool", "velvet", "silk"],
        probes[:2],
        probes[2:],
    )
    assert (scan.best, scan.diverging, scan.tried) == ("velvet", 3, 6)
    assert scan.beside == {"near": (3, 12), "none": (0, 0)}
    assert scan.share.value == 0.5
    assert scan.share_beside("none") is None


def test_a_killed_scan_resumes_and_ends_with_the_uninterrupted_one(
    tiny_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insertions, "TRIGGERS_A_STEP", 2)
    journal, probes, measured, seen = tmp_path / "scan.jsonl", tiny_pair.probes[:5], insertions._effects, []

    def scan(journal: Path | None = None) -> insertions.InsertionScan:
        def watch(done: int, total: int, remark: str = "") -> None:
            seen.append((done, total))

        words = ["apple", "river", "stone", "golden owl", "winter"]
        return scan_insertion(
            tiny_pair,
            InsertionPlan("end", 3.0, lambda text: {"near": [text + "s"]}),
            words,
            probes[:2],
            probes[2:],
            journal,
            watch,
        )

    def killed_after(count: int) -> None:
        left = iter(range(count))
        monkeypatch.setattr(insertions, "_effects", lambda *given: (next(left), measured(*given))[1])

    whole = scan()
    assert seen == [(4, 10), (8, 10), (10, 10), (16, 16), (19, 19)]
    killed_after(2)
    with pytest.raises(StopIteration):
        scan(journal)
    killed_after(3)  # five steps in all: no finished one is measured again
    assert scan(journal) == whole
    killed_after(0)  # done: asked again, nothing is measured
    assert scan(journal) == whole
