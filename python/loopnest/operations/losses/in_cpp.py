"""The losses and their gradients in C++: the headers below csrc/losses/."""

from ...backends import cpp_rung

RUNGS = {
    "mse": [cpp_rung("mse", "vectorized")],
    "mse_backward": [cpp_rung("mse_backward", "vectorized")],
    "cross_entropy": [cpp_rung("cross_entropy", "loop")],
    "cross_entropy_backward": [cpp_rung("cross_entropy_backward", "loop")],
}
