"""The activation functions, their gradients and softmax in C++: the headers below csrc/activations/."""

from ...backends import cpp_rung

RUNGS = {
    "relu": [
        cpp_rung("relu", "simd", "activations/simd.hpp"),
    ],
    "relu_backward": [
        cpp_rung("relu_backward", "simd", "activations/simd.hpp"),
    ],
    "sigmoid": [
        cpp_rung("sigmoid", "simd", "activations/simd.hpp"),
    ],
    "sigmoid_backward": [
        cpp_rung("sigmoid_backward", "simd", "activations/simd.hpp"),
    ],
    "tanh": [
        cpp_rung("tanh", "simd", "activations/simd.hpp"),
    ],
    "tanh_backward": [
        cpp_rung("tanh_backward", "simd", "activations/simd.hpp"),
    ],
    "softmax": [
        cpp_rung("softmax", "simd", "activations/softmax.hpp"),
    ],
}
