"""The MLP in C++: a rung is a header below csrc/mlp/ and a line of the kernel table."""

from ...backends import cpp_rung

RUNGS = {
    "mlp_forward": [
        cpp_rung("mlp_forward", "composed", "mlp/composed.hpp"),
        cpp_rung("mlp_forward", "fused", "mlp/fused.hpp"),
    ],
    "mlp_backward": [
        cpp_rung("mlp_backward", "composed", "mlp/composed.hpp"),
        cpp_rung("mlp_backward", "fused", "mlp/fused.hpp"),
    ],
}
