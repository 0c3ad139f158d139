from __future__ import annotations

import base64
import re
from io import BytesIO, StringIO
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from dormant.pictures.activations import restoring_map
from dormant.pictures.canvas import SERIES, legend_below, new_picture, png_bytes
from dormant.pictures.svg import SVG, drawn, svg_text

HOSTILE = "</text><script>alert(1)</script> & \u202eturned مرحبا 👩‍🚀 \x07 {{data}} "


def curves(title: str = "Six searches end at 3.1 nats or less", seed: int = 0) -> Figure:
    figure, axes = new_picture(title, "step", "nats")
    for number, colour in enumerate(SERIES):
        axes.plot(np.random.default_rng(seed + number).random(60).cumsum(), color=colour, label=f"restart {number}")
    legend_below(figure, axes)
    return figure


def texts(svg: str) -> list[str]:
    return ["".join(part.itertext()) for part in ElementTree.fromstring(svg).iter(f"{{{SVG}}}text")]


def test_a_picture_becomes_the_same_png_and_svg_twice() -> None:
    assert drawn(curves()) == drawn(curves())
    assert drawn(curves())[0] == png_bytes(curves())


def test_an_svg_has_the_texts_and_half_the_length_of_matplotlibs_own() -> None:
    plain = StringIO()
    FigureCanvasSVG(curves()).print_svg(plain)  # type: ignore[no-untyped-call]
    svg = svg_text(curves())
    assert {"Six searches end at 3.1 nats or less", "nats", "restart 5"} <= set(texts(svg))
    assert len(svg) < 0.5 * len(plain.getvalue())


def test_lengths_are_kept_to_a_tenth_of_a_point() -> None:
    figure, axes = new_picture("One point", "", "")
    axes.scatter([0.123456], [0.5])
    figure.set_layout_engine("none")
    axes.set_position((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    mark = next(
        part for part in ElementTree.fromstring(svg_text(figure)).iter(f"{{{SVG}}}use") if "1f77b4" in str(part.attrib)
    )
    expected = [72 * 8.0 * (0.1 + 0.8 * 0.123456), 72 * 4.2 * (1 - 0.1 - 0.8 * 0.5)]
    assert [float(mark.attrib[name]) for name in "xy"] == pytest.approx(expected, abs=0.051)


def test_the_lines_of_a_title_are_those_for_which_the_png_has_room() -> None:
    for letters in range(20, 32, 2):  # from too few for a second line to enough for one
        svg = drawn(new_picture(f"{'a word ' * 10}{'i' * letters}", "", "")[0])[1]
        place = re.search(r'font-weight: 700[^>]*(?:y="|translate\([\d.]+ )([-\d.]+)', svg)
        assert place is not None
        assert float(place[1]) > 5, letters


@pytest.mark.filterwarnings("ignore:Glyph")
def test_no_text_of_a_picture_is_markup() -> None:
    figure, axes = new_picture("Hostile", HOSTILE, HOSTILE * 100)
    axes.set_yticks([0.5], [HOSTILE])
    svg = drawn(figure)[1]
    assert "<script" not in svg
    assert texts(svg).count(HOSTILE.replace("\x07", "\ufffd")) == 2


def test_a_map_holds_its_cells_and_not_the_points_that_they_cover() -> None:
    picture = restoring_map({(layer, "block"): layer / 5 for layer in range(6)}, (5, "block"))
    held = re.findall(r"data:image/png;base64,([^\"]+)", svg_text(picture))
    sizes = [Image.open(BytesIO(base64.b64decode(content))).size for content in held]
    assert (1, 6) in sizes
