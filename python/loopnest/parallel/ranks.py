"""The ranks of a job: how they start, and torch's collectives on NumPy arrays.

`torchrun` starts the processes and numbers them, in the environment. They meet in torch's store, a dictionary that
torchrun keeps, and then talk by collectives: calls that all ranks make in the same order, and that return when all have
come. A collective fails when a rank has ended, or has not come in time; the other ranks then end, and torchrun's table
names the first that failed.
"""

import contextlib
import datetime
import importlib
import importlib.util
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..arrays import Array
from ..backends.threads import num_threads, processors, set_num_threads, threads_wanted
from ..operation import UnavailableError

T = TypeVar("T")

TIMEOUT = 20.0
"""Seconds in which all ranks must come to a collective."""

START = 300.0
"""Seconds in which all ranks must have started, kernels compiled and checkpoints written."""

NOTICE = 2.0
"""Seconds in which torchrun notices a rank that has ended, before the others end: its table names the first."""


class RankLostError(RuntimeError):
    """A rank has ended or hangs. The other ranks can only end too."""


@dataclass(frozen=True)
class Place:
    """Where a rank runs."""

    rank: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.rank} (pid {self.pid} on {self.host})"


def why_unavailable() -> str | None:
    """Why ranks cannot start here, with the fix; None if they can."""
    if importlib.util.find_spec("torch") is None:
        return "torch, whose collectives join the ranks, is not installed: pip install 'loopnest[torch]'"
    if not importlib.import_module("torch.distributed").is_available():
        return "this build of torch has no torch.distributed: install one from pytorch.org or PyPI"
    return None


