"""The training loop: mini-batches, losses, gradients, steps; what it tells; and going on where it was stopped.

All that is random depends on the seed and on the step's number alone, never on what was drawn before: so a training
that goes on from a checkpoint takes the same batches as one that was never stopped, and makes the same numbers of them.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from .._core import isa
from .._version import __version__
from ..arrays import Array
from ..backends.threads import num_threads
from . import checkpoint
from .checkpoint import CheckpointError
from .choose import Chosen, choose
from .data import Data, batches
from .initialise import INITIALISERS
from .network import ACTIVATIONS, LOSSES, Network, operations_of
from .optimize import LEARNING_RATES, OPTIMIZERS, Optimizer


@dataclass(frozen=True)
class Config:
    """What a training is asked for. With the same data it decides every number, up to the rounding of `impl`.

    impl        an id as `nn.choose` takes it: "cpp", "numpy.vectorized"; None is the fastest of each operation
    optimizer   sgd, momentum, rmsprop or adam, with learning rate lr, or its own where it is None
    batch       examples in a step; epochs passes over all examples
    hidden      units of the hidden layer
    seed        of the initial weights and of the batches' order
    dtype       float32 or float64
    loss        cross_entropy, or mse against 1 for the class and 0 for the others
    init        zeros, constant, xavier or he
    activation  gelu, relu, tanh, sigmoid or identity

    Raises ValueError, naming the argument, for what is none of these.
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
        choices = {
            "optimizer": OPTIMIZERS,
            "dtype": ("float32", "float64"),
            "loss": LOSSES,
            "init": tuple(INITIALISERS),
            "activation": ACTIVATIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        for name, least in (("batch", 1), ("epochs", 0), ("hidden", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}, expected an integer of {least} or more")

    @property
    def rate(self) -> float:
        """The learning rate that is used."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr


@dataclass(frozen=True)
class Epoch:
    """One pass over all examples.

    number    1 for the first
    loss      the mean of its steps' losses
    accuracy  on the held-out examples, after it
    seconds   of its steps, without the time that judging took
    """

    number: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """What a training told, from its first step on, also where it went on from a checkpoint.

    losses           each step's loss, on its own batch and before its step: the loss curve
    implementations  the id of each operation's implementation
    notes            what was not as asked for
    finished         False where it was stopped
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
        """The number of the first step whose loss was no finite number; None where all were."""
        return next((step for step, loss in enumerate(self.losses, 1) if not math.isfinite(loss)), None)

    def to_json(self) -> dict[str, Any]:
        """Losses that are no finite numbers, which JSON has not, are None."""
        told = dataclasses.asdict(self)
        told["losses"] = [loss if math.isfinite(loss) else None for loss in self.losses]
        for epoch in told["epochs"]:
            epoch["loss"] = epoch["loss"] if math.isfinite(epoch["loss"]) else None
        return {**told, "accuracy": self.accuracy if self.epochs else None, "seconds": self.seconds}


class Training:
    """A network, its optimizer, and how far they have come.

    >>> from loopnest import nn
    >>> training = nn.Training(nn.xor(), nn.Config(hidden=8, batch=4, epochs=40, lr=0.05))
    >>> training.run().accuracy
    1.0
    >>> training.step_number
    40
    """

    ranks = 1  # processes that train together: parallel/data_parallel.py

    def __init__(self, data: Data, config: Config | None = None) -> None:
        self.data = data
        self.config = config = config or Config()
        layerwise = self.ranks > 1
        names = (*operations_of(2, config.activation, config.loss, layerwise), config.optimizer)
        self.chosen: Chosen = choose(config.impl, names)
        self.network = Network(
            (data.features, config.hidden, data.classes),
            activation=config.activation,
            init=config.init,
            seed=config.seed,
            dtype=config.dtype,
            impl=self.chosen,
            loss=config.loss,
            layerwise=layerwise,
        )
        self.optimizer = Optimizer(config.optimizer, self.network.parameters, config.lr, impl=self.chosen)
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.notes = [*self.chosen.notes]
        self.clock: Callable[[], float] = time.perf_counter  # what steps are timed by
        self._seconds = 0.0  # of this epoch's steps, so far
        dtype = self.network.dtype
        self._x, self._x_test = data.x.astype(dtype), data.x_test.astype(dtype)
        labels = data.labels
        self._targets: Array = labels if config.loss == "cross_entropy" else np.eye(data.classes, dtype=dtype)[labels]

    @property
    def step_number(self) -> int:
        """How many steps have been taken."""
        return self.optimizer.steps

    @property
    def steps_an_epoch(self) -> int:
        return -(-len(self.data.labels) // self.config.batch)

    @property
    def seconds(self) -> float:
        """Of its steps."""
        return sum(epoch.seconds for epoch in self.epochs) + self._seconds

    def step(self, batch: Array) -> float:
        """One step with the examples of these indices; their loss before it."""
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
        """On the held-out examples."""
        return self.network.accuracy(self._x_test, self.data.test_labels)

    def run(
        self,
        on_step: Callable[[Training], None] = lambda training: None,
        stop: Callable[[], bool] = lambda: False,
        checkpoint: str | Path | None = None,
    ) -> Run:
        """Train to the config's last epoch, from wherever it is.

        on_step     is called after each step, an epoch's last one included, with this training
        stop        is asked after each step whether to end there
        checkpoint  a file that is written after each epoch and at the end, also of a training that was stopped
        """
        finished = True
        for epoch in range(len(self.epochs), self.config.epochs):
            done = self.step_number - epoch * self.steps_an_epoch  # by a training that was stopped in this epoch
            for number, batch in enumerate(batches(len(self.data.labels), self.config.batch, self.config.seed, epoch)):
                if number < done:
                    continue
                if stop():
                    finished = False
                    break
                self.step(batch)
                if number + 1 == self.steps_an_epoch:
                    self._end_epoch(epoch)
                on_step(self)
            if checkpoint is not None:
                self.save(checkpoint)
            if not finished:
                break
        return self.told(finished)

    def told(self, finished: bool = True) -> Run:
        """What it has told so far."""
        epochs, notes = tuple(self.epochs), tuple(self.notes)
        return Run(self.data.name, self.config, tuple(self.losses), epochs, self.chosen.ids, notes, finished)

    def _end_epoch(self, epoch: int) -> None:
        losses = self.losses[-self.steps_an_epoch :]
        self.epochs.append(Epoch(epoch + 1, float(np.mean(losses)), self.accuracy(), self._seconds))
        self._seconds = 0.0

    def save(self, path: str | Path) -> None:
        """Write a checkpoint: the whole of it or nothing, whenever the process ends (checkpoint.py)."""
        facts = {
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint()},
            "config": dataclasses.asdict(self.config),
            "epochs": [dataclasses.asdict(epoch) for epoch in self.epochs],
            "steps": self.optimizer.steps,
            "seconds": self._seconds,
            "rounding": self._rounding(),
        }
        arrays = {f"parameter.{name}": array for name, array in self.network.parameters.items()}
        for name, states in self.optimizer.state.items():
            arrays |= {f"state.{name}.{state}": array for state, array in states.items()}
        arrays["losses"] = np.array(self.losses, np.float64)
        checkpoint.save(Path(path), facts, arrays)

    @classmethod
    def resume(
        cls, path: str | Path, data: Data, *, epochs: int | None = None, impl: str | None = None, **how: Any
    ) -> Self:
        """The training of this checkpoint, to go on with by `run`.

        data    the same as before
        epochs  how many in all; as before where it is None
        impl    another one than before; a note then says that the curve goes on within rounding, not bit for bit
        how     what else the class takes beside data and config

        Raises CheckpointError for a file that cannot be gone on with.
        """
        path = Path(path)
        facts, arrays = cls._load(path, **how)
        try:
            config = Config(**facts["config"])
            was = facts["data"]
            if was != {"name": data.name, "fingerprint": data.fingerprint()}:
                raise CheckpointError(f"{path} is of a training with other data ({was['name']}), expected {data.name}")
            if epochs is not None:
                config = dataclasses.replace(config, epochs=epochs)
            if impl is not None:
                config = dataclasses.replace(config, impl=impl)
            training = cls(data, config, **how)
            training._restore(facts, arrays)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} lacks what a training needs: {error}") from None
        if config.epochs < len(training.epochs):
            raise CheckpointError(
                f"{path} has {len(training.epochs)} epochs behind it, and {config.epochs} were asked for; "
                f"expected as many or more"
            )
        training._tell_of_rounding(facts["rounding"])
        return training

    @classmethod
    def _load(cls, path: Path, **how: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        return checkpoint.load(path)

    def _restore(self, facts: dict[str, Any], arrays: dict[str, Array]) -> None:
        for name, parameter in self.network.parameters.items():
            _fill(parameter, arrays[f"parameter.{name}"], name)
            for state, array in self.optimizer.state[name].items():
                _fill(array, arrays[f"state.{name}.{state}"], f"{name}'s {state}")
        self.losses = arrays["losses"].tolist()
        self.epochs = [Epoch(**epoch) for epoch in facts["epochs"]]
        self.optimizer.steps = int(facts["steps"])
        self._seconds = float(facts["seconds"])
        if len(self.losses) != self.optimizer.steps:
            raise KeyError(f"{self.optimizer.steps} losses, it has {len(self.losses)}")

    def _rounding(self) -> dict[str, Any]:
        """On what the last bits of the numbers depend."""
        ids = self.chosen.ids
        common = {"loopnest": __version__, "isa": isa(), "threads": num_threads(), "ranks": self.ranks}
        return {**common, "implementations": ids}

    def _tell_of_rounding(self, was: dict[str, Any]) -> None:
        was, now = {"ranks": 1, **was}, self._rounding()
        theirs, ours = was.get("implementations", {}), now["implementations"]
        if now["ranks"] != was["ranks"]:  # one rank's backward pass is one operation, and several ranks' is composed
            ours = {operation: id for operation, id in ours.items() if operation in theirs}
        others = [operation for operation, id in ours.items() if theirs.get(operation) != id]
        changed = [name for name in now if (others if name == "implementations" else now[name] != was.get(name))]
        if changed:
            whats = []
            for name in changed:
                if name == "implementations":
                    whats.append(f"{others[0]} by {theirs.get(others[0])}, here {ours[others[0]]}")
                else:
                    whats.append(f"{name} {was.get(name)}, here {now[name]}")
            self.notes.append(
                f"the checkpoint was written with {'; '.join(whats)}: the curve goes on within rounding, not bit for "
                f"bit"
            )


def _fill(array: Array, kept: Array, what: str) -> None:
    if kept.shape != array.shape or kept.dtype != array.dtype:
        raise KeyError(f"{what} of {array.dtype} {array.shape}, it has {kept.dtype} {kept.shape}")
    array[...] = kept


def train(data: Data, config: Config | None = None, **how: Any) -> Run:
    """Train a network and return what that told: `Training(data, config).run(**how)`."""
    return Training(data, config).run(**how)
