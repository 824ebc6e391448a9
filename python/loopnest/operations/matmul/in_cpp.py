"""matmul in C++: a rung is a header below csrc/matmul/ and a line of the table in csrc/simd/kernels.cpp."""

from ...backends.cpp import header_rung

header_rung("matmul", "naive", "matmul/naive.hpp")
header_rung("matmul", "jik", "matmul/loop_orders.hpp", study=True)
header_rung("matmul", "jki", "matmul/loop_orders.hpp", study=True)
header_rung("matmul", "kij", "matmul/loop_orders.hpp", study=True)
header_rung("matmul", "kji", "matmul/loop_orders.hpp", study=True)
header_rung("matmul", "reordered", "matmul/reordered.hpp", faster_than="cpp.naive")
header_rung("matmul", "blocked", "matmul/blocked.hpp", faster_than="cpp.reordered")
header_rung("matmul", "register_tile", "matmul/register_tile.hpp", faster_than="cpp.blocked")
header_rung("matmul", "packed", "matmul/packed.hpp", faster_than="cpp.blocked")
header_rung("matmul", "prefetched", "matmul/prefetched.hpp", faster_than="cpp.blocked")
header_rung("matmul", "parallel", "matmul/parallel.hpp", faster_than="cpp.blocked")
