"""The optimizers' steps in C++: the headers below csrc/optimizers/."""

from ...backends import cpp_rungs

RUNGS = {operation: cpp_rungs(operation) for operation in ("sgd", "momentum", "rmsprop", "adam")}
