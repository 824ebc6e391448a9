"""The exercises' small cases: calls whose results are known, the simplest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..output.text import counted
from .in_child import TOUCHED, Watched

ORDERS = ("ijk", "ikj", "jik", "jki", "kij", "kji")


@dataclass(frozen=True)
class Case:
    """One call, and its results.

    arguments  by name, in the function's order; arrays full of NaN are memory for results
    expected   by name: an argument that the function writes to, or a value that it returns
    tolerance  the largest error of an element, relative to the larger of its magnitude and 1
    by_element whether arrays are to be read element by element, and not by NumPy's operations on whole arrays
    """

    about: str
    function: str
    arguments: Mapping[str, Any]
    expected: Mapping[str, Any]
    tolerance: float = 1e-9
    by_element: bool = False

    @property
    def shown(self) -> dict[str, Any]:
        """The arguments to be drawn: all but memory for results."""
        arrays = {name: x for name, x in self.arguments.items() if isinstance(x, np.ndarray) and x.size}
        return {name: x for name, x in self.arguments.items() if name not in arrays or not np.isnan(x).all()}


def _rng() -> np.random.Generator:
    return np.random.default_rng(20)


def _small(*shape: int) -> Array:
    """Small whole numbers, which are easy to check by hand; their sums are exact in any order."""
    return _rng().integers(-3, 4, shape).astype(float)


def vectors() -> Iterator[Case]:
    calls: tuple[tuple[str, list[int], list[int], float, str], ...] = (
        ("dot", [1, 2, 3], [4, 5, 6], 32.0, "three elements"),
        ("dot", [2], [-3], -6.0, "one element"),
        ("dot", [1, 0, 2, 0, 3], [0, 5, 1, 5, -1], -1.0, "five elements, with zeros"),
        ("dot", [], [], 0.0, "no element: an empty sum is 0"),
        ("cosine", [1, 0], [0, 1], 0.0, "a right angle"),
        ("cosine", [1, 2], [2, 4], 1.0, "one direction, two lengths"),
        ("cosine", [1, 2], [-1, -2], -1.0, "opposite directions"),
        ("cosine", [3, 4], [4, 3], 24 / 25, "two vectors of length 5"),
    )
    for function, x, y, expected, about in calls:
        arrays = {"x": np.array(x, float), "y": np.array(y, float)}
        yield Case(about, function, arrays, {f"{function}(x, y)": expected}, by_element=True)


def loop_orders() -> Iterator[Case]:
    a, b = np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([[1.0, 0, 2, -1], [0, 1, -1, 2], [1, 1, 0, 0]])
    sizes = {"i": 2, "k": 3, "j": 4}
    for order in ORDERS:
        arguments = {"a": a.tolist(), "b": b.tolist(), "c": [[0.0] * 4] * 2}
        right = {name: Watched(x) for name, x in arguments.items()}
        for at in np.ndindex(*(sizes[letter] for letter in order)):
            i, j, p = (at[order.index(letter)] for letter in "ijk")
            right["c"][i][j] += right["a"][i][p] * right["b"][p][j]
        orders = {TOUCHED.format(name): x.order() for name, x in right.items()}
        about = f"2 x 3 by 3 x 4, loops in the order {', '.join(order)}"
        yield Case(about, order, arguments, {"c": a @ b, **orders})


def strides() -> Iterator[Case]:
    rows, broadcast = {"strides": (4, 1)}, "broadcast_strides"
    calls: tuple[tuple[str, dict[str, Any], Any, str], ...] = (
        ("strides_of", {"shape": (3, 4), "order": "C"}, (4, 1), "rows one after another"),
        ("strides_of", {"shape": (3, 4), "order": "F"}, (1, 3), "columns one after another"),
        ("strides_of", {"shape": (2, 3, 4), "order": "C"}, (12, 4, 1), "three axes"),
        ("strides_of", {"shape": (5,), "order": "F"}, (1,), "one axis"),
        ("offset", {"index": (2, 1), **rows}, 9, "row 2, column 1 of a 3 x 4 matrix"),
        ("offset", {"index": (2, 1), "strides": (1, 3)}, 5, "the same in the other order"),
        ("offset", {"index": (1, 2, 3), "strides": (12, 4, 1)}, 23, "the last element of three axes"),
        (broadcast, {"shape": (1, 4), **rows, "to": (3, 4)}, (0, 1), "one row, read for every row"),
        (broadcast, {"shape": (3, 1), "strides": (1, 1), "to": (3, 4)}, (1, 0), "one column, read for every column"),
        (broadcast, {"shape": (4,), "strides": (1,), "to": (3, 4)}, (0, 1), "a missing axis is put in front"),
        (broadcast, {"shape": (3, 4), **rows, "to": (3, 4)}, (4, 1), "nothing to broadcast"),
    )
    for function, arguments, expected, about in calls:
        yield Case(about, function, arguments, {f"{function}(…)": np.array(expected)})
    for shape in ((2, 3), (1, 4), (5, 2)):
        a = np.arange(float(np.prod(shape))).reshape(shape)
        arguments = {"a": a, "b": np.full(shape[::-1], np.nan)}
        yield Case(f"{shape[0]} x {shape[1]}", "transpose", arguments, {"b": a.T.copy()})


def products(*sizes: tuple[int, int, int], c: bool = False) -> Callable[[], Iterator[Case]]:
    """Products m x k by k x n, written to a third argument. c: in C++ and CUDA C++, in float32 with the sizes."""

    def made() -> Iterator[Case]:
        dtype = np.float32 if c else np.float64
        for m, k, n in sizes:
            x: Array = _small(m, k).astype(dtype)
            y: Array = _small(k, n).astype(dtype)
            arguments = {"a": x, "b": y, "c": np.full((m, n), np.nan, dtype)} | ({"m": m, "n": n, "k": k} if c else {})
            yield Case(f"{m} x {k} by {k} x {n}", "matmul", arguments, {"c": x @ y})

    return made


def many_sums() -> Iterator[Case]:
    for n in (3, 64, 1, 0, 100, 1000):
        x, y = _small(n).astype(np.float32), _small(n)[::-1].astype(np.float32)
        arguments = {"x": x, "y": y, "result": np.full(1, np.nan, np.float32), "n": n}
        yield Case(counted(n, "element"), "dot", arguments, {"result": np.array([x @ y])})


def neurons() -> Iterator[Case]:
    z = np.array([-2.0, -1, 0, 1, 2])
    yield Case("from −2 to 2", "sigmoid", {"z": z}, {"sigmoid(z)": 1 / (1 + np.exp(-z))})
    x, w, b = np.array([[1.0, 2], [0, -1], [3, 1]]), np.array([[1.0, -1], [0, 2]]), np.array([0.5, -1])
    layer = 1 / (1 + np.exp(-(x @ w + b)))
    yield Case("3 examples, 2 neurons", "layer", {"x": x, "w": w, "b": b}, {"layer(x, w, b)": layer})
    z = np.array([[2.0, 1, 0], [0, 1, 3]])
    two = float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[[0, 1], [0, 1]]))
    for logits, labels, loss, about in (
        ([[0.0, 0.0]], [0], np.log(2), "two equal logits: log 2"),
        (z, [0, 1], two, "two examples, three classes"),
        ([[1000.0, 0.0]], [0], 0.0, "large logits"),
        ([[-1000.0, -1001.0]], [1], np.log(1 + np.e), "logits far below 0"),
    ):
        arguments = {"logits": np.array(logits), "labels": np.array(labels)}
        yield Case(about, "cross_entropy", arguments, {"cross_entropy": loss})


def gradients() -> Iterator[Case]:
    names = ("x", "t", "w1", "b1", "w2", "b2")
    for examples, inputs, hidden, outputs in ((1, 1, 1, 1), (3, 2, 4, 2), (5, 4, 3, 1)):
        shapes = (examples, inputs), (examples, outputs), (inputs, hidden), (hidden,), (hidden, outputs), (outputs,)
        rng = _rng()
        arguments = {name: rng.integers(-9, 10, shape) / 10 for name, shape in zip(names, shapes, strict=True)}
        about = f"{examples} examples, {inputs} inputs, {hidden} hidden, {outputs} outputs"
        expected = {f"d{name}": _slopes(name, arguments) for name in names[2:]}
        yield Case("one of everything" if examples == 1 else about, "gradients", arguments, expected, tolerance=1e-7)


def _slopes(name: str, of: Mapping[str, Array]) -> Array:
    """The gradient of the mean square error for one parameter by central differences, without the chain rule."""

    def loss(x: Array) -> float:
        p = {**of, name: x}
        return float(np.mean((np.tanh(p["x"] @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"] - p["t"]) ** 2))

    x, h = of[name], 1e-5
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([(loss(x + step) - loss(x - step)) / (2 * h) for step in steps]).reshape(x.shape)


def adam_steps() -> Iterator[Case]:
    lr, beta1, beta2, eps = options = 0.1, 0.9, 0.999, 1e-8
    param, m, v = np.array([1.0, -2, 3]), np.zeros(3), np.zeros(3)
    grad = np.array([0.5, -4, 0.001])
    names = ("param", "grad", "m", "v", "step", "lr", "beta1", "beta2", "eps")
    for step, about in ((1, "first step: each parameter moves by lr"), (2, "second step"), (10, "tenth step")):
        arguments = dict(zip(names, (param, grad, m, v, step, *options), strict=True))
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        param = param - lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
        yield Case(f"the {about}", "adam", arguments, {"param": param, "m": m, "v": v})


def attention() -> Iterator[Case]:
    for tokens, d in ((2, 2), (3, 4), (7, 5)):
        rng = _rng()
        q, k, v = (rng.integers(-2, 3, (tokens, d)).astype(float) for _ in range(3))
        scores = np.exp(q @ k.T / np.sqrt(d))
        p = scores / scores.sum(axis=1, keepdims=True)
        yield Case(f"{tokens} tokens of {d} numbers", "attention", {"q": q, "k": k, "v": v}, {"attention": p @ v})


def bytes_and_scales() -> Iterator[Case]:
    def quantized(x: Array) -> tuple[Array, Array]:
        largest = np.abs(x).max(axis=1)
        scales = np.where(largest > 0, largest, 127) / 127
        return np.rint(x / scales[:, None]).astype(np.int8), scales

    for about, x in (
        ("a row", np.array([[0.31, -1.27, 0.64]])),
        ("rows of different sizes", np.array([[0.0127, 0.005], [-254.0, 100.0]])),
        ("a row of zeros", np.array([[0.0, 0.0], [1.0, -0.3]])),
    ):
        q, scales = quantized(x)
        yield Case(about, "quantize_rows", {"x": x}, {"q": q, "scales": scales})
    for m, k, n in ((1, 2, 1), (2, 3, 4), (3, 300, 2)):
        rng = _rng()
        x, w = rng.uniform(-1, 1, (m, k)), rng.uniform(-1, 1, (k, n)) * 10.0 ** np.arange(n)
        (q, of_rows), (v, of_columns) = quantized(x), quantized(w.T)
        expected = (q.astype(int) @ v.T.astype(int)) * of_rows[:, None] * of_columns
        yield Case(f"{m} x {k} by {k} x {n}", "product", {"x": x, "w": w}, {"product": expected})
