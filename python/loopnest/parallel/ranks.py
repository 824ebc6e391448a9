"""The processes that work together: who they are, torch's collectives on NumPy arrays, and what is said of a lost one.

`torchrun` starts the processes and tells each of them its number, its rank, in the environment. They find each other
through torch's store, a dictionary that torchrun keeps, and then talk by collectives: calls that all ranks make in the
same order, and which return when all have come. Where one does not come, the others would wait: so each collective has
a time in which it must be done, and when it fails there is a roll call, through the store, after which all ranks know
which one is missing, and say so.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import importlib.util
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..arrays import Array
from ..backends.threads import num_threads, processors, set_num_threads, threads_wanted
from ..nn.checkpoint import runs
from ..operation import UnavailableError

T = TypeVar("T")

TIMEOUT = 20.0
"""Seconds in which all ranks must come to a collective."""

START = 300.0
"""Seconds in which all ranks must have started: machines do not start alike, and kernels are compiled."""

ROLL_CALL = 3.0
"""Seconds in which a rank answers when the others ask who is there."""

BACKENDS = ("gloo", "nccl")


class RankLostError(RuntimeError):
    """A rank has ended, or does not come; the message names it. The other ranks can do no more than end too.

    teller  the rank that tells of it, the first of those that are left; the others need not say the same
    """

    def __init__(self, message: str, teller: int = 0) -> None:
        super().__init__(message)
        self.teller = teller


@dataclass(frozen=True)
class Place:
    """Where a rank runs."""

    rank: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.rank} (pid {self.pid} on {self.host})"


@dataclass(frozen=True)
class Span:
    """What a rank did from one time to another, by its `time.perf_counter`.

    kind  "forward", "gradient" or "all-reduce"
    what  of what
    """

    kind: str
    what: str
    begin: float
    end: float


def why_unavailable() -> str | None:
    """Why there can be no ranks here, with the fix, or None where there can."""
    if importlib.util.find_spec("torch") is None:
        return "torch, whose collectives join the ranks, is not installed: pip install 'loopnest[torch]'"
    distributed = importlib.import_module("torch.distributed")
    if not distributed.is_available():
        return "this build of torch has no torch.distributed: install one from pytorch.org, or from PyPI, which has"
    return None


def split(length: int, parts: int) -> list[slice]:
    """range(length) in so many contiguous parts, in order, of which none is more than one longer than another.

    >>> from loopnest.parallel import split
    >>> split(5, 3)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    if length < 0 or parts < 1:
        raise ValueError(f"split: length is {length} and parts is {parts}, expected 0 or more and 1 or more")
    each, more = divmod(length, parts)
    ends = [part * each + min(part, more) for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends)]


class Pending:
    """A collective that is under way; `wait` returns when it is done, and the arrays are then those of all ranks."""

    def __init__(self, finish: Callable[[], None] = lambda: None) -> None:
        self.wait = finish


