"""A picture as compact SVG: its texts stay texts, and what matplotlib repeats or nobody sees is left out."""

from __future__ import annotations

import re
from io import StringIO
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from dormant.pictures.canvas import png_bytes

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
GROUP, TEXTS = f"{{{SVG}}}g", (f"{{{SVG}}}text", f"{{{SVG}}}tspan")
# DejaVu Sans, in which the layout was measured, is wide: what a browser without it takes instead is narrower.
STYLE = "*{stroke-linejoin:round;stroke-linecap:butt}text{font-family:'DejaVu Sans',Verdana,sans-serif}"
DECIMALS = {"d": 2, "transform": 4, "x": 1, "y": 1, "width": 1, "height": 1}  # of a point, by attribute
FONT_FAMILY = re.compile(r"font-family: [^;]*(?:; |$)")
DECIMAL = re.compile(r"-?\d+\.\d+")
REFERENCE = re.compile(r"#([\w.-]+)")
NO_TURN = re.compile(r"rotate\(-?0 [^)]*\)")
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def drawn(figure: Figure) -> tuple[bytes, str]:
    """The picture as PNG and as SVG. It is laid out once, which takes half of the time of a drawing."""
    png = png_bytes(figure)
    figure.set_layout_engine("none")
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_wrap():
            # an SVG's measures differ: the same lines, for which there is room
            text.set(text=text._get_wrapped_text(), wrap=False)  # type: ignore[attr-defined]
    return png, svg_text(figure)


def svg_text(figure: Figure) -> str:
    """The picture as SVG, identical for identical pictures, with lengths to a tenth of a point; no text in it is markup.

    Half as long as matplotlib's own, and alike from picture to picture, so that many compress well together.
    """
    for image in (image for axes in figure.axes for image in axes.images):
        image.set_interpolation("none")  # the cells as they are, and not as many points as they cover
    written = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "dormant"}):
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(written, metadata=none)  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(NOT_IN_XML.sub("\ufffd", written.getvalue()))
    named = (part.get("id", "") for part in root.iter() if part.tag not in (GROUP, *TEXTS))
    _compact(root, {name: f"p{at}" for at, name in enumerate(dict.fromkeys(filter(None, named)))})
    for style in root.iter(f"{{{SVG}}}style"):
        style.text = STYLE
    return ElementTree.tostring(root, encoding="unicode")


def _compact(part: ElementTree.Element, names: dict[str, str]) -> None:
    """Rounds and shortens in place. names: of what is referred to -> a short one that is the same in all pictures."""
    part.tail = None
    if part.tag not in TEXTS:
        part.text = None
    kept = {name: _shortened(name, value, names) for name, value in part.attrib.items()}
    part.attrib.clear()
    part.attrib.update({name: value for name, value in kept.items() if value})
    children = list(part)
    for child in children:
        _compact(child, names)
    part[:] = [one for child in children for one in (child if child.tag == GROUP and not child.attrib else [child])]


def _shortened(name: str, value: str, names: dict[str, str]) -> str:
    if name == "id":
        return names.get(value, "")
    if name in DECIMALS:
        rounded = DECIMAL.sub(lambda found: _short(found[0], DECIMALS[name]), NO_TURN.sub("", value)).strip()
        return re.sub(r"\s*([A-Za-z])\s*", r"\1", rounded) if name == "d" else rounded
    if name == "style":
        return FONT_FAMILY.sub("", value).removesuffix("; ")
    return REFERENCE.sub(lambda found: "#" + names.get(found[1], found[1]), value) if "#" in value else value


def _short(number: str, decimals: int) -> str:
    return f"{float(number):.{decimals}f}".rstrip("0").rstrip(".")
