"""The transformer's MLP: two layers with a GELU between them, forward and backward."""

from ...operation import Operation
from .contract import BACKWARD, FORWARD, MLPCache

__all__ = ["MLPCache", "mlp_backward", "mlp_forward"]

mlp_forward = Operation("mlp_forward", __name__, FORWARD)
mlp_backward = Operation("mlp_backward", __name__, BACKWARD)
