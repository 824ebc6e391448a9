"""Activation functions, their gradients, and softmax. GELU has a folder of its own."""

from ...operation import Operation
from .contract import RELU, RELU_BACKWARD, SIGMOID, SIGMOID_BACKWARD, SOFTMAX, TANH, TANH_BACKWARD

relu = Operation("relu", __name__, RELU)
relu_backward = Operation("relu_backward", __name__, RELU_BACKWARD)
sigmoid = Operation("sigmoid", __name__, SIGMOID)
sigmoid_backward = Operation("sigmoid_backward", __name__, SIGMOID_BACKWARD)
tanh = Operation("tanh", __name__, TANH)
tanh_backward = Operation("tanh_backward", __name__, TANH_BACKWARD)
softmax = Operation("softmax", __name__, SOFTMAX)
