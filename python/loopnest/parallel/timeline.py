"""The timeline of a rank's step, in characters: gradients are computed while earlier ones are summed.

>>> from loopnest.parallel import Span
>>> from loopnest.parallel.timeline import drawn
>>> spans = [Span("gradient", "w2", 0.0, 1e-3), Span("all-reduce", "w2's gradient", 1e-3, 3e-3)]
>>> print("\\n".join(drawn([*spans, Span("gradient", "w1", 1e-3, 4e-3)], width=70)))
0 to 4.00 ms of this rank's step
gradient    w2             ██████████
all-reduce  w2's gradient            ░░░░░░░░░░░░░░░░░░░░░░
gradient    w1                       █████████████████████████████████
"""

from __future__ import annotations

from collections.abc import Sequence

from .ranks import Span

MARKS = {"forward": "▒", "gradient": "█", "all-reduce": "░"}


def drawn(spans: Sequence[Span], width: int = 80) -> list[str]:
    """The spans as lines of at most `width` columns, in the order of their beginnings."""
    if not spans:
        return []
    begin, end = min(span.begin for span in spans), max(span.end for span in spans)
    kind, what = max(len(span.kind) for span in spans), max(len(span.what) for span in spans)
    columns = max(width - kind - what - 4, 10)
    scale = columns / ((end - begin) or 1.0)
    lines = [f"0 to {1e3 * (end - begin):.2f} ms of this rank's step"]
    for span in sorted(spans, key=lambda span: span.begin):
        first, last = int((span.begin - begin) * scale), int((span.end - begin) * scale)
        bar = MARKS.get(span.kind, "·") * max(last - first, 1)
        lines.append(f"{span.kind:{kind}}  {span.what:{what}}  {' ' * min(first, columns - 1)}{bar}")
    return lines
