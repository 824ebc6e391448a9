"""dot, sum, add, transpose and linear in C++: a rung is a header below csrc/linalg/ and a line of the kernel table."""

from ...backends import cpp_rung

RUNGS = {
    "dot": [
        cpp_rung("dot", "one_accumulator", "linalg/dot_one_accumulator.hpp"),
        cpp_rung("dot", "many_accumulators", "linalg/dot_many_accumulators.hpp", faster_than="cpp.one_accumulator"),
        cpp_rung("dot", "simd", "linalg/dot_simd.hpp", faster_than="cpp.one_accumulator"),
    ],
    "sum": [
        cpp_rung("sum", "column_wise", "linalg/sum.hpp", study=True),
        cpp_rung("sum", "row_wise", "linalg/sum.hpp", faster_than="cpp.column_wise"),
        cpp_rung("sum", "many_accumulators", "linalg/sum_many_accumulators.hpp", faster_than="cpp.row_wise"),
        cpp_rung("sum", "simd", "linalg/sum_simd.hpp", faster_than="cpp.row_wise"),
    ],
    "add": [
        cpp_rung("add", "scalar", "linalg/add.hpp"),
        cpp_rung("add", "vectorized", "linalg/add.hpp"),
        cpp_rung("add", "simd", "linalg/add_simd.hpp"),
    ],
    "transpose": [
        cpp_rung("transpose", "naive", "linalg/transpose.hpp"),
        cpp_rung("transpose", "column_wise", "linalg/transpose.hpp", study=True),
        cpp_rung("transpose", "blocked", "linalg/transpose_blocked.hpp", faster_than="cpp.naive"),
    ],
    "linear": [
        cpp_rung("linear", "fused", "linalg/linear.hpp"),
    ],
}
