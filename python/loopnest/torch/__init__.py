"""The fastest kernels for users of torch: operators that autograd and torch.compile know, and the MLP as a module.

    import loopnest.torch

    mlp = loopnest.torch.MLP(768, 3072)              # in the place of nn.Sequential(Linear, GELU, Linear)
    y = loopnest.torch.linear(x, weight, bias)       # in the place of torch.nn.functional.linear

Everything follows torch's conventions: weights are (out, in), GELU is exact unless approximate="tanh". float32 and
float64 on the CPU; others raise an error, or go to torch's own kernels with fallback=True. `import loopnest` does not
import this package: it needs torch (`pip install 'loopnest[torch]'`).

operators.py    torch.ops.loopnest.*: schemas, kernels, fake kernels, gradients
functional.py   the same as functions: matmul, linear, gelu, mlp
module.py       MLP, a torch.nn.Module
replace.py      replace_mlps: the MLPs of a model, found (recognise.py), swapped (swapped.py) and compared (probe.py)
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    from ..operation import UnavailableError

    raise UnavailableError(f"loopnest.torch needs torch ({error}): pip install 'loopnest[torch]'") from error

from .functional import gelu, linear, matmul, mlp
from .module import MLP
from .replace import Block, Replaced, replace_mlps, restore_mlps

__all__ = ["MLP", "Block", "Replaced", "gelu", "linear", "matmul", "mlp", "replace_mlps", "restore_mlps"]
