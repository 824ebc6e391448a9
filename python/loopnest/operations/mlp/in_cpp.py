"""The MLP in C++: a rung is a header below csrc/mlp/ and a line of csrc/rungs.def."""

from ...backends import cpp_rungs

RUNGS = {operation: cpp_rungs(operation) for operation in ("mlp_forward", "mlp_backward")}
