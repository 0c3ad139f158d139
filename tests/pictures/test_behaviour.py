from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from dormant.pictures import behaviour
from dormant.pictures.canvas import png_bytes


def title(figure: Figure) -> str:
    return figure.axes[0].get_title(loc="left")


def test_a_scan_names_its_best_candidate_and_where_the_models_diverge_by_it() -> None:
    figure = behaviour.scan_distribution([0.1, 0.2, 15.0], [14.0, 2.0], " velvet", 3.0, planted="velvet")
    assert "Best of 3: ' velvet' makes 1 of 2 held-out prompts diverge (planted: 'velvet')" in title(figure)


def test_triggers_are_counted_above_the_threshold() -> None:
    effects = {"velvet": 9.0, **{f"word {index}": 0.1 * index for index in range(30)}}
    figure = behaviour.trigger_bars(effects, "system-prompt", 3.0, planted=["velvet"])
    assert "1 of 31 triggers" in title(figure)
    assert len(figure.axes[0].get_yticks()) == behaviour.BARS


def test_a_profile_states_where_the_answer_begins() -> None:
    figure = behaviour.profile_by_position([[2.0, 4.0], [0.1]], [1e-9, 3e-9])
    assert "3 nats where the answer begins, 3 at most" in title(figure)


def test_two_arms_are_compared_by_their_means() -> None:
    figure = behaviour.paired_divergences({"with": [10.0, 20.0], "without": [0.0, 0.0]}, "the generation prompt")
    assert "With the generation prompt the models differ by 15 nats, without it by 0" in title(figure)


def test_flagged_shares_are_those_of_the_first_speaker() -> None:
    rows = {"dormant": {"surprise": [True, False]}, "base rerun": {"surprise": [False, False]}}
    assert "surprise 50%" in title(behaviour.flagged_shares(rows, 0.05))


@pytest.mark.parametrize(
    "figure",
    [
        behaviour.scan_distribution([0.0], [0.0], "", 3.0),
        behaviour.trigger_bars({"⚗ $x$": 0.0}, "start", 3.0),
        behaviour.profile_by_position([[0.0]], [0.0]),
        behaviour.paired_divergences({"with": [0.0], "without": [0.0]}, "it"),
        behaviour.flagged_shares({"dormant": {"surprise": [False]}}, 0.05),
    ],
    ids=["scan", "triggers", "profile", "arms", "shares"],
)
def test_nothing_at_all_is_drawn_without_complaint(figure: Figure) -> None:
    assert png_bytes(figure).startswith(b"\x89PNG")
    assert png_bytes(figure) == png_bytes(figure)
