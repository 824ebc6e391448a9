"""The operations, one folder each: the contract, and next to it one file a backend."""

from ..operation import Operation
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

__all__ = ["OPERATIONS"]
