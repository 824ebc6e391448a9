"""The losses and their gradients in C++: the headers below csrc/losses/."""

from ...backends import cpp_rung

RUNGS = {
    "mse": [
        cpp_rung("mse", "vectorized", "losses/mse.hpp"),
    ],
    "mse_backward": [
        cpp_rung("mse_backward", "vectorized", "losses/mse.hpp"),
    ],
    "cross_entropy": [
        cpp_rung("cross_entropy", "loop", "losses/cross_entropy.hpp"),
    ],
    "cross_entropy_backward": [
        cpp_rung("cross_entropy_backward", "loop", "losses/cross_entropy.hpp"),
    ],
}
