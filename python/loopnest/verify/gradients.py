"""Is a gradient right? It is compared with central differences of its function.

For a loss L and one number x of its inputs,

    (L(x + h) - L(x - h)) / 2h  =  L'(x) + h²/6 · L'''(x) + …

so the difference's own error has two parts: h² times the third derivative, and the rounding of the two losses, some
u·|L| / h. With h = ∛u · max(1, |x|), in float64 6e-6, both are near 1e-11. That is small enough to find a gradient that
lacks a term, but proves nothing about its last digits: the contracts' bounds do.

A function with more than one result becomes a loss by a random dy: L = Σ dy · f(x), whose gradient by f(x) is dy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FLOATS, Array
from ..numerics import unit_roundoff
from ..operation import Operation, Workload

RELATIVE = {"float64": 1e-6, "float32": 1e-3}
"""The tolerance by the backward's dtype, as a part of the input's largest gradient. In float64 it covers the
differences' error with room for large third derivatives; in float32 the backward's own rounding, some thousand
roundings of 6e-8, with room for cancellation."""


class GradientMismatchError(AssertionError):
    """A gradient differs from its function's differences. The message says where; `check` has the rest."""

    def __init__(self, check: GradientCheck) -> None:
        super().__init__(str(check))
        self.check = check


@dataclass(frozen=True)
class InputCheck:
    """The gradient by one input, compared with its differences.

    worst       the index of the element with the largest error, relative to its tolerance
    gradient, difference, error, tolerance   the backward's value there, the central difference, and how far apart they
                are and may be
    wrong       the number of elements beyond their tolerance
    note        about a kink at the worst element; else ""
    """

    name: str
    shape: tuple[int, ...]
    worst: tuple[int, ...] = ()
    gradient: float = 0.0
    difference: float = 0.0
    error: float = 0.0
    tolerance: float = 0.0
    wrong: int = 0
    note: str = ""

    def __str__(self) -> str:
        if not self.wrong:
            return f"{self.name} {self.shape}: right; the largest error is {self.error:.1e} of {self.tolerance:.1e}"
        return (
            f"{self.name} {self.shape}: {self.wrong} of {int(np.prod(self.shape))} elements wrong; the worst is "
            f"{self.name}{list(self.worst) or ''}: the backward says {self.gradient:.9g}, differences say "
            f"{self.difference:.9g}, and may differ by {self.tolerance:.1e}{self.note}"
        )


