"""matmul in C++: a rung is a header below csrc/matmul/ and a line of the table in csrc/simd/kernels.cpp."""

from ...backends import cpp_rung

RUNGS = {
    "matmul": [
        cpp_rung("matmul", "naive", "matmul/naive.hpp"),
        cpp_rung("matmul", "jik", "matmul/loop_orders.hpp", study=True),
        cpp_rung("matmul", "jki", "matmul/loop_orders.hpp", study=True),
        cpp_rung("matmul", "kij", "matmul/loop_orders.hpp", study=True),
        cpp_rung("matmul", "kji", "matmul/loop_orders.hpp", study=True),
        cpp_rung("matmul", "reordered", "matmul/reordered.hpp", faster_than="cpp.naive"),
        cpp_rung("matmul", "blocked", "matmul/blocked.hpp", faster_than="cpp.reordered"),
        cpp_rung("matmul", "register_tile", "matmul/register_tile.hpp", faster_than="cpp.blocked"),
        cpp_rung("matmul", "packed", "matmul/packed.hpp", faster_than="cpp.blocked"),
        cpp_rung("matmul", "prefetched", "matmul/prefetched.hpp", faster_than="cpp.blocked"),
        cpp_rung("matmul", "parallel", "matmul/parallel.hpp", faster_than="cpp.blocked"),
    ],
}
