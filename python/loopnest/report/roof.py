"""The roofline with every rung on it: machine/roofline.py draws it, and here its points become marks of the page."""

from __future__ import annotations

import re

from ..bench.records import Record
from ..bench.tables import highest
from ..machine.card import MachineCard
from ..machine.roofline import roofline_svg
from .figures import Figure, Indexed


def figure(card: MachineCard, records: Indexed) -> Figure | None:
    """Each rung on the largest workload that it ran, but for those that do no flops; None where there is none."""
    shown = [r for r in rungs(records) if r.flops and r.bytes]
    if not shown:
        return None
    dtype = shown[0].dtype
    svg = roofline_svg(card, [(r.impl, r.flops, r.bytes, r.best) for r in shown], dtype=dtype)
    points = re.compile(r'<g class="point" data-point="(\d+)">(.*?)</g>', re.DOTALL)
    svg = points.sub(lambda m: _mark(shown[int(m[1])], m[2], records), svg)
    caption = (
        "How fast each rung is, by how many operations it does for each byte that has to move. The roofs are what this "
        "machine was measured to reach: a slope for each cache, where moving bytes decides, and the flat peak, where "
        "arithmetic does. Each rung is shown on the largest workload that it ran."
    )
    return Figure("roofline", "Every rung under the machine's roofs", caption, svg.replace("\n", " "), "")


def rungs(records: Indexed) -> list[Record]:
    """One record of each rung: of a study that is no comparison of layouts, on its largest workload."""
    plain = [r for r in records.records if not r.section and not r.case]
    studies = dict.fromkeys(r.study for r in plain)
    best: dict[tuple[str, str], Record] = {}
    for study in studies:
        for record in highest([r for r in plain if r.study == study]):
            best.setdefault((record.operation, record.impl), record)
    return list(best.values())


def _mark(record: Record, body: str, records: Indexed) -> str:
    """The point in its backend's colour, without a title: the page has its own tips."""
    backend = record.impl.partition(".")[0].replace("_", "-")
    body = re.sub(r"<title>.*?</title>", "", body, flags=re.DOTALL)
    body = body.replace("currentColor", f"var(--{backend}, var(--other))")
    return f'<g class="point mark" data-r="{records.of(record)}">{body}</g>'
