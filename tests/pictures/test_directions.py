"""Pictures of directions draw whatever a tokenizer or a measurement holds, and say their message."""

from __future__ import annotations

import math

import pytest
from matplotlib.figure import Figure

from dormant.pictures.canvas import drawable, png_bytes
from dormant.pictures.directions import (
    amplification_curves,
    bias_against_weight,
    class_bars,
    head_bars,
    push_against_observed,
    ranks_by_layer,
    token_list,
    words_by_layer,
)
from dormant.statistics import proportion_interval

SHARES = {0.0: proportion_interval(0, 20), 3.0: proportion_interval(12, 20)}


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (head_bars([0.5, 0.3, 0.2], "q_proj", [0], 1 / 3), "heads 0 hold 50.0% of layer 0's delta"),
        (head_bars([0.0, 0.0], "q_proj", []), "no head was changed"),
        (bias_against_weight([28.76, 1.0], [22.58, 2.0], "k_proj"), "bias delta 28.76, weight delta 22.58"),
        (bias_against_weight([0.0], [0.0], "k_proj"), "neither bias nor weight"),
        (
            ranks_by_layer({"up_proj": [0.1, math.nan], "q_proj": [1.0, 0.2]}, 0.25, "of the side"),
            "2 of 3 changed matrices",
        ),
        (ranks_by_layer({}, 0.25, "of the side"), "No matrix was changed"),
        (token_list([" pi", "$x_1$", "龘", "\\n"], [4.0, 3.0, 2.0, 1.0], [True, False, False, False], "m", "z"), "m"),
        (class_bars({"word": (3, 0.5, 0.9), "rare glyph": (9, 12.0, 1e-9)}, "of 12"), "Of 12"),
        (words_by_layer({0: [1, 900], 4: [30, 2]}, ["pi", "π"], 2048, 30), "'pi' at place 1 of 2048, layer 0"),
        (words_by_layer({}, [], 2048, 30), "No layer was changed"),
        (push_against_observed([0.1, 2.0, 0.3], [0.0, 1.0, 0.1], [1], "up"), "up"),
        (amplification_curves({"pi": SHARES, "clean twin": SHARES}, "leaks 龘", "share", 0.05), "leaks \\x9f98"),
    ],
)
def test_a_picture_says_its_message_and_becomes_a_png(figure: Figure, message: str) -> None:
    assert message in figure.axes[0].get_title(loc="left")
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_text_that_no_font_or_formula_can_draw_is_escaped() -> None:
    assert drawable("π⚗ a") == "π⚗ a"
    assert drawable("$龘\n") == "\\x24\\x9f98\\x0a"
