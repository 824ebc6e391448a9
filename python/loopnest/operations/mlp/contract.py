"""What the MLP and its gradients are held to."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...arrays import HALVES, Array, Call
from ...numerics import flushed, gamma, largest, magnitude, precise, product, rounded_once, sum_bound, sums_dtype
from ...operation import Arguments, Contract, Kernel, Workload
from ..gelu.contract import VARIATIONS, exact_gelu, exact_gelu_backward, gelu_backward_error, gelu_error, is_tanh


@dataclass(frozen=True, eq=False)
class MLPCache:
    """What mlp_forward keeps for mlp_backward: its inputs and intermediate results, not copied.

    x, w1, w2    as they were given
    z            (t, h) x @ w1 + b1
    h            (t, h) gelu(z)
    approximate  GELU's form
    """

    x: Any
    w1: Any
    w2: Any
    z: Any
    h: Any
    approximate: str


def forward_run(
    kernel: Kernel, x: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, approximate: str = "tanh", out: Any = None
) -> Any:
    """The transformer's MLP, y = gelu(x @ w1 + b1) @ w2 + b2.

    x            (t, d) t tokens of d features
    w1, b1       (d, h), (h,) the layer into the h hidden features
    w2, b2       (h, e), (e,) the layer out of them; e = d in a transformer
    approximate  GELU's form, "tanh" or "none" (the exact one, by erf)

    Returns (y, cache): y (t, e), for which `out` may be given, and the MLPCache that mlp_backward takes, with
    z = x @ w1 + b1 and h = gelu(z), two new (t, h) arrays.

    Reduced precision: all inputs may be bfloat16 or float16. Sums are float32, and z, h and y are each rounded once to
    the inputs' dtype. h is rounded before the second product, as in torch and JAX. GELU may be taken of z before or
    after its rounding. There is no mlp_backward in reduced precision.

    Vaswani et al., Attention Is All You Need (2017), §3.3, with the GELU of Radford et al. (2019).

    >>> x, w1, b1, w2, b2 = np.ones((4, 2)), np.ones((2, 8)), np.zeros(8), np.ones((8, 2)), np.ones(2)
    >>> y, cache = ln.mlp_forward(x, w1, b1, w2, b2)
    >>> y.shape, cache.z.shape
    ((4, 2), (4, 8))
    """
    tanh_form = is_tanh("mlp_forward", approximate)
    call = Call("mlp_forward", reduced=HALVES, x=x, w1=w1, b1=b1, w2=w2, b2=b2)
    sizes = call.sizes(x="td", w1="dh", b1="h", w2="he", b2="e")
    t, h, e = (sizes[axis] for axis in "the")
    y = call.output(out, (t, e))
    z, hidden = call.output(None, (t, h)), call.output(None, (t, h))
    if z.size or y.size:
        kernel(*call.inputs, z, hidden, y, tanh_form)
    return call.result(y), MLPCache(x, w1, w2, call.result(z), call.result(hidden), approximate)


def backward_run(kernel: Kernel, dy: Any, cache: MLPCache, *, out: Any = None) -> Any:
    """The gradients of the transformer's MLP by its input, weights and biases.

    dy     (t, e) the gradient of the loss by y
    cache  the MLPCache that mlp_forward returned

    Returns (dx, dw1, db1, dw2, db2), of the shapes of x, w1, b1, w2, b2: (t, d), (d, h), (h,), (h, e), (e,). `out` is a
    tuple of five arrays.

    The derivation. The forward pass is z = x w1 + b1, h = gelu(z), y = h w2 + b2, for a loss L(y) with dy = ∂L/∂y.
    Write each product as a sum and apply the chain rule, from the end back:

        y[i,k] = Σ_j h[i,j] w2[j,k] + b2[k]        so, summing over every path from a variable to L,
        db2[k]   = Σ_i dy[i,k]                     (e,)     b2[k] is added in every row
        dw2[j,k] = Σ_i h[i,j] dy[i,k]              (h, e)   dw2 = hᵀ dy
        dh[i,j]  = Σ_k dy[i,k] w2[j,k]             (t, h)   dh = dy w2ᵀ
        dz[i,j]  = dh[i,j] · gelu'(z[i,j])         (t, h)   gelu acts on each element alone
        db1[j]   = Σ_i dz[i,j]                     (h,)
        dw1[l,j] = Σ_i x[i,l] dz[i,j]              (d, h)   dw1 = xᵀ dz
        dx[i,l]  = Σ_j dz[i,j] w1[l,j]             (t, d)   dx = dz w1ᵀ

    Each gradient of a matrix has that matrix's shape, which leaves only one way to order and transpose the factors.

    >>> x, w1, b1, w2, b2 = np.ones((4, 2)), np.ones((2, 8)), np.zeros(8), np.ones((8, 2)), np.ones(2)
    >>> y, cache = ln.mlp_forward(x, w1, b1, w2, b2)
    >>> dx, dw1, db1, dw2, db2 = ln.mlp_backward(np.ones_like(y), cache)
    >>> db2
    array([4., 4.])
    """
    if not isinstance(cache, MLPCache):
        raise TypeError(
            f"mlp_backward: cache is a {type(cache).__name__}, expected the MLPCache that mlp_forward returns"
        )
    tanh_form = is_tanh("mlp_backward", cache.approximate)
    call = Call("mlp_backward", dy=dy, x=cache.x, w1=cache.w1, w2=cache.w2, z=cache.z, h=cache.h)
    sizes = call.sizes(x="td", w1="dh", w2="he", z="th", h="th", dy="te")
    t, d, h, e = (sizes[axis] for axis in "tdhe")
    shapes = {"dx": (t, d), "dw1": (d, h), "db1": (h,), "dw2": (h, e), "db2": (e,)}
    out = (None,) * 5 if out is None else out
    if not isinstance(out, tuple) or len(out) != 5:
        was = f"a tuple of {len(out)}" if isinstance(out, tuple) else f"a {type(out).__name__}"
        raise TypeError(f"mlp_backward: out is {was}, expected a tuple of five arrays, (dx, dw1, db1, dw2, db2)")
    results = [
        call.output(given, shape, f"out's {name}") for given, (name, shape) in zip(out, shapes.items(), strict=True)
    ]
    if any(result.size for result in results):
        kernel(*call.inputs, *results, tanh_form)
    return tuple(call.result(result) for result in results)


# --- inputs, and what is exact


def _layers(workload: Workload, dtype: Any, rng: np.random.Generator) -> tuple[Array, ...]:
    """x of unit size, and weights that keep it so (He et al. 2015 without the 2)."""
    t, d, h, e = (workload.shape[axis] for axis in "tdhe")
    shapes = (t, d), (d, h), (h,), (h, e), (e,)
    scales = 1, max(d, 1) ** -0.5, 1, max(h, 1) ** -0.5, 1
    return tuple(
        (scale * rng.standard_normal(shape)).astype(dtype) for shape, scale in zip(shapes, scales, strict=True)
    )


def forward_reference(*arrays: Array, approximate: str = "tanh") -> tuple[Array, Array, Array]:
    """y, and the cache's z and h."""
    x, w1, b1, w2, b2 = map(precise, arrays)
    z = product(x, w1) + b1
    h = exact_gelu(z, approximate)
    return product(h, w2) + b2, z, h


