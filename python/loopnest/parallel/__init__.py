"""Past one machine: the lab's operations on many ranks, by torch.distributed's collectives; started by `torchrun`.

No communication is written here: what crosses between ranks are calls of torch's collectives, gloo's on CPUs and nccl's
where each rank has a GPU. docs/parallel.md has the mathematics and the commands.
"""

from .operands import Sampled, check_product, make_operands
from .out_of_core import Blocks, OutOfCoreProduct, matmul_out_of_core

__all__ = ["Blocks", "OutOfCoreProduct", "Sampled", "check_product", "make_operands", "matmul_out_of_core"]
