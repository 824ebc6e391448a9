"""Past one machine: the lab's operations on many ranks, by torch.distributed's collectives; started by `torchrun`.

No communication is written here: what crosses between ranks are calls of torch's collectives, gloo's on CPUs and nccl's
where each rank has a GPU. docs/parallel.md has the mathematics and the commands.

ranks.py            start, Ranks: who they are, the collectives on NumPy arrays, what is said of a lost one
tensor_parallel.py  TensorParallelMLP: each rank has a part of the hidden units; by_dtensor.py: by torch's library
compare.py          the two, and one process, beside each other
data_parallel.py    DataParallel: a training, each rank with a part of every batch; timeline.py draws its overlap
cost.py             what ranks cost: arithmetic, wire and latency; measure.py: the same measured
out_of_core.py      matmul_out_of_core, by one process and without torch; files.py memory.py operands.py
"""

from .data_parallel import Buckets, DataParallel
from .operands import Sampled, check_product, make_operands
from .out_of_core import Blocks, OutOfCoreProduct, matmul_out_of_core
from .ranks import Place, RankLostError, Ranks, Span, split, start, why_unavailable
from .tensor_parallel import TensorParallelMLP

__all__ = [
    "Blocks",
    "Buckets",
    "DataParallel",
    "OutOfCoreProduct",
    "Place",
    "RankLostError",
    "Ranks",
    "Sampled",
    "Span",
    "TensorParallelMLP",
    "check_product",
    "make_operands",
    "matmul_out_of_core",
    "split",
    "start",
    "why_unavailable",
]