def split(length: int, parts: int) -> list[slice]:
    """Split range(length) into contiguous parts, in order; their lengths differ by one at most.

    >>> from loopnest.parallel import split
    >>> split(5, 3)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    if length < 0 or parts < 1:
        raise ValueError(f"split: length is {length} and parts is {parts}, expected 0 or more and 1 or more")
    each, more = divmod(length, parts)
    ends = [part * each + min(part, more) for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends)]


class Ranks:
    """The ranks of this job, as this one sees them; `start` makes it.

    rank, size    this rank's number, from 0, and the number of ranks
    places        where each rank runs
    threads       threads that a call may use here: this rank's share of its machine's processors
    timeout       seconds in which all ranks must come to a collective

    All methods but `orphaned` are collectives: all ranks call them in the same order. They raise RankLostError if a
    rank does not come.
    """

    def __init__(self, rank: int, size: int, places: Sequence[Place], threads: int, timeout: float) -> None:
        self.rank, self.size, self.places, self.threads = rank, size, tuple(places), threads
        self.timeout = timeout
        self._parent = os.getppid()

    @property
    def patience(self) -> float:
        """Seconds to wait for the others after rank 0 had work of its own: the others may wait long for it."""
        return self.timeout if self.rank == 0 else START

    # --- collectives

    def sum(self, array: Array, what: str = "an array") -> None:
        """Sum this array over all ranks, in place.

        array  float32 or float64 in C order, or a CPU tensor; the same shape on all ranks
        what   its name in messages
        """
        if self.size == 1 or 0 in array.shape:
            return
        import torch
        import torch.distributed as dist

        with self._waiting(f"the sum of {what}"):
            dist.all_reduce(torch.from_numpy(array) if isinstance(array, np.ndarray) else array)

    def gather(self, array: Array, axis: int = 0, what: str = "an array") -> Array:
        """All ranks' arrays, concatenated along an axis; NumPy arrays or CPU tensors."""
        parts: list[Any] = self.gather_facts(array, what)
        if isinstance(array, np.ndarray):
            return np.concatenate(parts, axis)
        import torch

        whole: Array = torch.cat(parts, axis)
        return whole

    def gather_facts(self, fact: T, what: str = "facts") -> list[T]:
        """Each rank's fact, by rank; a fact can be pickled."""
        if self.size == 1:
            return [fact]
        import torch.distributed as dist

        facts: list[Any] = [None] * self.size
        with self._waiting(f"the gathering of {what}"):
            dist.all_gather_object(facts, fact)
        return facts

    def from_first(self, make: Callable[[], T], what: str = "facts") -> T:
        """Call `make` on rank 0 and return its result on all ranks; an exception of rank 0 is raised on all."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        made: list[Any] = [None, None]
        if self.rank == 0:
            try:
                made[0] = make()
            except Exception as error:
                made[1] = error
        self.barrier(f"{what} from rank 0", self.patience)
        with self._waiting(f"{what} from rank 0"):
            dist.broadcast_object_list(made, src=0)
        if made[1] is not None:
            raise made[1]
        value: T = made[0]
        return value

    def agree(self, what: str, value: Any, fix: str = "start all ranks with the same command") -> None:
        """Raise ValueError on all ranks if a rank's value differs from rank 0's; the message names the rank."""
        values = self.gather_facts(value, what)
        for place, other in zip(self.places, values, strict=True):
            if other != values[0]:
                raise ValueError(f"{what} is {other} on {place}, and {values[0]} on {self.places[0]}: {fix}")

    def barrier(self, what: str = "a barrier", timeout: float | None = None) -> None:
        """Wait until all ranks have come, for at most `timeout` seconds; None is `self.timeout`."""
        if self.size == 1:
            return
        import torch.distributed as dist

        with self._waiting(what):
            dist.monitored_barrier(timeout=datetime.timedelta(seconds=timeout or self.timeout))

    # --- ranks that are lost

    def orphaned(self) -> bool:
        """Whether the torchrun that started this process has ended, so that nobody would end this process."""
        return os.getppid() != self._parent

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        """Around a wait for other ranks: the error if one does not come."""
        try:
            yield
        except RuntimeError as error:
            time.sleep(NOTICE)
            reason = " ".join(str(error).split())
            raise RankLostError(
                f"lost: a rank has ended, hangs or is late, and {what} needs all ranks ({reason}); torchrun's table "
                f"has the first rank that failed"
            ) from error


# --- how they start


@contextmanager
def start(*, timeout: float = TIMEOUT) -> Iterator[Ranks]:
    """Join the ranks that torchrun has started; without torchrun, a job of one rank.

    timeout  seconds in which all ranks must come to a collective

    In the block each rank has its share of the machine's processors, or LOOPNEST_NUM_THREADS threads if that is set.
    Raises UnavailableError, with the install command, if torch.distributed is missing; ValueError for an
    environment that torchrun did not make; RankLostError if a rank does not start.

    >>> import numpy as np
    >>> from loopnest import parallel
    >>> x = np.arange(3.0)
    >>> if parallel.why_unavailable() is None:
    ...     with parallel.start() as ranks:  # one rank here; torchrun --nproc-per-node 2 FILE starts two
    ...         ranks.sum(x)  # all ranks' arrays, in place
    >>> x
    array([0., 1., 2.])
    """
    missing = why_unavailable()
    if missing:
        raise UnavailableError(missing)
    if not (timeout > 0):
        raise ValueError(f"timeout is {timeout}, expected a number of seconds more than 0")
    import torch.distributed as dist

    if dist.is_initialized():
        raise RuntimeError("torch.distributed has been started in this process before, expected one start")
    rank, size, local_size = _from_environment()
    place = Place(rank, socket.gethostname(), os.getpid())
    if size == 1:
        store, places = dist.HashStore(), [place]
    else:
        store = next(dist.rendezvous("env://", timeout=datetime.timedelta(seconds=START)))[0]
        places = _arrive(store, place, size)
    allowed = datetime.timedelta(seconds=timeout)
    prefixed = dist.PrefixStore("torch", store)
    dist.init_process_group("gloo", store=prefixed, rank=rank, world_size=size, timeout=allowed)
    whole = size == 1  # a rank that fails leaves the group as it is: to destroy it could wait for lost ranks
    try:
        with _share_of_processors(local_size) as threads:
            ranks = Ranks(rank, size, places, threads, timeout)
            yield ranks
            ranks.barrier("the end", ranks.patience)  # rank 0 may still be drawing or writing
        whole = True
    finally:
        if whole:
            dist.destroy_process_group()


def _from_environment() -> tuple[int, int, int]:
    """This rank, the number of ranks, and the number of ranks on this machine."""
    numbers = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    if not any(name in os.environ for name in numbers):
        return 0, 1, 1
    given = {name: os.environ.get(name, "") for name in (*numbers, "MASTER_ADDR", "MASTER_PORT")}
    if not given["MASTER_ADDR"] or not all(given[name].isdecimal() for name in (*numbers, "MASTER_PORT")):
        found = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ValueError(
            f"the environment has {found}, expected a machine's name and numbers, as torchrun sets them: "
            f"torchrun --nproc-per-node 2 FILE"
        )
    rank, size, local_size = (int(given[name]) for name in numbers)
    return rank, size, local_size


@contextmanager
def _share_of_processors(local_size: int) -> Iterator[int]:
    """Give this rank its share of the machine's processors, and yield how many threads that is.

    torchrun sets OMP_NUM_THREADS=1 for several ranks. OpenMP and BLAS libraries have read it, so they are set again.
    """
    import torch

    before, before_torch = num_threads(), torch.get_num_threads()
    chosen = "LOOPNEST_NUM_THREADS" in os.environ
    threads = threads_wanted() if chosen else max(1, processors() // local_size)
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl"):
            stack.enter_context(importlib.import_module("threadpoolctl").threadpool_limits(threads))
        for setter, was in ((set_num_threads, before), (torch.set_num_threads, before_torch)):
            setter(threads)
            stack.callback(setter, was)
        yield threads


def _arrive(store: Any, place: Place, size: int) -> list[Place]:
    """Publish this rank's place, wait for all others, and return all places."""
    store.set(f"place/{place.rank}", json.dumps([place.host, place.pid]))
    keys = [f"place/{rank}" for rank in range(size)]
    try:
        store.wait(keys, datetime.timedelta(seconds=START))
    except RuntimeError as error:
        absent = [str(rank) for rank in range(size) if not store.check([keys[rank]])]
        raise RankLostError(f"rank {', '.join(absent)} of {size} did not start within {START:g} s") from error
    return [Place(rank, *json.loads(store.get(key))) for rank, key in enumerate(keys)]
