"""The operations, one folder each: the contract, and next to it one file a backend."""

from ..operation import Operation
from ..output.text import unknown
from .activations import relu, relu_backward, sigmoid, sigmoid_backward, softmax, tanh, tanh_backward
from .gelu import gelu, gelu_backward
from .linalg import add, dot, linear, sum, transpose
from .losses import cross_entropy, cross_entropy_backward, mse, mse_backward
from .matmul import matmul
from .mlp import mlp_backward, mlp_forward
from .optimizers import adam, momentum, rmsprop, sgd

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        *(dot, sum, add, transpose, matmul, linear),
        *(relu, relu_backward, sigmoid, sigmoid_backward, tanh, tanh_backward, softmax, gelu, gelu_backward),
        *(mse, mse_backward, cross_entropy, cross_entropy_backward),
        *(mlp_forward, mlp_backward),
        *(sgd, momentum, rmsprop, adam),
    )
}
"""All operations by name, in reading order."""


def operation_of(name: str | Operation, caller: str) -> Operation:
    """The operation of this name, or the operation itself. Raises ValueError, with the caller's name."""
    if isinstance(name, str) and name not in OPERATIONS:
        raise ValueError(f"{caller}: {unknown('operation', name, OPERATIONS)}")
    return OPERATIONS[name] if isinstance(name, str) else name


__all__ = ["OPERATIONS", "operation_of"]
