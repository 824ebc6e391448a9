"""Activation functions, their gradients, and softmax. GELU has a folder of its own."""

from ...operation import Operation
from . import contract

relu = Operation("relu", __name__, contract.relu)
relu_backward = Operation("relu_backward", __name__, contract.relu_backward)
sigmoid = Operation("sigmoid", __name__, contract.sigmoid)
sigmoid_backward = Operation("sigmoid_backward", __name__, contract.sigmoid_backward)
tanh = Operation("tanh", __name__, contract.tanh)
tanh_backward = Operation("tanh_backward", __name__, contract.tanh_backward)
softmax = Operation("softmax", __name__, contract.softmax)
