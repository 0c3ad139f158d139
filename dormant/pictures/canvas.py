"""What all pictures share: size, colours that colour-blind readers tell apart, message titles and PNG bytes."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's palette: distinct under the common colour-vision deficiencies and in grey.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A"
)  # fmt: skip
PALETTE = 32  # colours of a picture's file
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)


def new_picture(title: str, xlabel: str, ylabel: str, width: float = 8.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """An empty labelled chart on its own Agg canvas; width and height in inches. `title` states the message."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", wrap=True)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def legend_below(figure: Figure, axes: Axes) -> None:
    """A legend under the chart, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=min(len(labels), 3), frameon=False, fontsize=9)


def drawable(text: str) -> str:
    """The text with what the font lacks, or would read as a formula or a line break, written as an escape."""
    return "".join(
        letter if letter.isprintable() and letter != "$" and ord(letter) in _font_letters() else f"\\x{ord(letter):02x}"
        for letter in text
    )


@cache
def _font_letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def png_bytes(figure: Figure, dots_per_inch: int = 100) -> bytes:
    """The picture as PNG, identical for identical pictures (no date or version inside).

    It has a palette of 32 colours, which hold the few of a chart and the edges of its letters in a fifth of the bytes.
    """
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dots_per_inch)
    # drawn once: `savefig` draws a second time for the layout
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    image = Image.frombuffer("RGBA", canvas.get_width_height(), pixels, "raw", "RGBA", 0, 1).convert("RGB")
    buffer = BytesIO()
    image.quantize(PALETTE, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        buffer, "png", compress_level=6
    )  # the highest level takes three times as long for a tenth of the bytes
    return buffer.getvalue()
