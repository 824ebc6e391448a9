"""How do loopnest's operations run on many processes?

Each process, a rank that torchrun has started, brings a part of a batch or of an MLP's weights; all leave with the
same results. Between ranks there are calls of torch.distributed's collectives alone, by gloo.

ranks.py            start, Ranks: the processes, and collectives on NumPy arrays
tensor_parallel.py  TensorParallelMLP: each rank has a part of the hidden units
data_parallel.py    DataParallel: a training in which each rank has a part of every batch

docs/parallel.md has the mathematics; `loopnest train` under torchrun trains on all ranks.
"""

from .data_parallel import DataParallel
from .ranks import Place, RankLostError, Ranks, split, start, why_unavailable
from .tensor_parallel import TensorParallelMLP

__all__ = [
    "DataParallel",
    "Place",
    "RankLostError",
    "Ranks",
    "TensorParallelMLP",
    "split",
    "start",
    "why_unavailable",
]
