"""The training loop: mini-batches, losses, gradients, steps; its record; and resuming after a stop.

Random numbers depend on the seed and the step's number alone, never on earlier draws. So a resumed training takes the
same batches as one that was never stopped, and computes the same numbers.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np

from .._core import isa
from .._version import __version__
from ..arrays import FLOAT_NAMES, Array
from ..backends.threads import num_threads
from ..operation import UnknownImplementationError
from ..output.files import Amount
from . import checkpoint
from .checkpoint import CheckpointError
from .choose import Chosen, choose, one_of
from .data import Data, batches
from .initialise import INITIALISERS
from .network import ACTIVATIONS, LOSSES, Network, operations_of
from .optimize import LEARNING_RATES, OPTIMIZERS, Optimizer


@dataclass(frozen=True)
class Config:
    """The settings of a training. With the same data they decide every number, up to the rounding of `impl`.

    impl        an id as `nn.choose` takes it: "cpp", "numpy.vectorized"; None is the fastest of each operation
    optimizer   sgd, momentum, rmsprop or adam, with learning rate lr, or its own where it is None
    batch       examples in a step; epochs passes over all examples
    hidden      units of the hidden layer
    seed        of the initial weights and of the order of the batches
    dtype       float32 or float64
    loss        cross_entropy, or mse against 1 for the class and 0 for the others
    init        zeros, constant, xavier or he
    activation  gelu, relu, tanh, sigmoid or identity

    Raises ValueError, naming the argument, for other values.
    """

    impl: str | None = None
    optimizer: str = "adam"
    lr: float | None = None
    batch: int = 64
    epochs: int = 20
    hidden: int = 128
    seed: int = 0
    dtype: str = "float32"
    loss: str = "cross_entropy"
    init: str = "he"
    activation: str = "gelu"

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("dtype", self.dtype, FLOAT_NAMES)
        one_of("loss", self.loss, LOSSES)
        one_of("init", self.init, INITIALISERS)
        one_of("activation", self.activation, ACTIVATIONS)
        for name, least in (("batch", 1), ("epochs", 0), ("hidden", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}, expected an integer of {least} or more")
        if self.lr is not None and not 0 <= self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, expected a learning rate of 0 or more")

    @property
    def rate(self) -> float:
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr


@dataclass(frozen=True)
class Epoch:
    """One pass over all examples.

    number    1 for the first
    loss      the mean of its steps' losses
    accuracy  on the held-out examples, after it
    seconds   of its steps, without the time of computing the accuracy
    """

    number: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """The record of a training, from its first step, also if it resumed a checkpoint.

    losses           each step's loss, on its own batch and before its step: the loss curve
    implementations  the id of each operation's implementation
    notes            deviations from the request
    finished         False if it was stopped
    """

    data: str
    config: Config
    losses: tuple[float, ...]
    epochs: tuple[Epoch, ...]
    implementations: dict[str, str]
    notes: tuple[str, ...]
    finished: bool

    @property
    def steps(self) -> int:
        return len(self.losses)

    @property
    def accuracy(self) -> float:
        """On the held-out examples, after the last whole epoch; NaN before the first one."""
        return self.epochs[-1].accuracy if self.epochs else float("nan")

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def diverged(self) -> int | None:
        """The number of the first step whose loss is not finite; None if all are."""
        return next((step for step, loss in enumerate(self.losses, 1) if not math.isfinite(loss)), None)


@dataclass(frozen=True)
class State:
    """The facts of a checkpoint; the arrays are parameters, the optimizer's state, losses and epochs.

    data, fingerprint  the data's name, and what identifies the examples
    seconds            of the unfinished epoch's steps
    rounding           what the last bits of all numbers depend on
    """

    data: str
    fingerprint: str
    config: Config
    steps: Amount
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    rounding: dict[str, str | int]


class Training:
    """A network, its optimizer, and their progress.

    >>> from loopnest import nn
    >>> training = nn.Training(nn.xor(), nn.Config(hidden=8, batch=4, epochs=40, lr=0.05))
    >>> training.run().accuracy
    1.0
    >>> training.step_number
    40
    """

    ranks = 1
    """The number of processes that train together: parallel/data_parallel.py."""

    def __init__(self, data: Data, config: Config | None = None) -> None:
        self.data = data
        self.config = config = config or Config()
        names = (*operations_of(2, config.activation, config.loss), config.optimizer)
        self.chosen: Chosen = choose(config.impl, names)
        self.network = Network(
            (data.features, config.hidden, data.classes),
            activation=config.activation,
            init=config.init,
            seed=config.seed,
            dtype=config.dtype,
            impl=self.chosen,
            loss=config.loss,
        )
        self.optimizer = Optimizer(config.optimizer, self.network.parameters, config.lr, impl=self.chosen)
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.notes = [*self.chosen.notes]
        self.clock: Callable[[], float] = time.perf_counter  # times the steps
        self._seconds = 0.0  # of this epoch's steps
        self.steps_an_epoch = -(-len(data.labels) // config.batch)
        dtype = self.network.dtype
        self._x, self._x_test = data.x.astype(dtype), data.x_test.astype(dtype)
        labels = data.labels
        self._targets: Array = labels if config.loss == "cross_entropy" else np.eye(data.classes, dtype=dtype)[labels]

    @property
    def step_number(self) -> int:
        return self.optimizer.steps

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs) + self._seconds

    def step(self, batch: Array) -> float:
        """Take one step with the examples of these indices; return their loss before it."""
        start = self.clock()
        loss, gradients = self._gradients(batch)
        self.optimizer.step(gradients)
        self._seconds += self.clock() - start
        self.losses.append(loss)
        return loss

    def _gradients(self, batch: Array) -> tuple[float, dict[str, Array]]:
        """The loss of these examples, and its gradients."""
        return self.network.gradients(self._x[batch], self._targets[batch])

    def accuracy(self) -> float:
        return self.network.accuracy(self._x_test, self.data.test_labels)

    def run(
        self,
        on_step: Callable[[Training], None] = lambda training: None,
        stop: Callable[[], bool] = lambda: False,
        checkpoint: str | Path | None = None,
    ) -> Run:
        """Train to the config's last epoch, from the current step.

        on_step     is called after each step with this training
        stop        is called before each step; True ends the training there
        checkpoint  a file to write after each epoch and at the end, also if the training is stopped
        """
        finished = True
        for epoch in range(len(self.epochs), self.config.epochs):
            done = self.step_number - epoch * self.steps_an_epoch  # in an epoch that was stopped and resumed
            for number, batch in enumerate(batches(len(self.data.labels), self.config.batch, self.config.seed, epoch)):
                if number < done:
                    continue
                if stop():
                    finished = False
                    break
                self.step(batch)
                if number + 1 == self.steps_an_epoch:
                    loss = float(np.mean(self.losses[-self.steps_an_epoch :]))
                    self.epochs.append(Epoch(epoch + 1, loss, self.accuracy(), self._seconds))
                    self._seconds = 0.0
                on_step(self)
            if checkpoint is not None:
                self.save(checkpoint)
            if not finished:
                break
        epochs, notes = tuple(self.epochs), tuple(self.notes)
        return Run(self.data.name, self.config, tuple(self.losses), epochs, self.chosen.ids, notes, finished)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint, whole or not at all."""
        identity = self.data.name, self.data.fingerprint()
        state = State(*identity, self.config, self.optimizer.steps, self._seconds, self._rounding())
        arrays = self._arrays()
        arrays["losses"] = np.array(self.losses, np.float64)
        arrays["epochs"] = np.array([[e.loss, e.accuracy, e.seconds] for e in self.epochs], np.float64).reshape(-1, 3)
        checkpoint.save(Path(path), state, arrays)

    def _arrays(self) -> dict[str, Array]:
        """The arrays that a step updates."""
        arrays = {f"parameter.{name}": array for name, array in self.network.parameters.items()}
        for name, states in self.optimizer.state.items():
            arrays |= {f"state.{name}.{state}": array for state, array in states.items()}
        return arrays

    @classmethod
    def resume(
        cls, path: str | Path, data: Data, *, epochs: int | None = None, impl: str | None = None, **how: Any
    ) -> Self:
        """The training of a checkpoint, which `run` continues.

        data    the same as before
        epochs  the number of epochs in all; None: as before
        impl    another implementation than before; a note then says that the curve is the same within rounding only
        how     the class's other arguments

        Raises CheckpointError for a file that does not fit.
        """
        path = Path(path)
        state, arrays = cls._load(path, **how)
        if (state.data, state.fingerprint) != (data.name, data.fingerprint()):
            raise CheckpointError(f"{path} is of a training with other data ({state.data!r}), expected {data.name}")
        changes: dict[str, Any] = {"epochs": epochs, "impl": impl}
        changes = {name: value for name, value in changes.items() if value is not None}
        w1 = arrays.get("parameter.w1")
        if w1 is None or w1.shape != (data.features, state.config.hidden):  # before it is made, whatever its size
            raise CheckpointError(
                f"{path} lacks what a training needs: 'parameter.w1' of its {state.config.hidden} units"
            )
        try:
            training = cls(data, dataclasses.replace(state.config, **changes), **how)
        except UnknownImplementationError as error:
            if impl is not None:
                raise
            raise CheckpointError(f"{path} has an impl that does not exist: {error}") from None
        try:
            training._restore(state, arrays)
        except ValueError as error:
            raise CheckpointError(f"{path} lacks what a training needs: {error}") from None
        done, asked = len(training.epochs), training.config.epochs
        if asked < done:
            raise CheckpointError(f"{path} has {done} epochs behind it, and {asked} were asked for; expected {done} up")
        return training

    @classmethod
    def _load(cls, path: Path, **how: Any) -> tuple[State, dict[str, Array]]:
        return checkpoint.load(path, State)

    def _restore(self, state: State, arrays: dict[str, Array]) -> None:
        expected = {name: (array.shape, array.dtype) for name, array in self._arrays().items()}
        expected["losses"] = (state.steps,), np.dtype(np.float64)
        expected["epochs"] = (state.steps // self.steps_an_epoch, 3), np.dtype(np.float64)
        for name, (shape, dtype) in expected.items():
            array = arrays.get(name)
            if array is None or (array.shape, array.dtype) != (shape, dtype):
                found = f"{array.dtype} of shape {array.shape}" if array is not None else "missing"
                raise ValueError(f"{name!r} is {found}, expected {dtype} of shape {shape}")
        for name, array in self._arrays().items():
            array[...] = arrays[name]
        self.losses = arrays["losses"].tolist()
        self.epochs = [Epoch(number, *values) for number, values in enumerate(arrays["epochs"].tolist(), 1)]
        self.optimizer.steps = state.steps
        self._seconds = state.seconds
        differences = [
            f"{name} {state.rounding[name]}, here {value}"
            for name, value in self._rounding().items()
            if state.rounding.get(name, value) != value
        ]
        if differences:
            written = f"the checkpoint was written with {'; '.join(differences)}"
            self.notes.append(f"{written}: the curve goes on within rounding, not bit for bit")

    def _rounding(self) -> dict[str, str | int]:
        """What the last bits of all numbers depend on."""
        threads = num_threads()
        return {"loopnest": __version__, "isa": isa(), "threads": threads, "ranks": self.ranks, **self.chosen.ids}


def train(data: Data, config: Config | None = None, **how: Any) -> Run:
    """Train a network: `Training(data, config).run(**how)`."""
    return Training(data, config).run(**how)
