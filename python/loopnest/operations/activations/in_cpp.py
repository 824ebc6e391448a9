"""The activation functions, their gradients and softmax in C++: the headers below csrc/activations/."""

from ...backends import cpp_rungs

RUNGS = {
    operation: cpp_rungs(operation)
    for operation in ("relu", "relu_backward", "sigmoid", "sigmoid_backward", "tanh", "tanh_backward", "softmax")
}
