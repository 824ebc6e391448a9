"""dot, sum, add, transpose and linear in C++: a rung is a header below csrc/linalg/ and a line of csrc/rungs.def."""

from ...arrays import HALVES
from ...backends import cpp_rungs, reduced_cpp_rungs
from ..matmul.in_cpp import fastest_product

RUNGS = {
    "dot": cpp_rungs("dot", faster_than={"many_accumulators": "cpp.one_accumulator", "simd": "cpp.one_accumulator"}),
    "sum": cpp_rungs(
        "sum",
        study=("column_wise",),
        faster_than={"row_wise": "cpp.column_wise", "many_accumulators": "cpp.row_wise", "simd": "cpp.row_wise"},
    ),
    "linear": cpp_rungs("linear")
    + reduced_cpp_rungs("linear", fastest_product, blockwise={"dtypes": HALVES, "faster_than": "numba.upcast"}),
    "transpose": cpp_rungs("transpose", study=("column_wise",), faster_than={"blocked": "cpp.naive"}),
}
