"""matmul in C++: a rung is a header below csrc/matmul/ and a line of csrc/rungs.def."""

from ...backends import cpp_rungs

RUNGS = {
    "matmul": cpp_rungs(
        "matmul",
        study=("jik", "jki", "kij", "kji"),
        faster_than={
            "reordered": "cpp.naive",
            "blocked": "cpp.reordered",
            "register_tiled": "cpp.blocked",
            "packed": "cpp.blocked",
            "prefetched": "cpp.blocked",
            "parallel": "cpp.blocked",
        },
    ),
}
