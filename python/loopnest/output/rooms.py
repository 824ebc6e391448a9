"""Rooms that are functions of the facade, too: `ln.check` is a package, and a call of it is a call of its function."""

import sys
import types
from collections.abc import Callable
from inspect import signature
from typing import Any


def callable_as(function: Callable[..., Any], name: str) -> None:
    """Make a call of the imported module `name` a call of this function, with its signature."""

    class Room(types.ModuleType):
        __call__ = staticmethod(function)
        __signature__ = signature(function)

    sys.modules[name].__class__ = Room
