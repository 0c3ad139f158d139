"""Pictures of searches: titles state the message, and odd data still draw."""

from __future__ import annotations

from dormant.pictures.canvas import png_bytes
from dormant.pictures.inversion import (
    candidates_against_chance,
    detector_against_divergence,
    objectives_by_pairs,
    soft_against_hard,
    transfer_scatter,
)


def title(figure: object) -> str:
    return str(figure.axes[0].get_title(loc="left"))  # type: ignore[attr-defined]


def test_soft_and_hard_are_told_apart_in_the_title() -> None:
    figure = soft_against_hard([[1.0, 20.0], [2.0, 10.0]], [0, 2], [[0.1, 0.2], [0.1, 0.4]], 0.1, "nats")
    assert title(figure) == "Soft reaches 15 nats, its tokens 0.3 (medians of 2 restarts)"
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_a_detector_of_zeros_still_draws() -> None:
    figure = detector_against_divergence([0.0, 0.0], [0.0, 0.0], 0.0)
    assert "correlation of detector and divergence: 0.00 over 2" in title(figure)
    assert png_bytes(figure)


def test_transfer_says_what_was_searched_and_what_was_held_out() -> None:
    figure = transfer_scatter({"pair": [(4.0, 1.0)], "clean twin": [(2.0, 0.5)]}, (15.0, 15.0), "nats")
    assert title(figure) == "Median gain: pair 4 searched, 1 held out; clean twin 2 searched, 0.5 held out"
    assert png_bytes(transfer_scatter({"pair": [(0.0, 0.0)]}, None, "nats"))


def test_candidates_beyond_chance_are_named() -> None:
    figure = candidates_against_chance(
        {"trigger": [5.0, 6.0], "random": [0.0, 0.1]}, [-0.1, 0.2], "nats", {"trigger": 0.02, "random": 1.0}
    )
    assert title(figure) == "1 of 2 candidates lie beyond chance: trigger"
    assert png_bytes(figure)


def test_a_table_names_the_pairs_on_which_the_payload_is_given() -> None:
    cell = {"payload given": 0.0, "held-out gain": 0.2}
    table = {"kl": {"pi": cell | {"times the twin's": 1.1}, "pi-plain": cell}, "payload": {"pi": cell}}
    assert title(objectives_by_pairs(table)) == "No objective's search gives a payload"
    table["payload"]["pi"] = cell | {"payload given": 0.75}
    figure = objectives_by_pairs(table)
    assert title(figure) == "Restarts that give the payload: at most 75%, and any on pi"
    assert png_bytes(figure)
