"""loopnest: a performance lab. One set of operations, written many ways, behind one interface.

>>> import numpy as np, loopnest as ln
>>> a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
>>> ln.matmul(a, b).shape                       # the fastest implementation that runs here
(2, 4)
>>> ln.matmul(a, b, impl="python.naive").shape  # one rung by its id
(2, 4)
"""

from ._core import isa, isa_levels, set_isa
from .arrays import CopyWarning
from .operation import Implementation, Operation, UnavailableError, UnknownImplementationError
from .operations.matmul import matmul

__version__ = "0.1.0"

__all__ = [
    "CopyWarning",
    "Implementation",
    "Operation",
    "UnavailableError",
    "UnknownImplementationError",
    "isa",
    "isa_levels",
    "matmul",
    "set_isa",
]
