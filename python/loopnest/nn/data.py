"""Examples to learn from: the digits, XOR and two spirals; and mini-batches."""

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from .initialise import random


@dataclass(frozen=True, eq=False)
class Data:
    """Examples to learn from, and held-out ones to measure the accuracy.

    x, labels          (n, features) float64 and (n,) int64, 0 <= label < classes
    x_test, test_labels  the held-out examples
    """

    name: str
    x: Array
    labels: Array
    x_test: Array
    test_labels: Array
    classes: int

    @property
    def features(self) -> int:
        return int(self.x.shape[1])

    def fingerprint(self) -> str:
        """A hash of all examples: a checkpoint resumes with the same ones only."""
        digest = hashlib.sha256()
        for array in (self.x, self.labels, self.x_test, self.test_labels):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def batches(n: int, size: int, seed: int, epoch: int) -> Iterator[Array]:
    """The indices of an epoch's mini-batches: every example once, in an order that depends on seed and epoch alone.

    The last batch is smaller if `size` does not divide n.

    >>> from loopnest import nn
    >>> [len(batch) for batch in nn.batches(10, 4, seed=0, epoch=0)]
    [4, 4, 2]
    """
    order = random(seed, 1, epoch).permutation(n)
    return (order[start : start + size] for start in range(0, n, size))


def why_no_digits() -> str | None:
    """Why the digits are missing, with the fix; None if they are here."""
    if importlib.util.find_spec("sklearn") is None:
        return "scikit-learn, which ships the digits, is not installed: pip install 'loopnest[train]'"
    return None


def digits() -> Data:
    """The 1,797 handwritten digits that scikit-learn ships: 8 x 8 pixels of 0 to 16, here -1 to 1.

    A tenth of each class is held out, the same for every seed, so that accuracies can be compared. Alpaydin and Kaynak,
    Optical Recognition of Handwritten Digits (UCI, 1998).

    Raises RuntimeError with the install command if scikit-learn is not installed.
    """
    missing = why_no_digits()
    if missing:
        raise RuntimeError(missing)
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    order = random(0, 2).permutation(len(loaded.target))
    x, labels = np.asarray(loaded.data, np.float64)[order] / 8 - 1, np.asarray(loaded.target, np.int64)[order]
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        examples = np.flatnonzero(labels == digit)
        held_out[examples[: round(len(examples) / 10)]] = True
    return Data("digits", x[~held_out], labels[~held_out], x[held_out], labels[held_out], 10)


def xor() -> Data:
    """The four corners of a square; opposite ones have the same label, so no line separates the labels.

    >>> from loopnest import nn
    >>> nn.xor().labels
    array([0, 1, 1, 0])
    """
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    labels = np.array([0, 1, 1, 0])
    return Data("xor", x, labels, x, labels, 2)


def spirals(count: int = 200, seed: int = 0, turns: float = 1.0, noise: float = 0.02) -> Data:
    """Two spirals, wound around each other: `count` points of each, and half as many held out.

    After Lang and Witbrock, Learning to Tell Two Spirals Apart (1988), with fewer turns.
    """
    rng = random(seed, 3)

    def points(each: int) -> tuple[Array, Array]:
        labels = np.repeat(np.arange(2), each)
        along = np.sqrt(rng.uniform(0.02, 1, 2 * each))
        angle = 2 * np.pi * turns * along + np.pi * labels
        x = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return x + noise * rng.standard_normal(x.shape), labels

    return Data("spirals", *points(count), *points(max(count // 2, 1)), classes=2)
