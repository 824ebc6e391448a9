"""What every matmul is held to: shapes, the exact result, the error bound, the work, the workloads."""

import math
from typing import Any

import numpy as np

from ... import _core
from ...arrays import REDUCED, Array, Call, empty, name_of_dtype
from ...backends.prepacked import Prepacked
from ...numerics import (
    flushed,
    gamma,
    magnitude,
    precise,
    product,
    rounded_once,
    rounded_to,
    smallest,
    sum_bound,
    sums_dtype,
)
from ...operation import Arguments, Contract, FastPath, Kernel, Workload


def run(
    kernel: Kernel,
    a: Any,
    b: Any,
    *,
    out: Any = None,
    out_dtype: Any = None,
    scale_a: Any = None,
    scale_b: Any = None,
) -> Any:
    """The product of two matrices, c[i, j] = Σ_p a[i, p] · b[p, j].

    a      (…, m, k)
    b      (…, k, n); leading axes broadcast as in numpy.matmul; or a matrix that ln.prepack has packed

    Returns c, (…, m, n), with |c - exact| <= γ_k · |a||b| elementwise, where
    γ_k = k·u / (1 - k·u) and u is the unit roundoff (Higham, Accuracy and Stability of Numerical Algorithms, §3.5).

    Reduced precision: a and b may also be bfloat16 (ml_dtypes' or torch's), float16 or int8. Sums of bfloat16 and
    float16 are float32: γ_k is float32's, and bfloat16 numbers and sums below 2^-126 may count as zero, which adds
    2^-126 · (k + Σ_p |a[i, p]| + Σ_p |b[p, j]|) to the bound. The result is rounded once to the inputs' dtype, or
    stays float32 with out_dtype="float32". int8 gives int32, exact modulo 2^32.

    scale_a, scale_b   for int8: float32 numbers, (m,) or (m, 1) for a's rows and (n,) or (1, n) for b's columns, as of
                       torch._scaled_mm; 1 where one is left out

    With them c is float32, float(Σ_p a[i, p] · b[p, j]) · scale_a[i] · scale_b[j]: one conversion and two products,
    within γ_3 |c|, and 2^-149 · (1 + |scale_b[j]|) for numbers that underflow.

    >>> ln.matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]]))
    array([[19., 22.],
           [43., 50.]])
    """
    if not (scale_a is None and scale_b is None):
        return _run_scaled(kernel, a, b, scale_a, scale_b, out, out_dtype)
    if isinstance(b, Prepacked):
        call = b.call("matmul", a=a)
        (a,) = call.inputs
        c = call.output(out, (*a.shape[:-1], b.shape[1]), dtype=call.result_dtype(out_dtype, sums_dtype(call.dtype)))
        b.multiply(a, c)
        return call.result(c)
    call = Call("matmul", reduced=REDUCED, a=a, b=b)
    a, b = call.inputs
    c = call.output(out, _shape(a, b), dtype=call.result_dtype(out_dtype, sums_dtype(call.dtype)))
    if c.ndim == 2 and c.size:  # a loop over 2^40 empty rows would not end
        kernel(a, b, c)
    elif c.size:
        _multiply_stacks(kernel, a, b, c)
    return call.result(c)


