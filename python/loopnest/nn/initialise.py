"""The weights that a network begins with.

A layer of n inputs adds n products up: with weights of variance s², its outputs have n·s² times the inputs' variance,
and its gradients, on their way back, as many times as it has outputs. What keeps both near 1 through many layers is s
of about 1/√n; the initialisers differ in the factor. `loopnest experiment depth` shows what happens with others.

All of them draw float64 numbers, which are then rounded to the dtype: the same seed begins float32 and float64 networks
alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array

Initialiser = Callable[[int, int, np.random.Generator], Array]


def random(seed: int, *key: int) -> np.random.Generator:
    """A generator for one purpose: another key, another stream, whatever else has been drawn before."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def zeros(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """All weights 0: the hidden units are alike, and stay so (`loopnest experiment zero-init`)."""
    return np.zeros((inputs, outputs))


def constant(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """All weights 1/√inputs: alike as with zeros, but not without effect."""
    return np.full((inputs, outputs), 1 / math.sqrt(max(inputs, 1)))


def xavier(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """Uniform of variance 2 / (inputs + outputs): between what keeps the outputs' variance and what keeps the
    gradients'.

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks (2010), equation 16.

    >>> import numpy as np
    >>> w = xavier(300, 100, np.random.default_rng(0))
    >>> bool(abs(w.var() * 200 - 1) < 0.02)
    True
    """
    limit = math.sqrt(6 / max(inputs + outputs, 1))
    return rng.uniform(-limit, limit, (inputs, outputs))


def he(inputs: int, outputs: int, rng: np.random.Generator) -> Array:
    """Normal of variance 2 / inputs: relu and its kin let half of the variance pass, and the 2 makes up for it.

    He et al., Delving Deep into Rectifiers (2015), equation 10.
    """
    return rng.normal(0, math.sqrt(2 / max(inputs, 1)), (inputs, outputs))


INITIALISERS: dict[str, Initialiser] = {"zeros": zeros, "constant": constant, "xavier": xavier, "he": he}


def initialise(sizes: tuple[int, ...], init: str, seed: int, dtype: Any) -> dict[str, Array]:
    """The parameters of a network of these sizes, w1, b1, w2, b2 …: weights by the initialiser, biases 0."""
    if init not in INITIALISERS:
        raise ValueError(f"init is {init!r}, expected one of {', '.join(INITIALISERS)}")
    parameters: dict[str, Array] = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        parameters[f"w{layer}"] = INITIALISERS[init](inputs, outputs, random(seed, 0, layer)).astype(dtype)
        parameters[f"b{layer}"] = np.zeros(outputs, dtype)
    return parameters
