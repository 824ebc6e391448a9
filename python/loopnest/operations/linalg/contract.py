"""What dot, sum, add, transpose and linear are held to."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays import FLOAT_NAMES, HALVES, Array, Call, as_matrices, empty
from ...backends.prepacked import Prepacked
from ...numerics import flushed, magnitude, precise, product, rounded_once, sum_bound, sums_dtype, unit_roundoff
from ...operation import Arguments, Contract, FastPath, Kernel, Workload, normal


def vectors(*lengths: int) -> tuple[Workload, ...]:
    return tuple(Workload(f"n-{n}", {"n": n}) for n in lengths)


def _squares(*lengths: int) -> tuple[Workload, ...]:
    return tuple(Workload(f"square-{n}", {"m": n, "n": n}) for n in lengths)


def dot_run(kernel: Kernel, x: Any, y: Any, *, out: Any = None) -> Any:
    """The dot product of two vectors, x · y = Σ_i x[i] · y[i].

    x, y   (n,)

    Returns a scalar, (), with |result - exact| <= γ_n · |x|·|y| (Higham, Accuracy and Stability of Numerical
    Algorithms, §3.1). Vectors without elements give 0.

    >>> float(ln.dot(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])))
    32.0
    """
    call = Call("dot", x=x, y=y)
    x, y = call.inputs
    if x.ndim != 1:
        raise ValueError(f"dot: x has shape {x.shape}, expected one axis, (n,); use matmul for matrices")
    call.sizes(x="n", y="n")
    total = call.output(out, ())
    kernel(x, y, total)
    return call.result(total)


DOT = Contract(
    run=dot_run,
    sample=normal("n", "n"),
    reference=lambda x, y: (np.asarray((precise(x) * precise(y)).sum()),),
    bound=lambda x, y: (sum_bound(x.size, np.abs(precise(x) * precise(y)).sum(), x.dtype),),
    flops=lambda n: 2 * n,
    traffic=lambda itemsize, n: itemsize * (2 * n + 1),
    workloads=vectors(4_096, 65_536, 1_048_576, 16_777_216),
    fast_path=FastPath("dot"),
)


def sum_run(kernel: Kernel, a: Any, *, out: Any = None) -> Any:
    """The sum of all elements.

    a      (…) any shape

    Returns a scalar, (), with |result - exact| <= γ_{n-1} · Σ|a| for n elements, added in any order (Higham, Accuracy
    and Stability of Numerical Algorithms, §4.2).

    >>> float(ln.sum(np.arange(6.0).reshape(2, 3)))
    15.0
    """
    return run_total(kernel, Call("sum", a=a), out, np.sum)


def run_total(kernel: Kernel, call: Call, out: Any, combine: Callable[[list[Array]], Any]) -> Any:
    """Check and run a reduction of all elements. `combine` takes the results of equal pieces, where views of two axes
    do not cover all elements at once, or there are none."""
    call.same_shape()
    total = call.output(out, ())
    pieces = list(as_matrices(*call.inputs))
    if len(pieces) == 1:
        kernel(*pieces[0], total)
    else:
        parts = [empty((), total.dtype) for _ in pieces]
        for piece, part in zip(pieces, parts, strict=True):
            kernel(*piece, part)
        total[()] = combine(parts)
    return call.result(total)


SUM = Contract(
    run=sum_run,
    sample=normal("mn"),
    reference=lambda a: (np.asarray(precise(a).sum()),),
    bound=lambda a: (sum_bound(max(a.size - 1, 0), np.abs(precise(a)).sum(), a.dtype),),
    flops=lambda m, n: m * n,
    traffic=lambda itemsize, m, n: itemsize * (m * n + 1),
    workloads=_squares(64, 256, 1024, 4096),
    fast_path=FastPath("total"),
)


def add_run(kernel: Kernel, a: Any, b: Any, *, out: Any = None) -> Any:
    """The sum of two arrays, element by element, with NumPy's broadcasting.

    a, b   (…) shapes that broadcast

    Returns a + b, of the broadcast shape, each element correctly rounded (IEEE 754).

    >>> ln.add(np.array([[1.0], [2.0]]), np.array([10.0, 20.0]))
    array([[11., 21.],
           [12., 22.]])
    """
    call = Call("add", a=a, b=b)
    a, b = call.inputs
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(f"add: b has shape {b.shape}, expected one that broadcasts with a's {a.shape}") from None
    except RuntimeError:  # NumPy's own limit
        raise ValueError(f"add: {max(a.ndim, b.ndim)} axes, expected at most 32; reshape a and b") from None
    c = call.output(out, shape)
    for views in as_matrices(np.broadcast_to(a, shape), np.broadcast_to(b, shape), c):
        kernel(*views)
    return call.result(c)


ADD = Contract(
    run=add_run,
    sample=normal("mn", "mn"),
    reference=lambda a, b: (precise(a) + precise(b),),
    # One rounding, and one more of the reference's own in float64.
    bound=lambda a, b: (unit_roundoff(a.dtype) * (1 + 1e-3) * np.abs(precise(a) + precise(b)),),
    flops=lambda m, n: m * n,
    traffic=lambda itemsize, m, n: itemsize * 3 * m * n,
    workloads=_squares(64, 256, 1024, 4096),
    fast_path=FastPath("elementwise"),
)


def transpose_run(kernel: Kernel, a: Any, *, out: Any = None) -> Any:
    """The transposed matrix, written to memory of its own: b[j, i] = a[i, j].

    a      (m, n)

    Returns (n, m), the same bits. (NumPy's a.T moves nothing: it is a view with the strides exchanged.)

    >>> ln.transpose(np.array([[1.0, 2.0, 3.0]]))
    array([[1.],
           [2.],
           [3.]])
    """
    call = Call("transpose", a=a)
    (a,) = call.inputs
    call.sizes(a="mn")
    result = call.output(out, a.shape[::-1])
    if result.size:
        kernel(a, result)
    return call.result(result)


TRANSPOSE = Contract(
    run=transpose_run,
    sample=normal("mn"),
    reference=lambda a: (precise(a).T,),
    bound=lambda a: (np.zeros(a.shape[::-1]),),
    flops=lambda m, n: 0,
    traffic=lambda itemsize, m, n: itemsize * 2 * m * n,
    workloads=_squares(64, 256, 1024, 2048, 4096),
    fast_path=FastPath("transpose"),
)


def linear_run(kernel: Kernel, x: Any, w: Any, b: Any, *, out: Any = None, out_dtype: Any = None) -> Any:
    """A layer of perceptrons before their activation: y = x @ w + b.

    x      (m, k) a row for each sample
    w      (k, n) a column for each perceptron; or a matrix that ln.prepack has packed
    b      (n,) the biases

    Returns y, (m, n), with |y - exact| <= γ_{k+1} · (|x||w| + |b|) elementwise.

    Reduced precision: all inputs may be bfloat16 or float16. Sums are float32, with the bias as one of their terms, and
    rounded once to the inputs' dtype, or not at all with out_dtype="float32"; otherwise as for matmul.

    >>> ln.linear(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5]))
    array([[11.5]])
    """
    if isinstance(w, Prepacked):
        return _linear_with_packed(x, w, b, out, out_dtype)
    call = Call("linear", reduced=HALVES, x=x, w=w, b=b)
    x, w, b = call.inputs
    sizes = call.sizes(x="mk", w="kn", b="n")
    y = call.output(out, (sizes["m"], sizes["n"]), dtype=call.result_dtype(out_dtype, sums_dtype(call.dtype)))
    if y.size:
        kernel(x, w, b, y)
    return call.result(y)


def _linear_with_packed(x: Any, w: Prepacked, b: Any, out: Any, out_dtype: Any) -> Any:
    call = w.call("linear", x=x, b=b)
    x, b = call.inputs
    sizes = call.sizes(x="mk", b="n")
    if sizes["n"] != w.shape[1] or w.dtype == np.int8:
        expected = f"shape ({w.shape[1]},) to match w's {w.shape}, and a dtype of floats"
        raise ValueError(f"linear: b has shape {b.shape} and dtype {b.dtype}, expected {expected}")
    y = call.output(out, (sizes["m"], sizes["n"]), dtype=call.result_dtype(out_dtype, sums_dtype(call.dtype)))
    sums = y if y.dtype.name in FLOAT_NAMES else empty(y.shape, sums_dtype(call.dtype))
    w.multiply(x, sums)
    sums += b
    if sums is not y:
        y[...] = sums  # the one rounding
    return call.result(y)


def _linear(x: Array, w: Array, b: Array, *, out_dtype: Any = None) -> tuple[Array]:
    return (product(precise(x), precise(w)) + precise(b),)


def linear_bound(x: Array, w: Array, b: Array, *, out_dtype: Any = None) -> tuple[Array]:
    sums, magnitudes = sums_dtype(x.dtype), magnitude(x) @ magnitude(w) + magnitude(b)
    bound = sum_bound(x.shape[1] + 1, magnitudes, sums) + flushed(x, w)
    return (bound if out_dtype or x.dtype == sums else rounded_once(x.dtype, *_linear(x, w, b), bound),)


LINEAR = Contract(
    run=linear_run,
    sample=normal("mk", "kn", "n"),
    reference=_linear,
    bound=linear_bound,
    flops=lambda m, k, n: 2 * m * k * n + m * n,
    traffic=lambda itemsize, m, k, n: itemsize * (m * k + k * n + n + m * n),
    workloads=(
        *(Workload(f"square-{n}", {"m": n, "k": n, "n": n}) for n in (16, 64, 512)),
        Workload("gpt2-small-up-128", {"m": 128, "k": 768, "n": 3072}),
    ),
    reduced=HALVES,
    reduced_variations={"float32 result": lambda sample: Arguments(sample.inputs, {"out_dtype": "float32"})},
    result_dtype=lambda dtype, *, out_dtype=None: sums_dtype(dtype) if out_dtype else dtype,
)
