"""Pictures in one palette: matplotlib's figures as small SVG, on white as a file, dark and light in a page.

>>> picture = Picture(4, 3, title="a line")
>>> with picture as axes:
...     _ = axes[0, 0].plot([1, 2, 3], color=INK)
>>> picture.svg.startswith("<svg"), INK in picture.svg
(True, True)
>>> "var(--ink)" in themed(picture.svg)
True
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

PALETTE: Mapping[str, tuple[str, str]] = {
    "paper": ("#fbfbf9", "#14171a"),
    "card": ("#ffffff", "#1b1f24"),
    "ink": ("#1c1e21", "#e8e9ea"),
    "faint": ("#5d646d", "#a0a7b0"),
    "grid": ("#d9dbd6", "#363c44"),
    "line": ("#e4e5e0", "#2b3037"),
    "limit": ("#c2255c", "#ff6b9a"),
    "accent": ("#1864ab", "#74b9ff"),
    "warn-paper": ("#fff4d6", "#3a2f12"),
    "warn-ink": ("#7a4d00", "#ffd98a"),
    "python": ("#8a8f98", "#9aa1ab"),
    "numpy": ("#3b7dd8", "#5d9bf0"),
    "numba": ("#12a08a", "#2fc4ab"),
    "cuda": ("#6f9a10", "#9acb34"),
    "cuda-cpp": ("#a3b818", "#c9dc4a"),
    "cpp": ("#e8710a", "#ff9440"),
    "torch": ("#8d5bd1", "#b48af0"),
    "other": ("#2f3640", "#d5dae0"),
}
"""What each colour is for, as the pages' variables are called, and the colour on light and on dark pages. No two of the
light ones are equal."""

LIGHT = {name: light for name, (light, _) in PALETTE.items()}
INK, FAINT, GRID, LIMIT, CARD = (LIGHT[name] for name in ("ink", "faint", "grid", "limit", "card"))
SERIES = tuple(LIGHT[name] for name in ("numpy", "cpp", "numba", "torch", "limit", "python", "cuda"))
"""The colours of lines that belong to no backend."""

Colour = tuple[int, int, int]
FIRST_TO_LAST: tuple[Colour, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
GOOD_TO_BAD: tuple[Colour, ...] = ((46, 139, 87), (240, 200, 60), (200, 40, 40))
"""Scales: red, green and blue at equal distances from the low end to the high one."""


def on_scale(stops: Sequence[Colour], share: float) -> str:
    """The colour at a share of a scale, from 0 to 1.

    >>> on_scale(GOOD_TO_BAD, 0.0), on_scale(GOOD_TO_BAD, 0.75)
    ('#2e8b57', '#dc7832')
    """
    places = np.linspace(0, 1, len(stops))
    return "#" + "".join(f"{round(np.interp(share, places, channel)):02x}" for channel in zip(*stops, strict=True))


def text_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour. It is not the palette's white, which dark pages replace.

    >>> text_on("#2e8b57"), text_on("#fde725")
    ('#fefefe', '#000000')
    """
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fefefe"


def colour_of(impl: str) -> str:
    """The colour of an implementation's backend: `cpp.packed` has C++'s."""
    return LIGHT.get(impl.partition(".")[0].replace("_", "-"), LIGHT["other"])


def css_variables(
    part: str = ":root", chosen: str = ':root[data-theme="{}"]', values: tuple[str, str] = ("light", "dark")
) -> str:
    """The palette as a style sheet's variables, for a part of a page: as the system is, or as the page's reader chose.

    chosen  the selector of that part in a page whose reader chose light or dark; {} is one of the two `values`
    """
    light, dark = (
        " ".join((*(f"--{name}: {both[n]};" for name, both in PALETTE.items()), f"color-scheme: {scheme};"))
        for n, scheme in enumerate(("light", "dark"))
    )
    rules = (chosen.format(value) + f" {{ {colours} }}\n" for value, colours in zip(values, (light, dark), strict=True))
    return f"{part} {{ {light} }}\n@media (prefers-color-scheme: dark) {{ {part} {{ {dark} }} }}\n{''.join(rules)}"


def themed(svg: str) -> str:
    """A picture for a page: the palette's colours become the page's variables, which differ on dark and light. The
    title goes, because browsers show it as a tip; the label for screen readers stays."""
    svg = re.sub("(?s)<title>.*?</title>", "", svg, count=1)
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and it can be searched
    "path.simplify_threshold": 0.3,  # of a pixel: long curves lose points that nobody sees
    "font.size": 9,
    "font.family": "sans-serif",
    "figure.facecolor": CARD,
    "axes.facecolor": CARD,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "image.cmap": "RdBu_r",
}


class Picture:
    """A figure with `rows` x `columns` axes, in this style and not in matplotlib's global state.

    width, height  in inches of 72 units
    title          what a screen reader says it is; pictures of one page need different titles

    The same drawing gives the same `svg` every time.
    """

    def __init__(self, width: float, height: float, rows: int = 1, columns: int = 1, *, title: str, **how: Any) -> None:
        self._size, self._grid, self._title, self._how = (width, height), (rows, columns), title, how
        self.svg = ""

    def __enter__(self) -> Any:
        import matplotlib
        from matplotlib.figure import Figure

        self._style = matplotlib.rc_context({**STYLE, "svg.hashsalt": self._title})
        self._style.__enter__()
        self.figure = Figure(figsize=self._size, layout="constrained")
        return self.figure.subplots(*self._grid, squeeze=False, **self._how)

    def __exit__(self, error: Any, *rest: Any) -> None:
        try:
            if error is None:
                stream = io.StringIO()
                self.figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
                self.svg = _finished(stream.getvalue(), self._title)
        finally:
            self._style.__exit__(error, *rest)


def marks(*records: int) -> str:
    """A gid for an artist that shows one record, or for a line whose markers show several, in their order.

    The page's script finds the elements by their `data-record`.
    """
    return "-".join(("record", *map(str, records)))


def _finished(svg: str, title: str) -> str:
    """matplotlib's file with its marks and a name for screen readers, without ids and needless decimals."""
    namespace = "{http://www.w3.org/2000/svg}"
    ElementTree.register_namespace("", namespace[1:-1])
    svg = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", svg[svg.index("<svg") :])
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg).replace("xlink:href", "href")
    referred_to = set(re.findall(r"#(\w+)", svg))
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tail = None
        element.text = (element.text or "").strip() or None
        kind, *records = element.get("id", "").split("-")
        if kind == "record":
            shapes = [element] if len(records) == 1 else element.iter(f"{namespace}use")
            for shape, record in zip(shapes, records, strict=True):
                shape.set("class", "mark")
                shape.set("data-record", record)
        if element.get("id") not in referred_to:
            element.attrib.pop("id", None)
        if not element.tag.endswith("image"):
            for name, value in element.attrib.items():
                element.set(name, re.sub(r"(\d+\.\d{2})\d+", r"\1", value))
    root.set("role", "img")
    root.set("aria-label", title)
    label = ElementTree.Element(f"{namespace}title")
    label.text = title
    root.insert(0, label)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
