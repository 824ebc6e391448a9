"""The C++ kernels and what they know of the machine."""

from collections.abc import Callable, Sequence
from typing import Any

from .arrays import Array

# kernels[operation][variant](inputs…, results…): NumPy arrays in, the results filled. The table in
# csrc/rungs.def is the one list of them.
kernels: dict[str, dict[str, Callable[..., Any]]]

# limits["peak" | "read" | "copy" | "triad"][loop]: what the machine's limits are measured with; see
# csrc/measure/limits.hpp and machine/limits.py, which times them.
limits: dict[str, dict[str, Callable[..., float]]]

# in_step[loop](isa, [(arguments…), …], warm_up=[]): the same loops, one thread for each of these calls; the seconds
# from their common beginning to the last's end, and what each returned. Before, each thread makes its call of warm_up.
# See csrc/measure/in_step.hpp.
in_step: dict[str, Callable[..., tuple[float, list[Any]]]]

# reduced[operation][variant](inputs…, results…): the kernels for reduced precision; bfloat16 as its bits, in uint16.
# linear, mlp_forward and matmul's "scaled" take after that the variant of matmul that they multiply with. Variants that
# end in _prepacked take b's panels, as does kernels["matmul"]["prepacked"] (backends/prepacked.py).
reduced: dict[str, dict[str, Callable[..., None]]]

def kept_choice(name: str) -> str:
    """What was kept under this name in the user's cache for this kind of processor, or ""."""

def keep_choice(name: str, answer: str) -> bool:
    """Keep an answer for this and later processes; False if the user has no such folder."""

def further_instructions() -> list[str]: ...
def why_no_amx() -> str | None: ...
def emulate_amx(emulate: bool) -> None: ...
def isa_levels() -> list[str]: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def use_openmp(parallel: int = 0, max_threads: int = 0, thread: int = 0) -> None: ...
def cache_sizes() -> tuple[int, int, int]: ...
def caches(folder: str = "") -> list[tuple[int, int, int, int, int]]: ...
def bind_as_thread(n: int) -> bool: ...
def chase(next: Array, place: int, steps: int) -> int: ...
def two_cycles(k: int, steps: int) -> int: ...

class CacheSimulator:
    """Caches, L1 first, each as (bytes, ways, bytes of a line), which remember what they were asked for."""

    def __init__(self, caches: Sequence[tuple[int, int, int]]) -> None: ...
    def access(self, addresses: Array, writes: Array) -> Array:
        """For each address the level in which its line is found: 0 for L1, …, the number of levels for memory."""

    def run(
        self,
        operation: str,
        variant: str,
        isa: str,
        operands: Sequence[Array],
        memory: Sequence[Array],
        blocks: tuple[int, int, int],
        record: bool,
    ) -> tuple[Array, list[int], list[int], Array]:
        """Run a traced rung on operands that lie within `memory`: for each region the lines found in each level, and
        the bytes asked for; the lines that each level wrote back; and, where `record` says so, every access."""

    def read_all(self, memory: Sequence[Array]) -> None:
        """Read every line of the memory once, in order."""

def traced_rungs(isa: str) -> list[tuple[str, str]]:
    """The operations and variants that CacheSimulator.run knows."""

def fast_path(
    kernel: Callable[..., Any], shapes: str, option: bool
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any] | None:
    """fast(args, kwargs), which runs `kernel` in ordinary calls and returns NotImplemented for all others; None for a
    kernel that takes other arguments, or is none of `kernels`."""

def fast_path_calls() -> int:
    """How many calls of this process a fast path has taken."""

def accept_tensors(tensor: type, forward_mode: dict[str, Any]) -> bool:
    """Read objects of this type, torch.Tensor, too; False where it lacks DLPack's C interface."""

def set_allocator(allocate: Callable[..., Any] | None) -> None:
    """Let `allocate` make the fast path's new results from a shape and a dtype, in place of NumPy's empty()."""
