"""The rivals of exercises that are no kernels: what a learner's functions are timed against, in one process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.user_file import Built
from ..operations.activations import softmax, tanh, tanh_backward
from ..operations.linalg import linear
from ..operations.losses import mse_backward
from ..operations.matmul import matmul
from ..operations.optimizers import adam
from ..timing.turns import Turn, calibrate, run_rounds
from .cases import ORDERS
from .in_child import function_of

BACKENDS = ("python", "numpy", "numba", "cpp")

Named = Callable[[str], Callable[..., Any]]
"""Gives the learner's function of a name."""

Rivals = Callable[[Named], dict[str, Callable[[], object]]]
"""Calls without arguments, by the name that the table shows."""


def time_rivals(rivals: Rivals, path: Path, built: Built, seconds: float) -> list[tuple[str, float]]:
    """The best time of a call of each rival, in seconds, all timed in turn."""
    turns = [Turn(name, call) for name, call in rivals(lambda name: function_of(path, built, name)).items()]
    for turn in turns:
        turn.read()  # compiles and loads
        calibrate([turn], min(0.01, seconds / 50))  # alone: samples as long as the slowest one's would take too long
    run_rounds(turns, seconds=seconds, least=2)
    return [(turn.name, turn.best) for turn in turns]


def loop_orders(named: Named) -> dict[str, Callable[[], object]]:
    n = 64
    a, b = (np.random.default_rng(seed).standard_normal((n, n)) for seed in (0, 1))
    rows_a, rows_b = a.tolist(), b.tolist()
    rungs = ("python.naive", "python.reordered", "numpy.naive", "cpp.naive", "cpp.reordered", "numpy.matmul")

    def own(function: Callable[..., Any]) -> None:
        function(rows_a, rows_b, [[0.0] * n for _ in range(n)])

    return {
        **{f"your {order}": partial(own, named(order)) for order in ORDERS},
        **{id: partial(matmul[id], a, b) for id in rungs},
    }


def gradients(named: Named) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    shapes = ((64, 64), (64, 10), (64, 128), (128,), (128, 10), (10,))
    x, t, w1, b1, w2, b2 = (rng.standard_normal(shape) for shape in shapes)

    def composed(impl: str) -> None:
        z = linear(x, w1, b1, impl=impl)
        h = tanh(z, impl=impl)
        dy = mse_backward(linear(h, w2, b2, impl=impl), t, impl=impl)
        dz = tanh_backward(z, matmul(dy, w2.T, impl=impl), impl=impl)
        matmul(h.T, dy, impl=impl), dy.sum(axis=0), matmul(x.T, dz, impl=impl), dz.sum(axis=0)

    yours = named("gradients")
    return {"yours": lambda: yours(x, t, w1, b1, w2, b2), **_in_each_backend(composed)}


def adam_steps(named: Named) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    n, yours = 100_000, named("adam")

    def arrays() -> tuple[Any, ...]:
        return rng.standard_normal(n), rng.standard_normal(n), np.zeros(n), np.zeros(n)

    own = arrays()
    calls: dict[str, Callable[[], object]] = {"yours": lambda: yours(*own, 3, 0.001, 0.9, 0.999, 1e-8)}
    for rung in map(adam.__getitem__, BACKENDS):
        calls[rung.id] = partial(rung, *arrays(), step=3)
    return calls


def attention(named: Named) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((128, 64)).astype(np.float32) for _ in range(3))
    yours = named("attention")

    def composed(impl: str) -> None:
        scores = matmul(q * np.float32(1 / 8), k.T, impl=impl)
        matmul(softmax(scores, impl=impl), v, impl=impl)

    return {"yours": lambda: yours(q, k, v), **_in_each_backend(composed)}


def _in_each_backend(composed: Callable[[str], None]) -> dict[str, Callable[[], object]]:
    return {f"the operations, in {backend}": partial(composed, backend) for backend in BACKENDS}