def forward_bound(*arrays: Array, approximate: str = "tanh") -> tuple[Array, Array, Array]:
    """z is a sum of d + 1 terms. |gelu'| < 1.13, so z's error passes to h nearly unchanged, and gelu adds its own. y is
    a sum of h + 1 terms, and h's error goes through w2. Each is rounded to the inputs' dtype, where that is not the
    sums'; a z that may overflow then leaves its row open, since gelu(-inf) is NaN."""
    own, dtype = arrays[0].dtype, sums_dtype(arrays[0].dtype)
    x, w1, b1, w2, b2 = map(magnitude, arrays)
    d, h = w1.shape
    y, z, hidden = forward_reference(*arrays, approximate=approximate)
    z_error = rounded_once(own, z, sum_bound(d + 1, x @ w1 + b1, dtype) + flushed(*arrays[:2]))
    h_error = rounded_once(own, hidden, 1.13 * z_error + gelu_error(z, dtype, approximate).astype(np.float64))
    y_error = sum_bound(h + 1, (magnitude(hidden) + h_error) @ w2 + b2, dtype) + h_error @ w2
    if own != dtype:
        y_error = rounded_once(own, y, y_error + flushed(hidden.astype(own), arrays[3]))
        overflows = np.abs(z) + z_error > largest(own)
        h_error = np.where(overflows, np.inf, h_error)
        y_error = np.where(overflows.any(axis=1, keepdims=True), np.inf, y_error)
    return y_error, z_error, h_error


