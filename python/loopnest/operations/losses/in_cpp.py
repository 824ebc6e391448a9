"""The losses and their gradients in C++: the headers below csrc/losses/."""

from ...backends.cpp import header_rung

header_rung("mse", "vectorized", "losses/mse.hpp")
header_rung("mse_backward", "vectorized", "losses/mse.hpp")
header_rung("cross_entropy", "loop", "losses/cross_entropy.hpp")
header_rung("cross_entropy_backward", "loop", "losses/cross_entropy.hpp")
