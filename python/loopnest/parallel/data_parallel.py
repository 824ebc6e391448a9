"""Data-parallel training: every rank has the whole network and a part of each batch.

The batch's loss is a mean over its N examples. Each rank weights the gradient of its n examples by n / N, and an
all-reduce sums them. Then all ranks take the same step, so their networks stay alike.

The sums are of a few large arrays, buckets, since each message has a fixed cost. They overlap with the backward pass,
which goes from the last layer to the first: the last layer's bucket is summed while the other layers' gradients are
computed. Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training (VLDB 2020), §3.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..nn import Config, Data, Optimizer, Run, Training, checkpoint
from ..nn.training import State
from .ranks import START, Ranks, split

FIRST_BYTES = 4096
"""The size that closes the first bucket: small, so that the first sum begins early."""

BUCKET_BYTES = 25 << 20
"""The size that closes the other buckets: large against a message's fixed cost on any network (torch's value)."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """The gradients of some parameters, in one array.

    names  of the parameters, in the order in which their gradients are computed
    array  (n,) their gradients, one after another
    """

    names: tuple[str, ...]
    array: Array

    def __str__(self) -> str:
        return f"the gradients of {', '.join(self.names)}" if len(self.names) > 1 else f"{self.names[0]}'s gradient"


class Buckets:
    """Memory for the gradients, in the order in which a backward pass computes them: the last layer's first.

    parameters   arrays of one dtype by name, the first layer's first
    ranks        that sum the buckets; None: no sums
    first_bytes, bucket_bytes  the sizes that close the first bucket and the others
    gradients    by name, the array for a parameter's gradient: a part of its bucket

    >>> import numpy as np
    >>> from loopnest.parallel import Buckets
    >>> layers = {"w1": np.ones((4, 3)), "b1": np.ones(3), "w2": np.ones((3, 2)), "b2": np.ones(2)}
    >>> [bucket.names for bucket in Buckets(layers, first_bytes=64)]
    [('b2', 'w2'), ('b1', 'w1')]
    """

    def __init__(
        self,
        parameters: Mapping[str, Array],
        ranks: Ranks | None = None,
        first_bytes: int = FIRST_BYTES,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        for name, value in (("first_bytes", first_bytes), ("bucket_bytes", bucket_bytes)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected a number of bytes of 1 or more")
        self._ranks = ranks
        self.gradients: dict[str, Array] = {}
        self._buckets: list[Bucket] = []
        names: list[str] = []
        order = list(reversed(list(parameters)))
        for name in order:
            names.append(name)
            size = sum(parameters[n].nbytes for n in names)
            if name == order[-1] or size >= (bucket_bytes if self._buckets else first_bytes):
                self._close(names, parameters)
                names = []
        self._bucket_of = {name: i for i, bucket in enumerate(self._buckets) for name in bucket.names}
        self._begin()

    def _close(self, names: list[str], parameters: Mapping[str, Array]) -> None:
        sizes = [parameters[name].size for name in names]
        array = np.zeros(sum(sizes), parameters[names[0]].dtype)
        self._buckets.append(Bucket(tuple(names), array))
        for name, part in zip(names, np.split(array, np.cumsum(sizes[:-1])), strict=True):
            self.gradients[name] = part.reshape(parameters[name].shape)

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._buckets)

    def __len__(self) -> int:
        return len(self._buckets)

    def _begin(self) -> None:
        self._missing = [len(bucket.names) for bucket in self._buckets]
        self._waits: list[Callable[[], None]] = []

    def ready(self, name: str) -> None:
        """Report that this parameter's gradient is computed; the last one of a bucket starts the bucket's sum."""
        i = self._bucket_of[name]
        self._missing[i] -= 1
        if self._missing[i] == 0 and self._ranks is not None:
            self._waits.append(self._ranks.sum_later(self._buckets[i].array, str(self._buckets[i])))

    def wait(self) -> None:
        """Wait for all sums; `gradients` are then summed over the ranks."""
        if any(self._missing):
            raise RuntimeError(f"the gradients of {sum(self._missing)} parameters are missing: call ready for each")
        for wait in self._waits:
            wait()
        self._begin()


class DataParallel(Training):
    """A training by several ranks, each with a part of every batch: the curve of one process, up to rounding.

    data, config  as for `nn.Training`, the same on all ranks; `config.batch` is the batch of all ranks together
    ranks         from `parallel.start`
    first_bytes, bucket_bytes  of the buckets

    Its methods are collectives: all ranks call them in the same order. `run`'s stop works one step later than in one
    process, since the wish travels with the next step's loss; all ranks then stop after the same step. Rank 0 writes
    the checkpoints, reads them and sends them to the others. With the same number of ranks a resumed training is the
    same bit for bit; with another number it is the same within rounding, and a note says so.

    Raises ValueError on all ranks if there are more ranks than examples in a batch, or if the ranks' data, config or
    implementations differ.

    >>> from loopnest import nn, parallel
    >>> if parallel.why_unavailable() is None:
    ...     with parallel.start() as ranks:  # one rank, where torchrun has not started this process
    ...         training = parallel.DataParallel(nn.xor(), nn.Config(batch=4, epochs=40, lr=0.05), ranks=ranks)
    ...         run = training.run()
    ...     assert run.accuracy == 1
    """

    def __init__(
        self,
        data: Data,
        config: Config | None = None,
        *,
        ranks: Ranks,
        first_bytes: int = FIRST_BYTES,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        self.group = ranks
        self.ranks = ranks.size
        batch = (config or Config()).batch
        if batch < self.ranks:
            raise ValueError(
                f"batch is {batch} and there are {self.ranks} ranks, expected an example for each: take a batch of "
                f"{self.ranks} or more, or fewer ranks"
            )
        super().__init__(data, config)
        self.buckets = Buckets(self.network.parameters, ranks, first_bytes, bucket_bytes)
        self._loss = np.zeros(2)  # the loss, and the number of ranks that wish to stop
        self._wish: Callable[[], bool] = lambda: False
        self._stopping = False
        if self.ranks > 1:
            ranks.agree("the data", f"{data.name} {data.fingerprint()}")
            ranks.agree("the config", dataclasses.asdict(self.config))
            ranks.agree("the implementation of each operation", self.chosen.ids, "choose one that all have with impl")
            self._compile()
            ranks.barrier("the start of the training", START)

    def _compile(self) -> None:
        """Make the calls that may compile, before the timeout of collectives counts."""
        n = min(self.config.batch, len(self._x))
        first = np.arange(n)[split(n, self.ranks)[self.group.rank]]  # as in a step: torch.compile specialises on sizes
        if len(first) == 0:
            return
        self.network.gradients(self._x[first], self._targets[first], out=self.buckets.gradients)
        tiny = {"w": np.zeros((1, 1), self.network.dtype), "b": np.zeros(1, self.network.dtype)}
        Optimizer(self.config.optimizer, tiny, impl=self.chosen).step(
            {name: array.copy() for name, array in tiny.items()}
        )

    def _gradients(self, batch: Array) -> tuple[float, dict[str, Array]]:
        if self.ranks == 1:
            return super()._gradients(batch)
        part = batch[split(len(batch), self.ranks)[self.group.rank]]
        loss_summed: list[Callable[[], None]] = []

        def on_loss(value: float) -> None:
            self._loss[:] = value, self._wish() or self.group.orphaned()
            loss_summed.append(self.group.sum_later(self._loss, "the loss"))

        if len(part):
            share, out = len(part) / len(batch), self.buckets.gradients
            x, targets = self._x[part], self._targets[part]
            self.network.gradients(x, targets, share=share, on_loss=on_loss, ready=self.buckets.ready, out=out)
        else:  # the last batch has no example for this rank
            on_loss(0.0)
            for bucket in self.buckets:
                bucket.array[:] = 0
                for name in bucket.names:
                    self.buckets.ready(name)
        loss_summed[0]()
        self.buckets.wait()
        self._stopping = self._loss[1] > 0
        return float(self._loss[0]), self.buckets.gradients

    def accuracy(self) -> float:
        """On the held-out examples, a part by each rank."""
        n = len(self.data.test_labels)
        part = split(n, self.ranks)[self.group.rank]
        right = np.zeros(1)
        if part.stop > part.start:
            right[0] = np.sum(np.argmax(self.network(self._x_test[part]), axis=1) == self.data.test_labels[part])
        self.group.sum(right, "the right answers")
        return float(right[0] / n) if n else 0.0

    def run(
        self,
        on_step: Callable[[Training], None] = lambda training: None,
        stop: Callable[[], bool] = lambda: False,
        checkpoint: str | Path | None = None,
    ) -> Run:
        if self.ranks == 1:
            return super().run(on_step, stop, checkpoint)
        self._wish, self._stopping = stop, False
        return super().run(on_step, lambda: self._stopping, checkpoint)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint by rank 0, whole or not at all. The others wait; an error is raised on all ranks."""
        write = super().save
        self.group.from_first(lambda: write(path), "the checkpoint")

    @classmethod
    def _load(cls, path: Path, **how: Any) -> tuple[State, dict[str, Array]]:
        ranks: Ranks = how["ranks"]
        return ranks.from_first(lambda: checkpoint.load(path, State), "the checkpoint")
