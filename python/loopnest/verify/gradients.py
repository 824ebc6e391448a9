"""Is a gradient right? It is compared with central differences of its function.

For a loss L and one number x of its inputs,

    (L(x + h) - L(x - h)) / 2h  =  L'(x) + h²/6 · L'''(x) + …

so the difference's own error has two parts: h² times the third derivative, and the rounding of the two losses, some
u·|L| / h. With h = ∛u · max(1, |x|), in float64 6e-6, both are near 1e-11. That is small enough to find a gradient that
lacks a term, but proves nothing about its last digits: the contracts' bounds do.

A function with more than one result becomes a loss by a random dy: L = Σ dy · f(x), whose gradient by f(x) is dy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..numerics import unit_roundoff
from ..operation import Operation, Workload

RELATIVE = {"float64": 1e-6, "float32": 1e-3}
"""The tolerance by the backward's dtype, as a part of the input's largest gradient. In float64 it covers the
differences' error with room for large third derivatives; in float32 the backward's own rounding, some thousand
roundings of 6e-8,
with room for cancellation."""


class GradientMismatchError(AssertionError):
    """A gradient differs from its function's differences. The message says where; `check` has the rest."""

    def __init__(self, check: GradientCheck) -> None:
        super().__init__(str(check))
        self.check = check


@dataclass(frozen=True)
class InputCheck:
    """The gradient by one input, compared with its differences.

    worst       the index of the element with the largest error, relative to its tolerance
    gradient    the backward function's value there
    difference  the central difference there
    error       |gradient - difference| there
    tolerance   the allowed error there
    wrong       the number of elements beyond their tolerance
    note        a likely cause if the worst element is wrong: a kink, a factor; else ""
    """

    name: str
    shape: tuple[int, ...]
    worst: tuple[int, ...]
    gradient: float
    difference: float
    error: float
    tolerance: float
    wrong: int
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.wrong == 0

    def __str__(self) -> str:
        size = f"{self.name} {self.shape}"
        if self.passed:
            return f"{size}: right; farthest apart by {self.error:.1e}, {self.tolerance:.1e} is allowed"
        element = f"[{', '.join(map(str, self.worst))}]" if self.worst else ""
        count = int(np.prod(self.shape))
        return (
            f"{size}: {self.wrong} of {count} elements wrong; the worst is {self.name}{element}: the backward "
            f"says {self.gradient:.9g}, differences say {self.difference:.9g}; they are {self.error:.1e} apart, "
            f"{self.tolerance:.1e} is allowed{self.note}"
        )


@dataclass(frozen=True)
class GradientCheck:
    """What `gradcheck` found: true if every gradient is right; printed, it says how near they are."""

    name: str
    inputs: tuple[InputCheck, ...]

    @property
    def passed(self) -> bool:
        return all(checked.passed for checked in self.inputs)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        head = f"{self.name}: the gradient is {'right' if self.passed else 'wrong'}"
        return "\n".join([head, *(f"  {checked}" for checked in self.inputs)])


