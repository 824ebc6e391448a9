"""The activation functions, their gradients and softmax in C++: the headers below csrc/activations/."""

from ...backends.cpp import header_rung

header_rung("relu", "simd", "activations/simd.hpp")
header_rung("relu_backward", "simd", "activations/simd.hpp")
header_rung("sigmoid", "simd", "activations/simd.hpp")
header_rung("sigmoid_backward", "simd", "activations/simd.hpp")
header_rung("tanh", "simd", "activations/simd.hpp")
header_rung("tanh_backward", "simd", "activations/simd.hpp")
header_rung("softmax", "simd", "activations/softmax.hpp")