class Ranks:
    """The ranks of this job, as this one sees them; `start` makes it.

    rank, size    this one's number, from 0, and how many there are
    places        where each rank runs
    threads       how many threads a call may use here: this machine's processors, shared by the ranks that run on it
    backend       "gloo" or "nccl"
    timeout       seconds in which all ranks must come to a collective
    spans         a list that receives a Span for each sum; None, and nothing is noted

    All methods but `orphaned` are collectives: all ranks call them in the same order. They raise RankLostError, which
    names the rank, where one does not come.
    """

    def __init__(
        self, rank: int, size: int, places: Sequence[Place], threads: int, backend: str, timeout: float, store: Any
    ) -> None:
        import torch

        self.rank, self.size, self.places, self.threads = rank, size, tuple(places), threads
        self.backend, self.timeout = backend, timeout
        self.spans: list[Span] | None = None
        self.device = torch.device("cuda", torch.cuda.current_device()) if backend == "nccl" else torch.device("cpu")
        self._store = store
        self._calls = 0
        self._waits_for = ""  # what it waits for; nothing while it works
        self._parent = os.getppid()

    @property
    def place(self) -> Place:
        return self.places[self.rank]

    @property
    def patience(self) -> float:
        """Seconds to wait for each other where rank 0 alone has something to do: the others wait for it as for a start,
        and it need not wait long for them."""
        return self.timeout if self.rank == 0 else START

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}, {self.backend}>"

    # --- collectives

    def sum_later(self, array: Array, what: str = "an array") -> Pending:
        """Begin to sum this array over all ranks, in place; it must be left alone until `wait` has returned.

        array  float32 or float64 in C order, or a CPU tensor of torch's; of one shape on all ranks
        what   what it is, for messages
        """
        if self.size == 1 or not _count(array):
            return Pending()
        import torch.distributed as dist

        tensor = _tensor(array)
        moved = tensor.to(self.device)
        begin = time.perf_counter()
        call = self._number()
        with self._waiting(f"the sum of {what}", call):
            work = dist.all_reduce(moved, async_op=True)
        spans = self.spans
        if spans is not None:
            work.get_future().then(lambda _: spans.append(Span("all-reduce", what, begin, time.perf_counter())))

        def finish() -> None:
            with self._waiting(f"the sum of {what}", call):
                work.wait()
            if moved is not tensor:
                tensor.copy_(moved)

        return Pending(finish)

    def sum(self, array: Array, what: str = "an array") -> None:
        """Sum this array over all ranks, in place: `sum_later`, waited for."""
        self.sum_later(array, what).wait()

    def gather(self, array: Array, lengths: Sequence[int], axis: int = 0, what: str = "an array") -> Array:
        """All ranks' arrays in a row along an axis.

        lengths  of that axis, by rank; all others are alike
        """
        if self.size == 1:
            return np.array(array) if isinstance(array, np.ndarray) else array.clone()
        import torch
        import torch.distributed as dist

        mine = _tensor(array).movedim(axis, 0)
        padded = torch.zeros((max(lengths), *mine.shape[1:]), dtype=mine.dtype, device=self.device)
        padded[: len(mine)] = mine
        all_of_them = [torch.empty_like(padded) for _ in lengths]
        with self._waiting(f"the gathering of {what}"):
            dist.all_gather(all_of_them, padded)
        parts = [part[:length].cpu() for part, length in zip(all_of_them, lengths, strict=True)]
        whole: Any = torch.cat(parts).movedim(0, axis).contiguous()
        joined: Array = whole.numpy() if isinstance(array, np.ndarray) else whole
        return joined

    def gather_facts(self, fact: T, what: str = "facts") -> list[T]:
        """Each rank's fact, which is small and can be pickled, by rank."""
        if self.size == 1:
            return [fact]
        import torch.distributed as dist

        facts: list[Any] = [None] * self.size
        with self._waiting(f"the gathering of {what}"):
            dist.all_gather_object(facts, fact)
        return facts

    def from_first(self, make: Callable[[], T], what: str = "facts") -> T:
        """What rank 0 makes, on all ranks, who wait for it for as long as ranks may take to start; what is raised there
        is raised on all."""
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
        """Raise ValueError, on all ranks, where a rank has another value than rank 0; the message names it."""
        values = self.gather_facts(value, what)
        for place, other in zip(self.places, values, strict=True):
            if other != values[0]:
                raise ValueError(f"{what} is {other} on {place}, and {values[0]} on {self.places[0]}: {fix}")

    def barrier(self, what: str = "a barrier", timeout: float | None = None) -> None:
        """Wait until all ranks have come, for so many seconds at most; the ranks' own timeout where it is None."""
        if self.size == 1:
            return
        import torch.distributed as dist

        with self._waiting(what):
            if self.backend == "gloo":
                dist.monitored_barrier(timeout=datetime.timedelta(seconds=timeout or self.timeout))
            else:
                dist.barrier()

    # --- what is said of a lost one

    def orphaned(self) -> bool:
        """Whether the process that started this one has ended: nobody would end this one then."""
        return os.getppid() != self._parent

    def _number(self) -> int:
        self._calls += 1
        return self._calls

    @contextmanager
    def _waiting(self, what: str, call: int | None = None) -> Iterator[None]:
        """Around a wait for other ranks: where it fails, say who is missing."""
        call = self._number() if call is None else call
        self._waits_for = what
        try:
            yield
        except RuntimeError as error:
            raise self._who_is_missing(what, call, error) from error
        self._waits_for = ""

    def _who_is_missing(self, what: str, call: int, error: RuntimeError) -> RankLostError:
        first = " ".join(str(error).split())
        try:
            if self._store.check(["verdict"]):  # another rank has called the roll before, and ends
                said, teller = json.loads(self._store.get("verdict"))
                return RankLostError(said, teller)
            answers = self._call_the_roll(call)
            failures = {place: self._failure(place) for place in self.places}
        except RuntimeError:
            return RankLostError(self._suspected(what, first), self.rank)
        failed = [f"{place} failed: {failure}" for place, failure in failures.items() if failure]
        lost = [str(place) for place in self.places if place.rank not in answers]
        late = [str(place) for place in self.places if not answers.get(place.rank, {}).get("waits_for")]
        if failed:
            said = "; ".join(failed)
        elif lost:
            state = "has ended or hangs" if len(lost) == 1 else "have ended or hang"
            said = f"lost: {', '.join(lost)} {state}, and {what} needs all ranks"
        elif late:
            said = f"late: {', '.join(late)} did not come to {what} within {self.timeout:g} s, and works on"
        else:
            said = f"{what} failed, though all ranks are there: {first}"
        teller = min(answers, default=self.rank)
        self._store.set("verdict", json.dumps([said, teller]))
        return RankLostError(said, teller)

    def _suspected(self, what: str, first: str) -> str:
        """What can be said where torchrun's store is gone, with the torchrun that kept it, and nobody can be asked."""
        others = [place for place in self.places if place.rank != self.rank]
        gone = [str(place) for place in others if place.host != self.place.host or not runs(place.pid)]
        if len(gone) == 1:
            return (
                f"lost: {gone[0]} has ended, and so has the torchrun that kept the ranks' store; {what} needs all ranks"
            )
        among = f"one of {', '.join(gone)}" if gone else "some rank"
        return f"lost: {among}, and so is the torchrun that kept the ranks' store, so nobody can be asked: {first}"

    def _failure(self, place: Place) -> str:
        key = f"failed/{place.rank}"
        return self._store.get(key).decode() if self._store.check([key]) else ""

    def _call_the_roll(self, call: int) -> dict[int, dict[str, Any]]:
        """The ranks that answer, and what each waits for."""
        for place in self.places:
            self._store.set(f"called/{place.rank}", str(call))
        answers: dict[int, dict[str, Any]] = {}
        limit = time.monotonic() + ROLL_CALL
        while len(answers) < self.size and time.monotonic() < limit:
            for place in self.places:
                key = f"answer/{place.rank}"
                if place.rank not in answers and self._store.check([key]):
                    answers[place.rank] = json.loads(self._store.get(key))
            time.sleep(0.05)
        return answers

    def _answer(self, store: Any) -> None:
        """A thread of each rank: it waits until the roll is called, and answers, whatever its rank is waiting for."""
        with contextlib.suppress(RuntimeError):  # the store is gone: nobody can ask any more
            store.wait([f"called/{self.rank}"], datetime.timedelta(days=365))
            if store.get(f"called/{self.rank}") != b"end":
                store.set(f"answer/{self.rank}", json.dumps({"waits_for": self._waits_for, "call": self._calls}))

    @contextmanager
    def _answering(self, connect: Callable[[], Any]) -> Iterator[None]:
        """While the ranks work, a thread that answers for this one, by a connection of its own."""
        thread = threading.Thread(target=self._answer, args=(connect(),), daemon=True, name="roll call")
        thread.start()
        try:
            yield
        except Exception as error:
            if not isinstance(error, RankLostError):
                with contextlib.suppress(RuntimeError):
                    self._store.set(f"failed/{self.rank}", f"{type(error).__name__}: {error}")
            raise  # the process is about to end, and may answer until then
        with contextlib.suppress(RuntimeError):
            self._store.set(f"called/{self.rank}", "end")
            thread.join(ROLL_CALL)


