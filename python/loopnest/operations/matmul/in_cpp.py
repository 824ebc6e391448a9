"""matmul in C++: a rung is a header below csrc/matmul/ and a line of csrc/rungs.def."""

from ...backends import cpp_rungs

RUNGS = {
    "matmul": cpp_rungs(
        "matmul",
        study=("jik", "jki", "kij", "kji"),
        faster_than={
            "reordered": "cpp.naive",
            "blocked": "cpp.reordered",
            **dict.fromkeys(("register_tiled", "packed", "prefetched", "parallel"), "cpp.blocked"),
        },
    ),
}
