"""Optimizers: one step of gradient descent and its descendants, in place."""

from ...operation import Operation
from .contract import ADAM, MOMENTUM, RMSPROP, SGD

sgd = Operation("sgd", __name__, SGD)
momentum = Operation("momentum", __name__, MOMENTUM)
rmsprop = Operation("rmsprop", __name__, RMSPROP)
adam = Operation("adam", __name__, ADAM)
