"""matmul in C++: a rung is a header below csrc/matmul/ and a line of csrc/rungs.def."""

from ...backends import cpp_rung

RUNGS = {
    "matmul": [
        cpp_rung("matmul", "naive"),
        cpp_rung("matmul", "jik", study=True),
        cpp_rung("matmul", "jki", study=True),
        cpp_rung("matmul", "kij", study=True),
        cpp_rung("matmul", "kji", study=True),
        cpp_rung("matmul", "reordered", faster_than="cpp.naive"),
        cpp_rung("matmul", "blocked", faster_than="cpp.reordered"),
        cpp_rung("matmul", "register_tiled", faster_than="cpp.blocked"),
        cpp_rung("matmul", "packed", faster_than="cpp.blocked"),
        cpp_rung("matmul", "prefetched", faster_than="cpp.blocked"),
        cpp_rung("matmul", "parallel", faster_than="cpp.blocked"),
    ],
}