def _count(array: Any) -> int:
    return array.size if isinstance(array, np.ndarray) else array.numel()


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


# --- how they start


@contextmanager
def start(*, timeout: float = TIMEOUT, backend: str | None = None) -> Iterator[Ranks]:
    """The ranks that torchrun has started, joined; a job of one rank where torchrun has not started this process.

    timeout  seconds in which all ranks must come to a collective
    backend  of torch.distributed: "gloo", for CPUs, or "nccl", for GPUs; None is nccl where each rank has a GPU of its
             own, and gloo elsewhere. Arrays cross by way of the GPUs with nccl

    Within the block each rank has its share of the machine's processors, or LOOPNEST_NUM_THREADS where that is set.
    Raises UnavailableError, with the install command, where torch.distributed is missing, ValueError for a backend that
    cannot run here or an environment that torchrun did not make, and RankLostError where a rank does not start.

    >>> import numpy as np
    >>> from loopnest import parallel
    >>> x = np.arange(3.0)
    >>> if parallel.why_unavailable() is None:
    ...     with parallel.start() as ranks:  # torchrun --nproc-per-node 2 FILE starts two, and here it is one
    ...         ranks.sum(x)  # of all ranks' arrays, in place
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
        raise RuntimeError("torch.distributed has been started in this process before; start it once")
    rank, size, local_rank, local_size = _from_environment()
    backend = _backend(backend, local_rank, local_size)
    mine = Place(rank, socket.gethostname(), os.getpid())
    if size == 1:
        store, places = dist.HashStore(), [mine]
    else:
        store = _store(host=rank == 0)
        places = _arrive(store, mine, size)
    allowed = datetime.timedelta(seconds=timeout)
    theirs = dist.PrefixStore("torch", store)
    dist.init_process_group(backend, store=theirs, rank=rank, world_size=size, timeout=allowed)
    whole = size == 1  # a rank that fails among others leaves the group alone: to take it down could wait for lost ones
    try:
        with _share_of_processors(local_size) as threads:
            ranks = Ranks(rank, size, places, threads, backend, timeout, store)
            with ranks._answering(_store) if size > 1 else contextlib.nullcontext():
                yield ranks
                ranks.barrier("the end", ranks.patience)  # rank 0 may still be drawing or writing
        whole = True
    finally:
        if whole:
            dist.destroy_process_group()


def _from_environment() -> tuple[int, int, int, int]:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not given:
        return 0, 1, 0, 1
    if len(given) < len(names) or not all(value.isdecimal() for value in given.values()):
        told = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(
            f"the environment has {told}, expected numbers for all of {', '.join(names)}, as torchrun sets them: "
            f"torchrun --nproc-per-node 2 -m loopnest.parallel"
        )
    rank, size, local_rank, local_size = (int(given[name]) for name in names)
    return rank, size, local_rank, local_size


def _backend(asked: str | None, local_rank: int, local_size: int) -> str:
    import torch
    import torch.distributed as dist

    if asked not in (None, *BACKENDS):
        raise ValueError(f"backend is {asked!r}, expected gloo, for CPUs, or nccl, for GPUs")
    gpus = torch.cuda.device_count() if dist.is_nccl_available() else 0
    if asked is None:
        asked = "nccl" if gpus >= local_size else "gloo"
    if asked == "nccl":
        if not dist.is_nccl_available():
            raise ValueError("backend is nccl, which this build of torch has not; gloo runs on CPUs")
        if gpus < local_size:
            raise ValueError(
                f"backend is nccl, which needs a GPU for each rank, and {local_size} ranks have {gpus} here: "
                f"gloo runs on CPUs"
            )
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # a timeout is an exception, and not the process's end
        torch.cuda.set_device(local_rank)
    return asked


@contextmanager
def _share_of_processors(local_size: int) -> Iterator[int]:
    """Let this rank use its share of the machine; how many threads that is.

    torchrun sets OMP_NUM_THREADS=1 for several ranks; OpenMP's and BLAS libraries have read it, and are told anew.
    """
    import torch

    before, before_torch = num_threads(), torch.get_num_threads()
    asked = "LOOPNEST_NUM_THREADS" in os.environ
    threads = threads_wanted() if asked else max(1, processors() // local_size)
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl"):
            stack.enter_context(importlib.import_module("threadpoolctl").threadpool_limits(threads))
        for setter, was in ((set_num_threads, before), (torch.set_num_threads, before_torch)):
            setter(threads)
            stack.callback(setter, was)
        yield threads


def _store(host: bool = False) -> Any:
    """A connection to the store that torchrun keeps; where it keeps none, it is kept here where `host` is true."""
    import torch.distributed as dist

    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not address or not port.isdecimal():
        raise ValueError(
            f"the environment has MASTER_ADDR={address!r} and MASTER_PORT={port!r}, expected a machine's name and a "
            f"port, as torchrun sets them: torchrun --nproc-per-node 2 -m loopnest.parallel"
        )
    allowed = datetime.timedelta(seconds=START)
    store = dist.TCPStore(address, int(port), None, host and not kept, allowed, wait_for_workers=False)
    return dist.PrefixStore(f"loopnest/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _arrive(store: Any, mine: Place, size: int) -> list[Place]:
    """Say where this rank is, wait for all the others, and return where they are."""
    store.set(f"place/{mine.rank}", json.dumps([mine.host, mine.pid]))
    keys = [f"place/{rank}" for rank in range(size)]
    try:
        store.wait(keys, datetime.timedelta(seconds=START))
    except RuntimeError as error:
        absent = [str(rank) for rank in range(size) if not store.check([keys[rank]])]
        raise RankLostError(f"rank {', '.join(absent)} of {size} did not start within {START:g} s") from error
    return [Place(rank, *json.loads(store.get(key))) for rank, key in enumerate(keys)]
