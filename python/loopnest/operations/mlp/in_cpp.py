"""The MLP in C++: a rung is a header below csrc/mlp/ and a line of the kernel table."""

from ...backends.cpp import header_rung

header_rung("mlp_forward", "composed", "mlp/composed.hpp")
header_rung("mlp_forward", "fused", "mlp/fused.hpp")

header_rung("mlp_backward", "composed", "mlp/composed.hpp")
header_rung("mlp_backward", "fused", "mlp/fused.hpp")
