"""GELU and its gradient in C++: a rung is a header below csrc/gelu/ and a line of csrc/rungs.def."""

from ...backends import cpp_rung

RUNGS = {
    "gelu": [
        cpp_rung("gelu", "scalar"),
        cpp_rung("gelu", "polynomial", faster_than="cpp.scalar"),
        cpp_rung("gelu", "simd", faster_than="cpp.scalar"),
        cpp_rung("gelu", "parallel"),
    ],
    "gelu_backward": [
        cpp_rung("gelu_backward", "scalar"),
        cpp_rung("gelu_backward", "polynomial", faster_than="cpp.scalar"),
        cpp_rung("gelu_backward", "simd", faster_than="cpp.scalar"),
        cpp_rung("gelu_backward", "parallel"),
    ],
}
