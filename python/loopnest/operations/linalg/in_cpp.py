"""dot, sum, add, transpose and linear in C++: a rung is a header below csrc/linalg/ and a line of csrc/rungs.def."""

from ...backends import cpp_rung

RUNGS = {
    "dot": [
        cpp_rung("dot", "one_accumulator"),
        cpp_rung("dot", "many_accumulators", faster_than="cpp.one_accumulator"),
        cpp_rung("dot", "simd", faster_than="cpp.one_accumulator"),
    ],
    "sum": [
        cpp_rung("sum", "column_wise", study=True),
        cpp_rung("sum", "row_wise", faster_than="cpp.column_wise"),
        cpp_rung("sum", "many_accumulators", faster_than="cpp.row_wise"),
        cpp_rung("sum", "simd", faster_than="cpp.row_wise"),
    ],
    "add": [
        cpp_rung("add", "scalar"),
        cpp_rung("add", "vectorized"),
        cpp_rung("add", "simd"),
    ],
    "transpose": [
        cpp_rung("transpose", "naive"),
        cpp_rung("transpose", "column_wise", study=True),
        cpp_rung("transpose", "blocked", faster_than="cpp.naive"),
    ],
    "linear": [cpp_rung("linear", "fused")],
}
