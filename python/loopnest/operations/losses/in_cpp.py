"""The losses and their gradients in C++: the headers below csrc/losses/."""

from ...backends import cpp_rungs

RUNGS = {
    operation: cpp_rungs(operation) for operation in ("mse", "mse_backward", "cross_entropy", "cross_entropy_backward")
}
