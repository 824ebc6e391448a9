"""loopnest: a performance lab. One set of operations, written many ways, behind one interface.

>>> import numpy as np, loopnest as ln
>>> a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
>>> ln.matmul(a, b).shape                       # the fastest implementation that runs here
(2, 4)
>>> ln.matmul(a, b, impl="python.naive").shape  # one rung by its id
(2, 4)
"""

import importlib
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

try:
    from ._core import isa, isa_levels, set_isa
    from .backends.threads import num_threads, set_num_threads
except (ImportError, ValueError) as error:
    if getattr(error, "name", "") == "loopnest._core" and isinstance(error, ModuleNotFoundError):
        raise ImportError(
            "loopnest's C++ extension is not built: run scripts/build.sh in the source tree, or pip install ."
        ) from error
    if "LOOPNEST_" in str(error) and PurePath(sys.argv[0]).name in ("loopnest", "-m"):  # the command, not a program
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise
from ._version import __version__
from .arrays import CopyWarning
from .operation import Implementation, Operation, UnavailableError, UnknownImplementationError
from .operations import OPERATIONS
from .operations.activations import relu, relu_backward, sigmoid, sigmoid_backward, softmax, tanh, tanh_backward
from .operations.gelu import gelu, gelu_backward
from .operations.linalg import add, dot, linear, sum, transpose
from .operations.losses import cross_entropy, cross_entropy_backward, mse, mse_backward
from .operations.matmul import matmul, prepack
from .operations.mlp import MLPCache, mlp_backward, mlp_forward
from .operations.optimizers import adam, momentum, rmsprop, sgd
from .operations.quantize import quantize

if TYPE_CHECKING:
    from .bench.duel import duel
    from .check import check
    from .inspect import inspect
    from .verify.gradients import GradientCheck, GradientMismatchError, gradcheck


__all__ = ["OPERATIONS", "Implementation", "Operation", "UnavailableError", "UnknownImplementationError"]
__all__ += ["check", "duel", "inspect"]
__all__ += ["CopyWarning", "GradientCheck", "GradientMismatchError", "MLPCache", "gradcheck"]
__all__ += ["__version__", "isa", "isa_levels", "num_threads", "set_isa", "set_num_threads"]
__all__ += ["add", "dot", "linear", "matmul", "prepack", "quantize", "sum", "transpose"]
__all__ += ["gelu", "gelu_backward", "relu", "relu_backward", "sigmoid", "sigmoid_backward"]
__all__ += ["softmax", "tanh", "tanh_backward"]
__all__ += ["cross_entropy", "cross_entropy_backward", "mse", "mse_backward"]
__all__ += ["mlp_backward", "mlp_forward"]
__all__ += ["adam", "momentum", "rmsprop", "sgd"]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext loopnest` in a notebook: the cell magic %%kernel, which judges a cell."""
    from .cli.magic import kernel

    shell.register_magic_function(kernel, "cell", "kernel")


if not TYPE_CHECKING:  # mypy sees the names above, and would take every other name for one of these

    def __getattr__(name: str) -> Any:
        """The names of rooms above the operations, which are imported at the first use. `check` and `inspect` are the
        rooms themselves; a call of one is a call of its function of that name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in ("check", "inspect"):
            return importlib.import_module(f".{name}", __name__)
        room = ".bench.duel" if name == "duel" else ".verify.gradients"
        return getattr(importlib.import_module(room, __name__), name)
