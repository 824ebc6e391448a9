"""The optimizers' steps over all of a network's parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import Array
from .choose import Chosen, choose, one_of

STATES: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("velocity",),
    "rmsprop": ("square_average",),
    "adam": ("m", "v"),
}
"""By optimizer, the arrays that it keeps for each parameter."""

OPTIMIZERS = tuple(STATES)

LEARNING_RATES = {"sgd": 0.5, "momentum": 0.1, "rmsprop": 5e-3, "adam": 1e-2}
"""The default rates: each learns the digits in a few epochs."""


class Optimizer:
    """sgd, momentum, rmsprop or adam over a dictionary of parameters, which `step` updates in place.

    name        of the optimizer; the formulas are in `ln.sgd`, `ln.momentum`, `ln.rmsprop` and `ln.adam`
    parameters  arrays by name
    lr          the learning rate; None: the optimizer's default
    options     the operation's other options, such as beta1=0.8 or bias_correction=False
    state       by parameter, the arrays that the optimizer keeps: zeros before the first step
    steps       the number of steps so far

    >>> import numpy as np
    >>> from loopnest import nn
    >>> w = {"w": np.array([1.0, -2.0])}
    >>> descent = nn.Optimizer("sgd", w, lr=0.25)
    >>> for _ in range(3):
    ...     descent.step({"w": 2 * w["w"]})  # the gradient of w², whose minimum is at 0
    >>> w["w"]
    array([ 0.125, -0.25 ])
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Array],
        lr: float | None = None,
        *,
        impl: str | Chosen | None = None,
        **options: Any,
    ) -> None:
        one_of("optimizer", name, STATES)
        self.name = name
        self.lr = LEARNING_RATES[name] if lr is None else float(lr)
        if not (self.lr >= 0 and np.isfinite(self.lr)):
            raise ValueError(f"lr is {lr}, expected a learning rate of 0 or more")
        self.parameters = parameters
        self.options = options
        self.steps = 0
        self.state = {
            parameter: {state: np.zeros_like(array) for state in STATES[name]}
            for parameter, array in parameters.items()
        }
        self.chosen: Chosen = choose(impl, [name])

    def step(self, gradients: Mapping[str, Array]) -> None:
        """Move every parameter one step against its gradient."""
        self.steps += 1
        options: dict[str, Any] = {"lr": self.lr, **self.options}
        if self.name == "adam":
            options["step"] = self.steps
        for parameter, array in self.parameters.items():
            self.chosen[self.name](array, gradients[parameter], *self.state[parameter].values(), **options)
