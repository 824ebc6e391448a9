"""The MLP in C++: a rung is a header below csrc/mlp/ and a line of csrc/rungs.def."""

from ...arrays import HALVES
from ...backends import cpp_rungs, reduced_cpp_rungs
from ..matmul.in_cpp import fastest_product

RUNGS = {
    "mlp_forward": cpp_rungs("mlp_forward")
    + reduced_cpp_rungs("mlp_forward", fastest_product, blockwise={"dtypes": HALVES, "faster_than": "numba.upcast"}),
}
