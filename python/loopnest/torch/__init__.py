"""How does a user of torch run loopnest's kernels?

Tensors or a model come in; tensors, a module or a model with swapped MLPs come out. The operators work with autograd
and torch.compile.

    import loopnest.torch

    mlp = loopnest.torch.MLP(768, 3072)              # replaces nn.Sequential(Linear, GELU, Linear)
    y = loopnest.torch.linear(x, weight, bias)       # replaces torch.nn.functional.linear

Everything follows torch's conventions: weights are (out, in), GELU is exact unless approximate="tanh". float32 and
float64 on the CPU; others raise an error, or run torch's own kernels with fallback=True. `import loopnest` does not
import this package: it needs torch (`pip install 'loopnest[torch]'`).

library.py        how a kernel becomes an operator of torch
operators.py      torch.ops.loopnest.matmul, linear, gelu, gelu_backward
mlp_operators.py  torch.ops.loopnest.mlp, mlp_forward, mlp_backward
checks.py         the operators' checks and errors
functional.py     the same as functions: matmul, linear, gelu, mlp
threads.py        the kernels run on torch's threads, so that two pools do not compete for the cores
module.py         MLP, a torch.nn.Module
replace.py        replace_mlps: a model's MLPs, found (recognise.py), compared (probe.py), swapped (swapped.py)
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    from ..operation import UnavailableError

    class _NoTorchError(UnavailableError, ImportError):
        """An ImportError, as for any missing package, that is one of loopnest's errors too."""

    raise _NoTorchError(f"loopnest.torch needs torch ({error}): pip install 'loopnest[torch]'") from error

from .functional import gelu, linear, matmul, mlp
from .module import MLP
from .replace import Block, Replaced, replace_mlps, restore_mlps
from .threads import share_threads

share_threads()

__all__ = ["MLP", "Block", "Replaced", "gelu", "linear", "matmul", "mlp", "replace_mlps", "restore_mlps"]
