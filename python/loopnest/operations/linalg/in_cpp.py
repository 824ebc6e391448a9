"""dot, sum, add, transpose and linear in C++: a rung is a header below csrc/linalg/ and a line of the kernel table."""

from ...backends.cpp import header_rung

header_rung("dot", "one_accumulator", "linalg/dot_one_accumulator.hpp")
header_rung("dot", "many_accumulators", "linalg/dot_many_accumulators.hpp", faster_than="cpp.one_accumulator")
header_rung("dot", "simd", "linalg/dot_simd.hpp", faster_than="cpp.one_accumulator")

header_rung("sum", "column_wise", "linalg/sum.hpp", study=True)
header_rung("sum", "row_wise", "linalg/sum.hpp", faster_than="cpp.column_wise")
header_rung("sum", "many_accumulators", "linalg/sum_many_accumulators.hpp", faster_than="cpp.row_wise")
header_rung("sum", "simd", "linalg/sum_simd.hpp", faster_than="cpp.row_wise")

header_rung("add", "scalar", "linalg/add.hpp")
header_rung("add", "vectorized", "linalg/add.hpp")
header_rung("add", "simd", "linalg/add_simd.hpp")

header_rung("transpose", "naive", "linalg/transpose.hpp")
header_rung("transpose", "column_wise", "linalg/transpose.hpp", study=True)
header_rung("transpose", "blocked", "linalg/transpose_blocked.hpp", faster_than="cpp.naive")

header_rung("linear", "fused", "linalg/linear.hpp")
