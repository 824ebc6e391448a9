"""Data-parallel training: every rank has the whole network and a part of each batch.

The batch's loss is a mean over its N examples. Each rank weights the gradient of its n examples by n / N, and an
all-reduce sums them. Then all ranks take the same step, so their networks stay alike. All gradients travel in one
array, since each message has a fixed cost.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..nn import Config, Data, Optimizer, Run, Training, checkpoint
from ..nn.training import State
from .ranks import START, Ranks, split


class DataParallel(Training):
    """A training by several ranks, each with a part of every batch: the curve of one process, up to rounding.

    data, config  as for `nn.Training`, the same on all ranks; `config.batch` is the batch of all ranks together
    ranks         from `parallel.start`

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

    def __init__(self, data: Data, config: Config | None = None, *, ranks: Ranks) -> None:
        self.group = ranks
        self.ranks = ranks.size
        batch = (config or Config()).batch
        if batch < self.ranks:
            raise ValueError(
                f"batch is {batch} and there are {self.ranks} ranks, expected an example for each: take a batch of "
                f"{self.ranks} or more, or fewer ranks"
            )
        super().__init__(data, config)
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
        first = split(n, self.ranks)[self.group.rank]  # as large as in a step: torch.compile specialises on sizes
        if first.stop > first.start:
            gradients = self.network.gradients(self._x[first], self._targets[first])[1]
            copies = {name: array.copy() for name, array in self.network.parameters.items()}
            Optimizer(self.config.optimizer, copies, impl=self.chosen).step(gradients)

    def _gradients(self, batch: Array) -> tuple[float, dict[str, Array]]:
        if self.ranks == 1:
            return super()._gradients(batch)
        part = batch[split(len(batch), self.ranks)[self.group.rank]]
        parameters = self.network.parameters
        flat = np.zeros(sum(array.size for array in parameters.values()), self.network.dtype)
        loss = 0.0
        if len(part):  # the last batch may have no example for this rank
            loss, gradients = self.network.gradients(self._x[part], self._targets[part])
            np.concatenate([gradients[name].ravel() for name in parameters], out=flat)
            flat *= flat.dtype.type(len(part) / len(batch))
        facts = np.array([loss * len(part) / len(batch), self._wish() or self.group.orphaned()])
        self.group.sum(facts, "the loss")
        self.group.sum(flat, "the gradients")
        self._stopping = facts[1] > 0
        parts = np.split(flat, np.cumsum([array.size for array in parameters.values()])[:-1])
        summed = {name: part.reshape(parameters[name].shape) for name, part in zip(parameters, parts, strict=True)}
        return float(facts[0]), summed

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
