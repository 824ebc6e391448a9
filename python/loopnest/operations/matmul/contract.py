"""What every matmul is held to: shapes, the exact result, the error bound, the work, the workloads."""

import math
from typing import Any

import numpy as np

from ... import _core
from ...arrays import REDUCED, Array, Call, name_of_dtype
from ...numerics import (
    magnitude,
    precise,
    product,
    rounded_to,
    smallest,
    sum_bound,
    sums_dtype,
    unit_roundoff,
)
from ...operation import Arguments, Contract, FastPath, Kernel, Workload


def run(kernel: Kernel, a: Any, b: Any, *, out: Any = None, out_dtype: Any = None) -> Any:
    """The product of two matrices, c[i, j] = Σ_p a[i, p] · b[p, j].

    a      (…, m, k)
    b      (…, k, n); leading axes broadcast as in numpy.matmul

    Returns c, (…, m, n), with |c - exact| <= γ_k · |a||b| elementwise, where
    γ_k = k·u / (1 - k·u) and u is the unit roundoff (Higham, Accuracy and Stability of Numerical Algorithms, §3.5).

    Reduced precision: a and b may also be bfloat16 (ml_dtypes' or torch's), float16 or int8. Sums of bfloat16 and
    float16 are float32: γ_k is float32's, and bfloat16 numbers and sums below 2^-126 may count as zero, which adds
    2^-126 · (k + Σ_p |a[i, p]| + Σ_p |b[p, j]|) to the bound. The result is rounded once to the inputs' dtype, or
    stays float32 with out_dtype="float32". int8 gives int32, exact modulo 2^32.

    >>> ln.matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]]))
    array([[19., 22.],
           [43., 50.]])
    """
    call = Call("matmul", reduced=True, a=a, b=b)
    a, b = call.inputs
    c = call.output(out, _shape(a, b), dtype=call.result_dtype(out_dtype, sums_dtype(call.dtype)))
    if c.ndim == 2:
        kernel(a, b, c)
    else:
        _multiply_stacks(kernel, a, b, c)
    return call.result(c)


def _multiply_stacks(kernel: Kernel, a: Array, b: Array, c: Array) -> None:
    """c = a @ b for the matrices of the last two axes; a kernel that takes stacks gets many of them in one call."""
    batch = c.shape[:-2]
    a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
    if kernel is _core.kernels["matmul"]["parallel"]:
        kernel = _core.kernels["matmul"]["stack"]
        try:
            a, b, c = (x.reshape(math.prod(batch), *x.shape[-2:], copy=False) for x in (a, b, c))
            batch = ()
        except ValueError:  # the axes do not follow each other in memory: stacks along the last of them
            batch = batch[:-1]
    for index in np.ndindex(batch):
        kernel(a[index], b[index], c[index])


def _shape(a: Array, b: Array) -> tuple[int, ...]:
    if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]:
        return a.shape[0], b.shape[1]
    for name, matrix in (("a", a), ("b", b)):
        if matrix.ndim < 2:
            raise ValueError(
                f"matmul: {name} has shape {matrix.shape}, expected two axes or more; make a vector a row with "
                f"{name}[None, :] or a column with {name}[:, None], or use dot"
            )
    if a.shape[-1] != b.shape[-2]:
        expected = ", ".join(map(str, (*b.shape[:-2], a.shape[-1], "n")))
        raise ValueError(f"matmul: b has shape {b.shape}, expected ({expected}) to match a's {a.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(
            f"matmul: b has shape {b.shape}, expected leading axes that broadcast with a's {a.shape}"
        ) from None
    except RuntimeError:  # NumPy's own limit
        raise ValueError(f"matmul: {max(a.ndim, b.ndim)} axes, expected at most 34; reshape a and b") from None
    return (*batch, a.shape[-2], b.shape[-1])


def why(a: Any, b: Any) -> str:
    """The way that cpp.parallel takes with matrices of these shapes and strides: csrc/matmul/kernel/by_shape.hpp.

    Of stacks it is the way of one product.
    """
    call = Call("matmul", a=a, b=b)
    a, b = call.inputs
    shape = _shape(a, b)
    if len(shape) > 2:
        a, b = a[(0,) * (a.ndim - 2)], b[(0,) * (b.ndim - 2)]
    how = np.ones(5, np.int64)
    reason = _core.kernels["matmul"]["why"](a, b, np.empty(shape[-2:], a.dtype), how)
    rows, cols, parts, turned, copied = how
    cut = f"sums in {parts} parts" if parts > 1 else f"in {rows} x {cols} pieces" if rows * cols > 1 else "in one piece"
    if turned:
        cut += ", as cᵀ = bᵀaᵀ"
    if copied:
        cut += ", with a transposed copy of " + ("aᵀ" if turned else "b")
    return f"{cut}; {reason}"


def _sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
    m, k, n = (workload.shape[axis] for axis in "mkn")
    if np.dtype(dtype) == np.int8:
        return Arguments(tuple(rng.integers(-128, 128, shape, np.int8) for shape in ((m, k), (k, n))))
    return Arguments(tuple(rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n))))


def _result_dtype(dtype: Any, *, out_dtype: Any = None) -> np.dtype[Any]:
    sums = sums_dtype(dtype)
    return sums if dtype == np.int8 or name_of_dtype(out_dtype) == sums.name else np.dtype(dtype)


def _reference(a: Array, b: Array, **options: Any) -> tuple[Array]:
    exact = product(precise(a), precise(b))
    return (rounded_to(np.int32, exact) if a.dtype == np.int8 else exact,)


def _bound(a: Array, b: Array, *, out_dtype: Any = None) -> tuple[Array]:
    if a.dtype == np.int8:
        return (np.zeros((*a.shape[:-1], b.shape[-1]), np.int32),)
    sizes, k = (magnitude(a), magnitude(b)), a.shape[-1]
    bound = sum_bound(k, sizes[0] @ sizes[1], sums_dtype(a.dtype))
    if a.dtype.name in REDUCED:
        bound = bound + 2.0**-126 * (k + sizes[0].sum(-1)[..., None] + sizes[1].sum(-2)[..., None, :])
        if _result_dtype(a.dtype, out_dtype=out_dtype) == a.dtype:
            u = unit_roundoff(a.dtype)
            bound = bound + u * (np.abs(precise(a) @ precise(b)) + bound) + smallest(a.dtype)
    return (bound,)


CONTRACT = Contract(
    run=run,
    sample=_sample,
    reference=_reference,
    bound=_bound,
    flops=lambda m, k, n: 2 * m * k * n,
    traffic=lambda itemsize, m, k, n: itemsize * (m * k + k * n + m * n),
    workloads=(
        *(Workload(f"square-{n}", {"m": n, "k": n, "n": n}) for n in (16, 64, 128, 256, 512, 1024, 2048)),
        # The first product of GPT-2 small's MLP, 768 -> 3072 (Radford et al. 2019).
        *(Workload(f"gpt2-small-up-{t}", {"m": t, "k": 768, "n": 3072}) for t in (1, 32, 128, 512)),
    ),
    fast_path=FastPath("product"),
    why=why,
    reduced=REDUCED,
    reduced_variations={
        "32-bit result": lambda sample: Arguments(sample.inputs, {"out_dtype": sums_dtype(sample.inputs[0].dtype)})
    },
    result_dtype=_result_dtype,
)
