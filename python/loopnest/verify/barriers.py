"""Where a barrier is missing in a kernel's text, as far as its lines and braces show."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..backends.cuda_source import without_comments

LineAccess = tuple[int, bool]
"""The line of an access in the kernel, and whether it writes."""


class Barriers:
    """The barriers and the braces of a source text."""

    def __init__(self, text: str) -> None:
        self._lines = without_comments(text).splitlines()
        self._barriers = [
            n for n, line in enumerate(self._lines, 1) if re.search(r"\b__sync(threads|warp)\w*\s*\(", line)
        ]
        self._opens: list[int] = []  # the line on which each brace opens
        self._closes: dict[int, int] = {}
        self._around: list[list[int]] = []  # for each line the braces that are open at its start
        open_now: list[int] = []
        for number, line in enumerate(self._lines, 1):
            self._around.append(list(open_now))
            for letter in line:
                if letter == "{":
                    open_now.append(len(self._opens))
                    self._opens.append(number)
                elif letter == "}" and open_now:
                    self._closes[open_now.pop()] = number

    def missing(self, earlier: LineAccess, later: LineAccess, in_races: Sequence[LineAccess]) -> int | None:
        """The line after which a barrier would order two accesses; None where the lines are not known.

        in_races  all accesses of the kernel that race with another one in their block
        """
        (low, low_writes), (high, _) = sorted((earlier, later), key=lambda access: access[0])
        if not 0 < low <= high <= len(self._lines):
            return None
        begin, end = self._loop(low, high)
        between = any(low < line < high for line in self._barriers)
        around = any(begin <= line < low or high < line <= end for line in self._barriers)
        if low == high or between or not (around or low_writes or not begin):
            return self._end_of(high, low)  # the race is between this iteration and the next, at the lower line
        # Other accesses of the same kind before the upper line belong before the barrier, too.
        before = [line for line, writes in in_races if writes == low_writes and low <= line < high]
        before = [line for line in before if not any(line < barrier < high for barrier in self._barriers)]
        return self._end_of(max(before, default=low), high)

    def _loop(self, low: int, high: int) -> tuple[int, int]:
        """The first and the last line of the innermost loop around both lines, or 0 and 0."""
        for brace in reversed([brace for brace in self._around[low - 1] if brace in self._around[high - 1]]):
            begin = self._opens[brace]
            if re.search(r"\b(for|while|do)\b", self._lines[begin - 1]):
                return begin, self._closes.get(brace, high)
        return 0, 0

    def _end_of(self, line: int, other: int) -> int:
        """The last line of the statement with `line`, in the innermost block that holds both lines."""
        inside = [brace for brace in self._around[line - 1] if brace not in self._around[other - 1]]
        return self._closes.get(inside[0], line) if inside else line
