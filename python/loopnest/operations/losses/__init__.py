"""Losses and their gradients: the mean squared error and the softmax cross-entropy."""

from ...operation import Operation
from .contract import CROSS_ENTROPY, CROSS_ENTROPY_BACKWARD, MSE, MSE_BACKWARD

mse = Operation("mse", __name__, MSE)
mse_backward = Operation("mse_backward", __name__, MSE_BACKWARD)
cross_entropy = Operation("cross_entropy", __name__, CROSS_ENTROPY)
cross_entropy_backward = Operation("cross_entropy_backward", __name__, CROSS_ENTROPY_BACKWARD)