@dataclass(frozen=True)
class GradientCheck:
    """What `gradcheck` found: true if every gradient is right; printed, it says how near they are."""

    name: str
    inputs: tuple[InputCheck, ...]

    @property
    def passed(self) -> bool:
        return not any(checked.wrong for checked in self.inputs)

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

    op         an operation with a backward of its own (gelu, relu, sigmoid, tanh, mse, cross_entropy, mlp_forward); or
               any function of arrays, with `backward`
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
    """
    from ..operations import OPERATIONS

    if not callable(op):
        raise TypeError(f"gradcheck: op is {op!r}, expected an operation or a function of arrays")
    name = str(getattr(op, "name", getattr(op, "__name__", type(op).__name__)))
    if isinstance(op, Operation) and not inputs:
        sizes = {axis: min(n, 10) for axis, n in op.contract.workloads[0].shape.items()}
        inputs = op.contract.sample(Workload("small", sizes), np.dtype(np.float64), np.random.default_rng(seed)).inputs
    if impl is not None and not isinstance(op, Operation):
        raise ValueError(f"gradcheck: impl is {impl!r}, expected None: only operations have implementations")
    given, varied = _arrays(inputs)
    wide = [array.astype(np.float64) if k in varied else array for k, array in enumerate(given)]

    def forward() -> Array:
        returned = op(*wide, **options)
        return np.asarray(returned[0] if name == "mlp_forward" else returned)

    y, dtype = forward(), given[varied[0]].dtype
    dy = np.asarray(np.random.default_rng(seed).standard_normal(y.shape) if y.ndim else 1.0)
    copies = [array.copy() for array in given]
    last = (dy.astype(dtype),) if y.ndim else ()
    end = f"{name.removesuffix('_forward')}_backward"
    if backward is not None:
        returned = backward(*copies, *last, **options)
    elif not isinstance(op, Operation) or end not in OPERATIONS:
        text = f"{name} has no backward operation, expected backward=…, a function of (*inputs, dy)"
        raise ValueError(f"gradcheck: {text}")
    elif name == "mlp_forward":
        returned = OPERATIONS[end](*last, op(*copies, **options)[1], impl=impl)
    else:
        returned = OPERATIONS[end](*copies, *last, impl=impl, **options)
    gradients = [np.asarray(g) for g in (returned if isinstance(returned, (tuple, list)) else (returned,))]
    shapes, expected = [g.shape for g in gradients], [given[k].shape for k in varied]
    if len(shapes) not in (1, len(expected)) or shapes != expected[: len(shapes)]:
        raise ValueError(
            f"gradcheck: {name}'s backward returned gradients of shapes {shapes}, expected {expected} as the "
            f"float inputs have, or the first one alone"
        )
    names = [*inspect.signature(op).parameters] if isinstance(op, Operation) else [f"x{k}" for k in range(len(given))]
    relative = RELATIVE[str(dtype)] if tolerance is None else tolerance
    checks = [
        _checked(names[k], lambda: np.asarray(dy * forward(), np.float64), wide[k], gradient, relative)
        for k, gradient in zip(varied, gradients, strict=False)
    ]
    found = GradientCheck(name if impl is None else f"{name} {impl}", tuple(checks))
    if raises and not found:
        raise GradientMismatchError(found)
    return found


def _checked(name: str, terms: Callable[[], Array], x: Array, gradient: Array, relative: float) -> InputCheck:
    """The gradient by x compared with its differences. `terms` reads x, which changes meanwhile and is put back."""
    if not x.size:
        return InputCheck(name, x.shape)

    def slope(index: tuple[int, ...], above: float, below: float) -> float:
        kept = x[index]
        x[index] = kept + above
        far = terms()
        x[index] = kept + below
        near = terms()
        x[index] = kept
        # Terms that the element does not reach cancel exactly, before they could be rounded into a sum.
        return float((far - near).sum()) / (above - below)

    u = unit_roundoff(np.float64)
    steps = np.cbrt(u) * np.maximum(1, np.abs(x))
    difference = np.reshape([slope(index, steps[index], -steps[index]) for index in np.ndindex(x.shape)], x.shape)
    scale = float(np.abs(difference).max()) if np.isfinite(difference).all() else 1.0
    tolerance = relative * scale + 20 * u * float(np.abs(terms()).sum()) / steps
    error = np.abs(gradient - difference)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.where(np.isnan(error), np.inf, error / tolerance)
    wrong = int((excess > 1).sum())
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), x.shape))
    says, right, allowed = float(gradient[worst]), float(difference[worst]), float(tolerance[worst])
    above, below, note = slope(worst, steps[worst], 0.0), slope(worst, 0.0, -steps[worst]), ""
    if wrong and abs(above - below) > 0.01 * max(abs(above), abs(below)):
        note = f"; the slope jumps there from {below:.6g} to {above:.6g}, perhaps a kink: move the input away from it"
    return InputCheck(name, x.shape, worst, says, right, float(error[worst]), allowed, wrong, note)


def _arrays(inputs: Sequence[Any]) -> tuple[list[Array], list[int]]:
    """Copies as arrays, and the numbers of those that hold floats, all of one dtype."""
    given = [np.array(value) for value in inputs]
    varied = [k for k, array in enumerate(given) if array.dtype in FLOATS]
    dtypes = [str(array.dtype) for array in given]
    if len({dtypes[k] for k in varied}) != 1:
        raise TypeError(
            f"gradcheck: the inputs are of {', '.join(dtypes) or 'no dtype'}, expected at least one array of float64 "
            f"or float32, and only one of these; as x.astype(np.float64)"
        )
    for k in varied:
        if not np.isfinite(given[k]).all():
            raise ValueError(f"gradcheck: input {k} holds NaN or infinity, where there is no difference to take")
    return given, varied
