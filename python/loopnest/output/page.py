"""Pages: one HTML file each, which needs no network and no other file, dark or light as the reader's system is.

>>> "<h1>Ladders</h1>" in page("Ladders", "<p>of matmul</p>")
True

page.html is the frame of every page; page.css and page.js are its look and the switch between dark and light. A room
that shows more adds its own style and script.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .pictures import css_variables, themed

FOLDER = Path(__file__).parent


def page(
    title: str, body: str, *, heading: str = "", about: str = "", footer: str = "",
    style: str = "", script: str = "", data: Any = None,
) -> str:  # fmt: skip
    """The HTML of a page.

    title          the window's; heading: the page's, the title where it is empty; about: a line below it. All are text
    body, footer   HTML
    style, script  CSS and JavaScript that this page has besides what all pages have
    data           what the script finds as `data`, if it is JSON
    """
    return fill(
        FOLDER / "page.html",
        title=html.escape(title),
        style=css_variables() + FOLDER.joinpath("page.css").read_text(encoding="utf-8") + style,
        heading=html.escape(heading or title),
        about=f'<p class="about">{html.escape(about)}</p>' if about else "",
        body=body,
        footer=f"<footer>{footer}</footer>" if footer else "",
        data=json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"),
        script=FOLDER.joinpath("page.js").read_text(encoding="utf-8") + script,
    )


def figure(svg: str, title: str = "", caption: str = "", attributes: str = "") -> str:
    """A picture of pictures.py in a card, with its title and its caption."""
    heading = f"<h3>{html.escape(title)}</h3>" if title else ""
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure {attributes}>{heading}{words}<div class="scroll">{themed(svg)}</div></figure>'


def table(rows: Iterable[Iterable[object]], headings: Sequence[str] = ()) -> str:
    """A table of texts."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def fill(template: Path, **texts: str) -> str:
    """The file with each {{name}} replaced; the texts themselves are not searched for names."""
    return re.sub(r"\{\{(.*?)\}\}", lambda name: texts[name[1]], template.read_text(encoding="utf-8"))
