"""dot, sum, add, transpose and linear in C++: a rung is a header below csrc/linalg/ and a line of csrc/rungs.def."""

from ...backends import cpp_rungs

RUNGS = {
    "dot": cpp_rungs("dot", faster_than={"many_accumulators": "cpp.one_accumulator", "simd": "cpp.one_accumulator"}),
    "sum": cpp_rungs(
        "sum",
        study=("column_wise",),
        faster_than={"row_wise": "cpp.column_wise", "many_accumulators": "cpp.row_wise", "simd": "cpp.row_wise"},
    ),
    "transpose": cpp_rungs("transpose", study=("column_wise",), faster_than={"blocked": "cpp.naive"}),
}
