"""GELU, the Gaussian error linear unit, and its gradient."""

from ...operation import Operation
from .contract import GELU, GELU_BACKWARD

gelu = Operation("gelu", __name__, GELU)
gelu_backward = Operation("gelu_backward", __name__, GELU_BACKWARD)
