"""From a matplotlib figure to inline SVG: no style attribute, no script, colours by class, so that one picture serves
light, dark and print, and the page's Content-Security-Policy needs no exception."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pipeline.report.visible import cut, visible_text

ROLES = ("ink", "faint", "grid", "kept", "filtered", "duplicate", "quarantined", "near")
INK, FAINT, GRID, KEPT, FILTERED, DUPLICATE, QUARANTINED, NEAR = (f"#0000{number:02x}" for number in range(1, 9))
"""Stand-ins for the page's colours: each becomes a class ("f-kept", "s-kept") that page.css colours."""
WIDTH = 4.2
"""Inches: 403 px, so that text keeps over 10 px on a phone."""
LABEL = 22
"""Characters of a bar's label."""

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "siliang",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 8.5,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "text.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify": False,
}
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_CLASSES = {f"#0000{number:02x}": role for number, role in enumerate(ROLES, 1)}
_GROUP = f"{{{_SVG}}}g"
_DROPPED = {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}


@dataclass(frozen=True)
class Chart:
    """Inline SVG with a title and a description."""

    svg: Markup
    alt: str


def draw(
    name: str,
    paint: Callable[[Figure], None],
    title: str,
    alt: str,
    height: float,
    width: float = WIDTH,
    tight: bool = True,
) -> Chart:
    """name: unique on the page. height, width: inches. tight: labels make room for themselves, which takes 0.1 s; else
    `paint` places its axes. The same numbers give the same bytes."""
    defaults: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    with matplotlib.rc_context(defaults | _STYLE), warnings.catch_warnings():
        # Only the room a label takes is measured with matplotlib's font; the reader's browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained" if tight else None)
        FigureCanvasSVG(figure)
        paint(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Chart(_inline(buffer.getvalue(), name, title, alt, round(width * 96), round(height * 96)), alt)


def _inline(svg: bytes, name: str, title: str, alt: str, width: int, height: int) -> Markup:
    root = ElementTree.fromstring(svg)
    text = "".join(ElementTree.tostring(root, encoding="unicode"))
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    _clean(root, name, used)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {
            "class": "chart",
            "role": "img",
            "aria-labelledby": f"{name}-t {name}-d",
            "viewBox": box,
            "width": str(width),
            "height": str(height),
            "stroke-linejoin": "round",
        }
    )
    for place, (tag, key, content) in enumerate((("title", "t", title), ("desc", "d", alt))):
        told = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{key}"})
        told.text = content
        root.insert(place, told)
    ElementTree.register_namespace("", _SVG)
    # In HTML the parser knows SVG by its tag; a name space in every chart says nothing.
    return Markup(ElementTree.tostring(root, encoding="unicode").replace(f' xmlns="{_SVG}"', "", 1))


def _clean(element: ElementTree.Element, name: str, used: set[str]) -> None:
    children: list[ElementTree.Element] = []
    for child in list(element):
        element.remove(child)
        if child.tag not in _DROPPED:
            _clean(child, name, used)
            # Groups say nothing here; paths without ink are matplotlib's backgrounds.
            children += list(child) if child.tag == _GROUP and not child.attrib else [child]
    element.extend(child for child in children if len(child) or not _empty(child))
    style, element_id = element.attrib.pop("style", ""), element.attrib.pop("id", "")
    if element_id in used:
        element.set("id", f"{name}-{element_id}")
    if link := element.attrib.pop(_LINK, ""):
        element.set("href", f"#{name}-{link[1:]}")
    classes = []
    for declaration in filter(None, style.split(";")):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":
            if size := re.search(r"([\d.]+)px", value):
                element.set("font-size", size.group(1))
        elif key in ("fill", "stroke") and value in _CLASSES:
            classes.append(f"{key[0]}-{_CLASSES[value]}")
        else:
            element.set(key, value)
    if classes:
        element.set("class", " ".join(classes))
    element.attrib.pop("font-family", None)  # the page's own
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    for key, value in element.attrib.items():
        if key == "clip-path":
            element.set(key, value.replace("#", f"#{name}-"))
        elif key in ("d", "x", "y", "width", "height", "transform"):
            element.set(key, re.sub(r"-?\d+\.\d{2,}", _rounded, value).strip())
    element.text = element.text.strip("\n ") if element.text and not element.text.strip() else element.text
    element.tail = None


def _empty(element: ElementTree.Element) -> bool:
    inked = "s-" in element.get("class", "") or element.get("fill") != "none" or element.get("id") is not None
    return element.tag in (_GROUP, f"{{{_SVG}}}defs") or not inked


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".")


def label(name: str, length: int = LABEL) -> str:
    """A name that fits beside a bar."""
    return cut(visible_text(name, length), length)


def short(value: float, _position: object = None) -> str:
    """1.5k, 20M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.4g}"
