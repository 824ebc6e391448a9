"""GELU and its gradient in C++: a rung is a header below csrc/gelu/ and a line of the kernel table."""

from ...backends import cpp_rung

RUNGS = {
    "gelu": [
        cpp_rung("gelu", "scalar", "gelu/scalar.hpp"),
        cpp_rung("gelu", "polynomial", "gelu/polynomial.hpp", faster_than="cpp.scalar"),
        cpp_rung("gelu", "simd", "gelu/simd.hpp", faster_than="cpp.scalar"),
        cpp_rung("gelu", "parallel", "gelu/parallel.hpp"),
    ],
    "gelu_backward": [
        cpp_rung("gelu_backward", "scalar", "gelu/scalar.hpp"),
        cpp_rung("gelu_backward", "polynomial", "gelu/polynomial.hpp", faster_than="cpp.scalar"),
        cpp_rung("gelu_backward", "simd", "gelu/simd.hpp", faster_than="cpp.scalar"),
        cpp_rung("gelu_backward", "parallel", "gelu/parallel.hpp"),
    ],
}
