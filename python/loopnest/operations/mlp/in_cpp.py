"""The MLP in C++: a rung is a header below csrc/mlp/ and a line of csrc/rungs.def."""

from ...backends import cpp_rung

RUNGS = {
    "mlp_forward": [
        cpp_rung("mlp_forward", "composed"),
        cpp_rung("mlp_forward", "fused"),
    ],
    "mlp_backward": [
        cpp_rung("mlp_backward", "composed"),
        cpp_rung("mlp_backward", "fused"),
    ],
}
