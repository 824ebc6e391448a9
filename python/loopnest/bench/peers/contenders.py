"""loopnest, NumPy, torch and JAX, asked for the same work in the fastest public way that each has.

Where a library has several ways (with `out` or without, a product or a layer, one layout of weights or another), all
are given, and the one that takes it the least time on the work at hand is what it is compared by. Inputs are the
libraries' own arrays, made beforehand. For matmul all get the same numbers in the same order in memory; JAX's arrays
are always in row-major order, so a transposed operand is one that its compiled function transposes. For the MLP, whose
weights a library may keep as it likes, torch gets both (in, out) and its own (out, in).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ...arrays import Array
from ...backends.threads import num_threads
from .records import OURS
from .rounds import Statement

Layers = tuple[Array, Array, Array, Array, Array]
"""x (t, d), w1 (d, h), b1 (h,), w2 (h, e), b2 (e,)."""


class Contender(Protocol):
    """What is asked of each; each answer is a list of statements that do the same, empty where it has none.

    matmul           a @ b into memory that is there, where the library can
    new_matmul       a @ b into a new array, as one writes it
    gelu             of x, the form as in gelu's `approximate`
    mlp_forward      y
    mlp_both         y, and the gradients for dy: dx, dw1, db1, dw2, db2
    mlp_module       the same of a torch.nn.Module, with the erf form of GELU; y alone where dy is None
    """

    name: str

    def matmul(self, a: Array, b: Array) -> list[Statement]: ...
    def new_matmul(self, a: Array, b: Array) -> list[Statement]: ...
    def gelu(self, x: Array, approximate: str) -> list[Statement]: ...
    def mlp_forward(self, layers: Layers) -> list[Statement]: ...
    def mlp_both(self, layers: Layers, dy: Array) -> list[Statement]: ...
    def mlp_module(self, layers: Layers, dy: Array | None) -> list[Statement]: ...


def _arrays(results: Any) -> list[Any]:
    """NumPy's views of an array or of several, of whichever library."""
    several = results if isinstance(results, list | tuple) else (results,)
    return [np.asarray(x.detach() if hasattr(x, "detach") else x) for x in several]


class Loopnest:
    """The public calls, with the implementations that they choose by themselves."""

    name = OURS

    def __init__(self) -> None:
        import loopnest

        self._names = {"ln": loopnest}

    def _call(self, code: str, **names: Any) -> list[Statement]:
        return [Statement(code, {**self._names, **names}, _arrays)]

    def matmul(self, a: Array, b: Array) -> list[Statement]:
        return self._call("ln.matmul(a, b, out=c)", a=a, b=b, c=_product(a, b))

    def new_matmul(self, a: Array, b: Array) -> list[Statement]:
        return self._call("ln.matmul(a, b)", a=a, b=b)

    def gelu(self, x: Array, approximate: str) -> list[Statement]:
        return self._call(f"ln.gelu(x, approximate={approximate!r}, out=y)", x=x, y=np.empty_like(x))

    def mlp_forward(self, layers: Layers) -> list[Statement]:
        y = np.empty((len(layers[0]), len(layers[-1])), layers[0].dtype)
        forward = "ln.mlp_forward(x, w1, b1, w2, b2, out=y)"
        return [Statement(forward, {**self._names, **_named(layers), "y": y}, lambda r: _arrays(r[0]))]

    def mlp_both(self, layers: Layers, dy: Array) -> list[Statement]:
        y, gradients = np.empty_like(dy), tuple(map(np.empty_like, layers))
        code = "ln.mlp_backward(dy, ln.mlp_forward(x, w1, b1, w2, b2, out=y)[1], out=gradients)"
        names = {**self._names, **_named(layers), "dy": dy, "y": y, "gradients": gradients}
        return [Statement(code, names, lambda gradients: _arrays((y, *gradients)))]

    def mlp_module(self, layers: Layers, dy: Array | None) -> list[Statement]:
        import loopnest.torch

        (d, h), e = layers[1].shape, layers[3].shape[1]
        return _of_module("mlp", loopnest.torch.MLP(d, h, e), layers, dy)


class NumPy:
    """`np.matmul`; GELU and the MLP have no function of their own in it."""

    name = "NumPy"

    def matmul(self, a: Array, b: Array) -> list[Statement]:
        names = {"np": np, "a": a, "b": b, "c": _product(a, b)}
        return [Statement(code, names, _arrays) for code in ("np.matmul(a, b, out=c)", "np.dot(a, b, out=c)")]

    def new_matmul(self, a: Array, b: Array) -> list[Statement]:
        return [Statement("np.matmul(a, b)", {"np": np, "a": a, "b": b}, _arrays)]

    def gelu(self, x: Array, approximate: str) -> list[Statement]:
        return []

    def mlp_forward(self, layers: Layers) -> list[Statement]:
        return []

    def mlp_both(self, layers: Layers, dy: Array) -> list[Statement]:
        return []

    def mlp_module(self, layers: Layers, dy: Array | None) -> list[Statement]:
        return []


