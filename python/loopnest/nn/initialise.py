"""The initial weights of a network.

A layer of n inputs and m outputs with weights of variance s² multiplies the variance of its inputs by n s², and the
variance of the gradients, on their way back, by m s². With s near 1/√n both stay near 1 through many layers; the
initialisers differ in the factor. `loopnest experiment depth` shows what other factors do.

All weights are drawn in float64 and then rounded to the dtype, so one seed begins float32 and float64 networks alike.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from .choose import one_of

Initialiser = Callable[[int, int, np.random.Generator], Array]


def random(seed: int, *key: int) -> np.random.Generator:
    """A generator for one purpose: each key has a stream of its own, independent of earlier draws."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def zeros(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """All weights 0: the hidden units are alike, and stay alike (`loopnest experiment zero-init`)."""
    return np.zeros((inputs, outputs))


def constant(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """All weights 1/√inputs: all units alike, as with zeros, but they learn."""
    return np.full((inputs, outputs), 1 / math.sqrt(max(inputs, 1)))


def xavier(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """Uniform of variance 2 / (inputs + outputs): a compromise that keeps the variance of outputs and of gradients.

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks (2010), equation 16.

    >>> import numpy as np
    >>> w = xavier(300, 100, np.random.default_rng(0))
    >>> bool(abs(w.var() * 200 - 1) < 0.02)
    True
    """
    limit = math.sqrt(6 / max(inputs + outputs, 1))
    return rng.uniform(-limit, limit, (inputs, outputs))


def he(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """Normal of variance 2 / inputs: relu lets half of the variance pass, and the 2 makes up for it.

    He et al., Delving Deep into Rectifiers (2015), equation 10.
    """
    return rng.normal(0, math.sqrt(2 / max(inputs, 1)), (inputs, outputs))


INITIALISERS: dict[str, Initialiser] = {"zeros": zeros, "constant": constant, "xavier": xavier, "he": he}


def initialise(sizes: tuple[int, ...], init: str, seed: int, dtype: Any) -> dict[str, Array]:
    """The parameters of a network of these sizes, w1, b1, w2, b2 …: weights by the initialiser, biases 0."""
    one_of("init", init, INITIALISERS)
    parameters: dict[str, Array] = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        parameters[f"w{layer}"] = INITIALISERS[init](inputs, outputs, random(seed, 0, layer)).astype(dtype)
        parameters[f"b{layer}"] = np.zeros(outputs, dtype)
    return parameters