def gradcheck(
    op: Any,
    *inputs: Any,
    backward: Callable[..., Any] | None = None,
    impl: str | None = None,
    seed: int = 0,
    tolerance: float | None = None,
    raises: bool = True,
    **options: Any,
) -> GradientCheck:
    """Compare a gradient with central differences of its function, computed in float64.

    op         an operation with a backward of its own (gelu, relu, sigmoid, tanh, mse, cross_entropy, mlp_forward), or
               its name; or any function of arrays, with `backward`
    inputs     arrays of float32 or float64, or of integers, which have no gradient; none: an operation's own sample.
               They are not changed
    backward   the gradient's function of (*inputs, dy), or of (*inputs) if op's result is a single number. It returns
               the gradient by the first float input, or a tuple of the gradients by each float input
    impl       the id of the backward operation's implementation; the fastest if it is None
    seed       of the random dy, and of the sample
    tolerance  the allowed error as a part of each input's largest gradient: 1e-6, and 1e-3 for float32 inputs
    raises     whether a wrong gradient raises; False returns the check
    options    passed on to both functions, such as approximate="none"

    An element passes where |gradient - difference| ≤ tolerance · (the input's largest difference) + 20 · u · Σ|terms of
    L| / h: the second term is the rounding of the subtracted losses. At a kink, such as relu's at 0, there is no
    derivative; the message says so.

    Returns a GradientCheck. Raises GradientMismatchError, an AssertionError that names the worst element, for a wrong
    gradient; ValueError or TypeError for inputs that cannot be checked, or a backward of other shapes.

    >>> import numpy as np, loopnest as ln
    >>> ln.gradcheck(ln.gelu).passed
    True
    >>> ln.gradcheck(lambda x: x**3, np.array([1.0, 2.0]), backward=lambda x, dy: 3 * x**2 * dy).passed
    True

    softmax has no backward operation; with y = softmax(x) its gradient is y ⊙ (dy - Σ y ⊙ dy):

    >>> def softmax_backward(x, dy):
    ...     y = ln.softmax(x)
    ...     return y * (dy - (y * dy).sum(axis=-1, keepdims=True))
    >>> ln.gradcheck(ln.softmax, np.array([[1.0, 2.0, 3.0]]), backward=softmax_backward).passed
    True

    The message describes what is wrong:

    >>> wrong = ln.gradcheck(lambda x: (x**2).sum(), np.array([1.0, 2.0]), backward=lambda x: x, raises=False)
    >>> print(str(wrong).replace("; ", ";" + chr(10)))
    <lambda>: the gradient is wrong
      x (2,): 2 of 2 elements wrong;
    the worst is x[1]: the backward says 2, differences say 4;
    they are 2.0e+00 apart, 4.0e-06 is allowed;
    the difference is 2 times the backward's
    """
    from ..operations import OPERATIONS

    if isinstance(op, str):
        if op not in OPERATIONS:
            raise ValueError(f"gradcheck: no operation is called {op!r}. Known: {', '.join(_checkable())}")
        op = OPERATIONS[op]
    if not callable(op):
        raise TypeError(f"gradcheck: op is {op!r}, expected an operation, its name, or a function of arrays")
    name = str(getattr(op, "name", getattr(op, "__name__", type(op).__name__)))
    if isinstance(op, Operation) and not inputs:
        inputs = _sample(op, seed)
    given, varied = _arrays(inputs)
    names = _names(op, len(given))
    forward = _forward_of(op, impl, options)
    wide = [array.astype(np.float64) if k in varied else array for k, array in enumerate(given)]
    y = np.asarray(forward(*wide))
    dy = np.random.default_rng(seed).standard_normal(y.shape) if y.ndim else np.asarray(1.0)
    dtype = given[varied[0]].dtype
    gradients = _gradients(op, name, impl, backward, given, varied, dy.astype(dtype), y.ndim == 0, options)

    def terms() -> Array:
        return np.asarray(dy * forward(*wide), np.float64)

    checks = tuple(
        _checked(names[k], terms, wide[k], gradient, RELATIVE[str(dtype)] if tolerance is None else tolerance)
        for k, gradient in zip(varied, gradients, strict=False)
    )
    found = GradientCheck(name if impl is None else f"{name} {impl}", checks)
    if raises and not found:
        raise GradientMismatchError(found)
    return found


def _checked(name: str, terms: Callable[[], Array], x: Array, gradient: Array, relative: float) -> InputCheck:
    """The gradient by x compared with its differences. `terms` reads x, which changes meanwhile and is put back."""
    u = unit_roundoff(np.float64)
    difference = np.empty(x.shape)
    steps = np.cbrt(u) * np.maximum(1, np.abs(x))
    for index in np.ndindex(x.shape):
        difference[index] = _difference(terms, x, index, steps[index], -steps[index])
    rounding = 20 * u * float(np.abs(terms()).sum()) / steps
    scale = float(np.abs(difference).max(initial=0)) if np.isfinite(difference).all() else 1.0
    tolerance = relative * scale + rounding
    error = np.abs(gradient - difference)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.where(np.isnan(error), np.inf, error / tolerance)
    wrong = int((excess > 1).sum())
    if not x.size:
        return InputCheck(name, x.shape, (), 0.0, 0.0, 0.0, 0.0, 0)
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), x.shape))
    says, right = float(gradient[worst]), float(difference[worst])
    note = _note(terms, x, worst, float(steps[worst]), says, right, float(tolerance[worst])) if wrong else ""
    return InputCheck(name, x.shape, worst, says, right, float(error[worst]), float(tolerance[worst]), wrong, note)


def _difference(terms: Callable[[], Array], x: Array, index: tuple[int, ...], above: float, below: float) -> float:
    """The loss's slope between x[index] + above and x[index] + below."""
    kept = x[index]
    x[index] = kept + above
    far = terms()
    x[index] = kept + below
    near = terms()
    x[index] = kept
    # Terms that the element does not reach cancel exactly, before they could be rounded into a sum.
    return float((far - near).sum()) / (above - below)


def _note(
    terms: Callable[[], Array], x: Array, index: Any, step: float, says: float, right: float, allowed: float
) -> str:
    """What may be wrong, from the worst element alone."""
    above, below = _difference(terms, x, index, step, 0.0), _difference(terms, x, index, 0.0, -step)
    if abs(above - below) > 0.01 * max(abs(above), abs(below)) and min(abs(says - above), abs(says - below)) <= (
        allowed + 1e-3 * abs(says)
    ):
        return (
            f"; the function has a kink there (from above {above:.6g}, from below {below:.6g}), where no difference "
            f"can judge: move the input away from it"
        )
    if not np.isfinite(says):
        return "; the backward's is not finite"
    if abs(right + says) <= 10 * allowed:
        return "; the sign is wrong"
    if abs(says) > 10 * allowed:
        ratio = right / says
        plain = round(ratio) if abs(ratio) >= 1 else 1 / max(round(1 / ratio), 1) if ratio > 0 else 0.0
        if plain and abs(ratio - plain) < 1e-4 * abs(ratio):
            times = f"{plain:g} times" if abs(plain) >= 1 else f"1/{round(1 / plain)} of"
            return f"; the difference is {times} the backward's"
    return ""


