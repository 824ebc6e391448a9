"""The optimizers' steps in C++: csrc/optimizers/steps.hpp."""

from ...backends.cpp import header_rung

header_rung("sgd", "vectorized", "optimizers/steps.hpp")
header_rung("momentum", "vectorized", "optimizers/steps.hpp")
header_rung("rmsprop", "vectorized", "optimizers/steps.hpp")
header_rung("adam", "vectorized", "optimizers/steps.hpp")
