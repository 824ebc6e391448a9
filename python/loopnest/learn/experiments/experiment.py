"""What an experiment is: a question, what to do to answer it, and how the answer is told and drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


def _nothing_missing() -> str | None:
    return None


@dataclass(frozen=True)
class Experiment:
    """One question that is answered by doing it.

    name     as in `loopnest experiment NAME`
    question what it asks
    run      (**options) -> data, a frozen dataclass: what was measured
    finding  (data) -> the answer in a sentence or two, made from the data
    text     (data, width) -> lines for the terminal
    picture  (data) -> an SVG file
    missing  why it cannot run here, with the fix, or None
    """

    name: str
    question: str
    run: Callable[..., Any]
    finding: Callable[[Any], str]
    text: Callable[[Any, int], list[str]]
    picture: Callable[[Any], str]
    missing: Callable[[], str | None] = _nothing_missing

    @property
    def about(self) -> str:
        """The module's docstring, which says what is done and why."""
        import inspect
        import sys

        return inspect.cleandoc(sys.modules[self.run.__module__].__doc__ or "")


def to_json(data: Any) -> Any:
    """An experiment's data as JSON can hold them: arrays become lists, dataclasses objects.

    >>> to_json((np.float64(1.5), np.arange(2)))
    [1.5, [0, 1]]
    """
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {field.name: to_json(getattr(data, field.name)) for field in dataclasses.fields(data)}
    if isinstance(data, dict):
        return {str(key): to_json(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [to_json(value) for value in data]
    if isinstance(data, np.ndarray):
        return data.tolist()
    if isinstance(data, np.generic):
        return data.item()
    return data
