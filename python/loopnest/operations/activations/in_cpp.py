"""The activation functions, their gradients and softmax in C++: the headers below csrc/activations/."""

from ...backends import cpp_rung

RUNGS = {
    "relu": [cpp_rung("relu", "simd")],
    "relu_backward": [cpp_rung("relu_backward", "simd")],
    "sigmoid": [cpp_rung("sigmoid", "simd")],
    "sigmoid_backward": [cpp_rung("sigmoid_backward", "simd")],
    "tanh": [cpp_rung("tanh", "simd")],
    "tanh_backward": [cpp_rung("tanh_backward", "simd")],
    "softmax": [cpp_rung("softmax", "simd")],
}
