"""The optimizers' steps in C++: csrc/optimizers/steps.hpp."""

from ...backends import cpp_rungs

RUNGS = {operation: cpp_rungs(operation) for operation in ("sgd", "momentum", "rmsprop", "adam")}