def _checkable() -> list[str]:
    """The operations that have a backward of their own."""
    from ..operations import OPERATIONS

    return [name for name in OPERATIONS if _backward_name(name) in OPERATIONS and not name.endswith("_backward")]


def _backward_name(name: str) -> str:
    return "mlp_backward" if name == "mlp_forward" else f"{name}_backward"


def _sample(op: Operation, seed: int) -> tuple[Any, ...]:
    """Random inputs of the operation's smallest workload, with at most 10 elements along each axis."""
    workload = op.contract.workloads[0]
    small = Workload("small", {axis: min(n, 10) for axis, n in workload.shape.items()})
    return tuple(op.contract.sample(small, np.dtype(np.float64), np.random.default_rng(seed)).inputs)


def _arrays(inputs: Sequence[Any]) -> tuple[list[Array], list[int]]:
    """Copies as arrays, and the numbers of those that hold floats, all of one dtype."""
    if not inputs:
        raise ValueError("gradcheck: no inputs, expected at least one array of floats: gradcheck(f, x, backward=…)")
    given = [np.array(value) for value in inputs]
    varied = [k for k, array in enumerate(given) if array.dtype in (np.float32, np.float64)]
    if not varied:
        raise TypeError(
            f"gradcheck: the inputs are of {', '.join(str(array.dtype) for array in given)}, expected at least one "
            f"array of float64 or float32, as x.astype(np.float64)"
        )
    if len({given[k].dtype for k in varied}) > 1:
        raise TypeError("gradcheck: the inputs are of float32 and float64, expected one dtype; convert one of them")
    for k in varied:
        if not np.isfinite(given[k]).all():
            raise ValueError(f"gradcheck: input {k} holds NaN or infinity, where there is no difference to take")
    return given, varied


def _names(op: Any, count: int) -> list[str]:
    """The inputs' names in op's signature, or x0, x1 … if it has none."""
    import inspect

    try:
        parameters = inspect.signature(op).parameters.values()
    except (TypeError, ValueError):
        return [f"x{k}" for k in range(count)]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] if len(names) >= count else [f"x{k}" for k in range(count)]


def _forward_of(op: Any, impl: str | None, options: Mapping[str, Any]) -> Callable[..., Any]:
    """The function whose differences are taken; of an operation its fastest implementation."""
    if not isinstance(op, Operation):
        if impl is not None:
            raise ValueError(f"gradcheck: impl is {impl!r}, expected None: op is no operation, and only these have ids")
        return lambda *arrays: op(*arrays, **options)
    if op.name == "mlp_forward":
        return lambda *arrays: op(*arrays, **options)[0]
    return lambda *arrays: op(*arrays, **options)


def _gradients(
    op: Any,
    name: str,
    impl: str | None,
    backward: Callable[..., Any] | None,
    given: list[Array],
    varied: list[int],
    dy: Array,
    scalar: bool,
    options: Mapping[str, Any],
) -> tuple[Array, ...]:
    """What the backward returns, checked: the gradients by the float inputs, or by the first of them."""
    from ..operations import OPERATIONS

    copies = [array.copy() for array in given]
    if backward is not None:
        returned = backward(*copies, **options) if scalar else backward(*copies, dy, **options)
    elif not isinstance(op, Operation) or _backward_name(op.name) not in OPERATIONS:
        what = f"{name} has no backward operation" if isinstance(op, Operation) else "op is no operation"
        raise ValueError(
            f"gradcheck: {what}, expected backward=…, a function of (*inputs, dy). Checked without it: "
            f"{', '.join(_checkable())}"
        )
    elif op.name == "mlp_forward":
        _, cache = op(*copies, **options)
        returned = OPERATIONS["mlp_backward"](np.asarray(dy), cache, impl=impl)
    else:
        own = OPERATIONS[_backward_name(op.name)]
        returned = own(*copies, impl=impl, **options) if scalar else own(*copies, dy, impl=impl, **options)
    gradients = tuple(np.asarray(g) for g in (returned if isinstance(returned, (tuple, list)) else (returned,)))
    if len(gradients) not in (1, len(varied)):
        raise ValueError(
            f"gradcheck: {name}'s backward returned {len(gradients)} gradients, expected one for each of the "
            f"{len(varied)} float inputs, or the first one's alone"
        )
    for k, gradient in zip(varied, gradients, strict=False):
        if gradient.shape != given[k].shape:
            raise ValueError(
                f"gradcheck: {name}'s backward returned a gradient of shape {gradient.shape} for an input of shape "
                f"{given[k].shape}, expected the input's own shape"
            )
    return gradients