class Torch:
    """Eager torch with as many threads as loopnest; no compilation."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(num_threads())
        self._torch = torch
        self._names = {"torch": torch, "F": torch.nn.functional}

    def _statement(self, code: str, **names: Any) -> Statement:
        return Statement(code, {**self._names, **names}, _arrays)

    def matmul(self, a: Array, b: Array) -> list[Statement]:
        names = {name: self._torch.from_numpy(x) for name, x in {"a": a, "b": b, "c": _product(a, b)}.items()}
        codes = ["torch.mm(a, b, out=c)", "torch.mm(a, b)"]
        if len(a) == 1:
            codes += ["torch.mv(b.T, a[0], out=c[0])[None]"]
        return [self._statement(code, **names) for code in codes]

    def new_matmul(self, a: Array, b: Array) -> list[Statement]:
        return [self._statement("torch.matmul(a, b)", a=self._torch.from_numpy(a), b=self._torch.from_numpy(b))]

    def gelu(self, x: Array, approximate: str) -> list[Statement]:
        names = {"x": self._torch.from_numpy(x), "y": self._torch.empty(x.shape, dtype=self._torch.float32)}
        codes = (
            f"F.gelu(x, approximate={approximate!r})",
            f"torch.ops.aten.gelu.out(x, approximate={approximate!r}, out=y)",
        )
        return [self._statement(code, **names) for code in codes]

    def mlp_forward(self, layers: Layers) -> list[Statement]:
        code = "mlp(x, w1, b1, w2, b2)"
        return [
            self._statement(code, mlp=self._products, **self._weights(layers, requires_grad=False)),
            self._statement(code, mlp=self._layers, **self._weights(_out_in(layers), requires_grad=False)),
        ]

    def mlp_both(self, layers: Layers, dy: Array) -> list[Statement]:
        return [
            self._training(self._products, layers, dy, _arrays),
            self._training(self._layers, _out_in(layers), dy, lambda results: _in_out(*_arrays(results))),
        ]

    def mlp_module(self, layers: Layers, dy: Array | None) -> list[Statement]:
        nn = self._torch.nn
        (d, h), e = layers[1].shape, layers[3].shape[1]
        return _of_module("stack", nn.Sequential(nn.Linear(d, h), nn.GELU(), nn.Linear(h, e)), layers, dy)

    def _products(self, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        """The MLP of weights (in, out)."""
        torch = self._torch
        return torch.addmm(b2, torch.nn.functional.gelu(torch.addmm(b1, x, w1), approximate="tanh"), w2)

    def _layers(self, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        """The MLP of weights (out, in), as torch.nn.Linear has them."""
        F = self._torch.nn.functional
        return F.linear(F.gelu(F.linear(x, w1, b1), approximate="tanh"), w2, b2)

    def _training(
        self, mlp: Callable[..., Any], layers: Layers, dy: Array, arrays: Callable[[Any], list[Any]]
    ) -> Statement:
        def forward_and_backward(dy: Any, *layers: Any) -> tuple[Any, ...]:
            y = mlp(*layers)
            return y, *self._torch.autograd.grad(y, layers, dy)

        names = {"forward_and_backward": forward_and_backward, "dy": self._torch.from_numpy(dy)}
        names |= self._weights(layers, requires_grad=True)
        return Statement("forward_and_backward(dy, x, w1, b1, w2, b2)", names, arrays)

    def _weights(self, layers: Layers, requires_grad: bool) -> dict[str, Any]:
        return {name: self._torch.tensor(x, requires_grad=requires_grad) for name, x in _named(layers).items()}


class JAX:
    """Functions compiled by XLA, called without asynchronous dispatch, which would hand each call to another thread."""

    name = "JAX"

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)  # float64 arrays; float32 ones stay what they are
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        jax.config.update("jax_platforms", "cpu")
        self._jax = jax

    def matmul(self, a: Array, b: Array) -> list[Statement]:
        return [*self.new_matmul(a, b), self._into_donated(a, b)]

    def new_matmul(self, a: Array, b: Array) -> list[Statement]:
        (a, a_transposed), (b, b_transposed) = map(_row_major, (a, b))

        def matmul(a: Any, b: Any) -> Any:
            return (a.T if a_transposed else a) @ (b.T if b_transposed else b)

        names = {"matmul": self._jax.jit(matmul), "a": self._array(a), "b": self._array(b)}
        return [Statement("matmul(a, b).block_until_ready()", names, _arrays)]

    def _into_donated(self, a: Array, b: Array) -> Statement:
        """With the memory of the last result given back for the next one, which is what JAX has for `out`."""
        (plain,) = self.new_matmul(a, b)
        a, b, product = plain.names["a"], plain.names["b"], plain.names["matmul"]
        compiled = self._jax.jit(lambda a, b, c: product(a, b), donate_argnums=2, keep_unused=True)
        last = product(a, b)

        def matmul_again() -> Any:
            nonlocal last
            last = compiled(a, b, last)
            return last

        return Statement("matmul_again().block_until_ready()", {"matmul_again": matmul_again}, _arrays)

    def gelu(self, x: Array, approximate: str) -> list[Statement]:
        gelu = self._jax.jit(lambda x: self._jax.nn.gelu(x, approximate=approximate == "tanh"))
        return [Statement("gelu(x).block_until_ready()", {"gelu": gelu, "x": self._array(x)}, _arrays)]

    def mlp_forward(self, layers: Layers) -> list[Statement]:
        names = {"mlp": self._jax.jit(self._mlp), **{name: self._array(x) for name, x in _named(layers).items()}}
        return [Statement("mlp(x, w1, b1, w2, b2).block_until_ready()", names, _arrays)]

    def mlp_both(self, layers: Layers, dy: Array) -> list[Statement]:
        def forward_and_backward(dy: Any, *layers: Any) -> tuple[Any, ...]:
            y, backward = self._jax.vjp(self._mlp, *layers)
            return y, *backward(dy)

        names = {
            "jax": self._jax,
            "forward_and_backward": self._jax.jit(forward_and_backward),
            **{name: self._array(x) for name, x in _named(layers).items()},
            "dy": self._array(dy),
        }
        return [Statement("jax.block_until_ready(forward_and_backward(dy, x, w1, b1, w2, b2))", names, _arrays)]

    def mlp_module(self, layers: Layers, dy: Array | None) -> list[Statement]:
        return []

    def _mlp(self, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        return self._jax.nn.gelu(x @ w1 + b1, approximate=True) @ w2 + b2

    def _array(self, x: Array) -> Any:
        return self._jax.block_until_ready(self._jax.numpy.array(x))


def _of_module(name: str, module: Any, layers: Layers, dy: Array | None) -> list[Statement]:
    """A call of a module that has been given these weights, or with dy of it and of its gradients."""
    import torch

    x, *weights = (torch.tensor(array) for array in _out_in(layers))
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(weight)
    if dy is None:
        return [Statement(f"{name}(x)", {name: module.requires_grad_(False), "x": x}, _arrays)]

    def gradients(module: Any, x: Any, dy: Any) -> tuple[Any, ...]:
        y = module(x)
        return y, *torch.autograd.grad(y, (x, *module.parameters()), dy)

    names = {"gradients": gradients, name: module, "x": x.requires_grad_(), "dy": torch.from_numpy(dy)}
    return [Statement(f"gradients({name}, x, dy)", names, lambda results: _in_out(*_arrays(results)))]


def _named(layers: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(("x", "w1", "b1", "w2", "b2"), layers, strict=True))


def _out_in(layers: Layers) -> Layers:
    """The same with weights (out, in)."""
    x, w1, b1, w2, b2 = layers
    return x, np.ascontiguousarray(w1.T), b1, np.ascontiguousarray(w2.T), b2


def _in_out(y: Array, dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array) -> list[Array]:
    """The results for such weights as they are for weights (in, out)."""
    return [y, dx, dw1.T, db1, dw2.T, db2]


def _product(a: Array, b: Array) -> Array:
    """Memory for a @ b."""
    return np.zeros((len(a), b.shape[1]), a.dtype)


def _row_major(x: Array) -> tuple[Array, bool]:
    """x as it lies in memory, and whether that is its transpose."""
    return (x, False) if x.flags.c_contiguous else (x.T, True)


def why_not_here(name: str) -> str | None:
    """Why this peer cannot take part, or None where it can."""
    extra = {"torch": "torch", "JAX": "peers"}.get(name)
    if extra is None or importlib.util.find_spec(name.lower()) is not None:
        return None
    return f"{name} is not installed: pip install 'loopnest[{extra}]'"


KNOWN: dict[str, type[Contender]] = {OURS: Loopnest, "NumPy": NumPy, "torch": Torch, "JAX": JAX}
