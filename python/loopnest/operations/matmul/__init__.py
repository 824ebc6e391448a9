"""Matrix product: c = a @ b."""

from ...operation import Operation
from .contract import CONTRACT

matmul = Operation("matmul", __name__, CONTRACT)