def _run_scaled(kernel: Kernel, a: Any, b: Any, scale_a: Any, scale_b: Any, out: Any, out_dtype: Any) -> Any:
    """The product of bytes, as float32: kernels get the scales after a and b."""
    scales = {name: x for name, x in (("scale_a", scale_a), ("scale_b", scale_b)) if x is not None}
    packed = b if isinstance(b, Prepacked) else None
    if packed is None:
        call = Call("matmul", reduced=REDUCED, scales=tuple(scales), a=a, b=b, **scales)
        a, b, *_ = call.inputs
    else:
        call = packed.call("matmul", scales=tuple(scales), a=a, **scales)
        a, *_ = call.inputs
    if call.dtype != np.int8 or a.ndim != 2 or b.ndim != 2:
        raise TypeError(
            f"matmul: {next(iter(scales))} is given with a of dtype {call.dtype} and shape {a.shape}, expected a and b "
            f"of int8 and two axes; leave it out, or make bytes of a and b by ln.quantize"
        )
    if name_of_dtype(out_dtype) not in ("None", "float32"):
        raise TypeError(f"matmul: out_dtype is {name_of_dtype(out_dtype)!r}, expected float32 next to scales")
    m, n = shape = _shape(a, b)
    given = dict(zip(scales, call.inputs[-len(scales) :], strict=True))
    vectors = []
    for name, length, column in (("scale_a", m, (m, 1)), ("scale_b", n, (1, n))):
        scale = given.get(name, np.broadcast_to(np.float32(1), (length,)))
        if scale.shape not in ((length,), column):
            raise ValueError(f"matmul: {name} has shape {scale.shape}, expected ({length},) or {column}")
        vectors.append(scale.reshape(length) if scale.ndim == 1 else scale[:, 0] if column[1] == 1 else scale[0])
    c = call.output(out, shape, dtype=np.dtype(np.float32))
    if not c.size:
        return call.result(c)
    if packed is None:
        kernel(a, b, *vectors, c)
        return call.result(c)
    sums = empty(shape, np.dtype(np.int32))
    packed.multiply(a, sums)
    c[...] = sums
    c *= vectors[0][:, None]
    c *= vectors[1]
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


def _result_dtype(dtype: Any, *, out_dtype: Any = None, scale_a: Any = None, scale_b: Any = None) -> np.dtype[Any]:
    if scale_a is not None or scale_b is not None:
        return np.dtype(np.float32)
    sums = sums_dtype(dtype)
    return sums if dtype == np.int8 or name_of_dtype(out_dtype) == sums.name else np.dtype(dtype)


def _reference(a: Array, b: Array, *, scale_a: Any = None, scale_b: Any = None, **options: Any) -> tuple[Array]:
    exact = product(precise(a), precise(b))
    if a.dtype != np.int8:
        return (exact,)
    sums = rounded_to(np.int32, exact)
    if scale_a is None and scale_b is None:
        return (sums,)
    for scale, column in ((scale_a, (-1, 1)), (scale_b, (1, -1))):
        exact = (sums if exact is sums else exact) * (1.0 if scale is None else precise(scale).reshape(column))
    return (exact,)


def _bound(a: Array, b: Array, *, out_dtype: Any = None, scale_a: Any = None, scale_b: Any = None) -> tuple[Array]:
    if a.dtype == np.int8:
        (exact,) = _reference(a, b, scale_a=scale_a, scale_b=scale_b)
        if exact.dtype == np.int32:
            return (np.zeros(exact.shape, np.int32),)
        last = 1 if scale_b is None else magnitude(scale_b).reshape(1, -1)
        return (gamma(3, np.float32) * np.abs(exact) + smallest(np.float32) * (1 + last),)
    bound = sum_bound(a.shape[-1], magnitude(a) @ magnitude(b), sums_dtype(a.dtype)) + flushed(a, b)
    if a.dtype.name in REDUCED and _result_dtype(a.dtype, out_dtype=out_dtype) == a.dtype:
        bound = rounded_once(a.dtype, precise(a) @ precise(b), bound)
    return (bound,)


def _as_float32(sample: Arguments) -> Arguments:
    """Floats of 16 bits with their sums as result, bytes with scales."""
    a, b = sample.inputs
    if a.dtype != np.int8:
        return Arguments(sample.inputs, {"out_dtype": "float32"})
    rng = np.random.default_rng(0)
    scale_a, scale_b = (rng.lognormal(-4, 2, 2 * n).astype(np.float32)[::2] for n in (a.shape[0], b.shape[1]))
    return Arguments(sample.inputs, {"scale_a": scale_a, "scale_b": scale_b[None, :]})


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
    reduced_variations={"float32 result": _as_float32},
    result_dtype=_result_dtype,
)
