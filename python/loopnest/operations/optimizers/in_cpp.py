"""The optimizers' steps in C++: csrc/optimizers/steps.hpp."""

from ...backends import cpp_rung

RUNGS = {
    "sgd": [
        cpp_rung("sgd", "vectorized", "optimizers/steps.hpp"),
    ],
    "momentum": [
        cpp_rung("momentum", "vectorized", "optimizers/steps.hpp"),
    ],
    "rmsprop": [
        cpp_rung("rmsprop", "vectorized", "optimizers/steps.hpp"),
    ],
    "adam": [
        cpp_rung("adam", "vectorized", "optimizers/steps.hpp"),
    ],
}
