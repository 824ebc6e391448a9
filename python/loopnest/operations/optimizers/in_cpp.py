"""The optimizers' steps in C++: csrc/optimizers/steps.hpp."""

from ...backends import cpp_rung

RUNGS = {
    "sgd": [cpp_rung("sgd", "vectorized")],
    "momentum": [cpp_rung("momentum", "vectorized")],
    "rmsprop": [cpp_rung("rmsprop", "vectorized")],
    "adam": [cpp_rung("adam", "vectorized")],
}