def backward_sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
    x, w1, b1, w2, _ = _layers(workload, dtype, rng)
    z = (x.astype(np.float64) @ w1 + b1).astype(dtype)
    h = exact_gelu(z.astype(np.float64), "tanh").astype(dtype)
    dy = rng.standard_normal((workload.shape["t"], workload.shape["e"])).astype(dtype)
    return Arguments((dy, MLPCache(x, w1, w2, z, h, "tanh")))


def _slope(cache: MLPCache) -> Array:
    """gelu'(z)."""
    return exact_gelu_backward(cache.z, np.ones_like(cache.z), approximate=cache.approximate)


def backward_reference(dy: Array, cache: MLPCache) -> tuple[Array, ...]:
    x, w1, w2, h, dy = (precise(array) for array in (cache.x, cache.w1, cache.w2, cache.h, dy))
    dz = product(dy, w2.T) * _slope(cache)
    return product(dz, w1.T), product(x.T, dz), dz.sum(axis=0), product(h.T, dy), dy.sum(axis=0)


def backward_bound(dy: Array, cache: MLPCache) -> tuple[Array, ...]:
    """dh is a sum of e terms. dz has |gelu'| times dh's error, and |dh| times the error of gelu'. The sums over dz add
    their own errors to dz's."""
    dtype, (t, e) = dy.dtype, dy.shape
    x, w1, w2, h, wide = map(magnitude, (cache.x, cache.w1, cache.w2, cache.h, dy))
    slope = _slope(cache)
    dh, dh_error = magnitude(product(precise(dy), precise(cache.w2).T)), sum_bound(e, wide @ w2.T, dtype)
    slope_error = gelu_backward_error(slope, cache.z, np.ones_like(cache.z), approximate=cache.approximate)
    slope, slope_error = magnitude(slope), np.asarray(slope_error, np.float64)
    dz = dh * slope
    dz_error = (dh + dh_error) * slope_error + dh_error * slope + gamma(2, dtype) * dz
    size = dz + dz_error
    return (
        dz_error @ w1.T + sum_bound(len(w2), size @ w1.T, dtype),
        x.T @ dz_error + sum_bound(t, x.T @ size, dtype),
        dz_error.sum(axis=0) + sum_bound(t, size.sum(axis=0), dtype),
        sum_bound(t, h.T @ wide, dtype),
        sum_bound(t, wide.sum(axis=0), dtype),
    )


SIZES = {"mlp-4x16x64": (4, 16, 64), "mlp-16x64x256": (16, 64, 256), "mlp-64x256x1024": (64, 256, 1024)}
SIZES |= {f"gpt2-small-mlp-{tokens}": (tokens, 768, 3072) for tokens in (1, 32, 128, 512)}
WORKLOADS = tuple(Workload(name, {"t": t, "d": d, "h": h, "e": d}) for name, (t, d, h) in SIZES.items())

FORWARD = Contract(
    run=forward_run,
    sample=lambda *how: Arguments(_layers(*how)),
    reference=forward_reference,
    bound=forward_bound,
    # The two products and their biases, and 8 for each gelu.
    flops=lambda t, d, h, e: 2 * t * h * (d + e) + t * (h + e) + 8 * t * h,
    traffic=lambda itemsize, t, d, h, e: itemsize * (t * d + d * h + h + h * e + e + 2 * t * h + t * e),
    workloads=WORKLOADS,
    results=lambda returned: (returned[0], returned[1].z, returned[1].h),
    outs=1,
    variations=VARIATIONS,
    reduced=HALVES,
)

BACKWARD = Contract(
    run=backward_run,
    sample=backward_sample,
    reference=backward_reference,
    bound=backward_bound,
    # Four products, two sums for the biases, and 16 for each gelu'.
    flops=lambda t, d, h, e: 4 * t * h * (d + e) + t * (h + e) + 16 * t * h,
    traffic=lambda itemsize, t, d, h, e: itemsize * (t * e + 2 * (t * d + d * h + h * e) + 2 * t * h + h + e),
    workloads=WORKLOADS,
    variations={
        "approximate='none'": lambda call: Arguments((call.inputs[0], replace(call.inputs[1], approximate="none")))
    },
)
