"""What the losses and their gradients are held to."""

from typing import Any

import numpy as np

from ...arrays import Array, Call
from ...numerics import gamma, precise, smallest, sum_bound, unit_roundoff
from ...operation import Arguments, Contract, FastPath, Kernel, Workload, normal
from ..activations.contract import run_elementwise, softmax_bound, softmax_reference
from ..linalg.contract import run_total, vectors

# --- mse: L = 1/N Σ (y - t)²


def mse_run(kernel: Kernel, y: Any, t: Any, *, out: Any = None) -> Any:
    """The mean squared error, L = 1/N · Σ (y - t)², over all N elements.

    y, t   (…) predictions and targets, of one shape

    Returns a scalar, (); NaN where there are no elements.

    >>> float(ln.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    return run_total(kernel, Call("mse", y=y, t=t), out, lambda means: np.mean(means) if means else np.nan)


def mse_reference(y: Array, t: Array) -> tuple[Array]:
    error = precise(y) - precise(t)
    return (np.asarray(np.square(error).sum() / error.size if error.size else np.nan),)


VECTORS = vectors(1_000, 65_536, 1_048_576, 16_777_216)

MSE = Contract(
    run=mse_run,
    sample=normal("n", "n"),
    reference=mse_reference,
    # All terms are positive: a rounding of the difference counts twice, then the square, n - 1 sums, the quotient.
    bound=lambda y, t: (sum_bound(y.size + 3, y.size * mse_reference(y, t)[0], y.dtype) / max(y.size, 1),),
    flops=lambda n: 3 * n,
    traffic=lambda itemsize, n: itemsize * (2 * n + 1),
    workloads=VECTORS,
    fast_path=FastPath("total"),
)


def mse_backward_run(kernel: Kernel, y: Any, t: Any, *, out: Any = None) -> Any:
    """The gradient of the mean squared error with respect to y: ∂L/∂y = 2 (y - t) / N.

    y, t   (…) predictions and targets, of one shape

    Returns an array of y's shape.

    >>> ln.mse_backward(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    array([ 0., -2.])
    """
    call = Call("mse_backward", y=y, t=t)
    return run_elementwise(kernel, call, out, call.inputs[0].size)


def mse_backward_reference(y: Array, t: Array) -> tuple[Array]:
    return (2 * (precise(y) - precise(t)) / max(y.size, 1),)


MSE_BACKWARD = Contract(
    run=mse_backward_run,
    sample=normal("n", "n"),
    reference=mse_backward_reference,
    # The difference, the factor 2/N in one or two roundings, the product.
    bound=lambda y, t: (
        sum_bound(4, 2 * np.abs(precise(y) - precise(t)), y.dtype) / max(y.size, 1) + smallest(y.dtype),
    ),
    flops=lambda n: 3 * n,
    traffic=lambda itemsize, n: itemsize * 3 * n,
    workloads=VECTORS,
)


# --- cross_entropy: L = -1/n Σ log softmax(logits)[label]


def cross_entropy_run(kernel: Kernel, logits: Any, labels: Any, *, out: Any = None) -> Any:
    """The softmax cross-entropy, L = 1/n · Σ_i ( log Σ_j exp(logits[i, j]) - logits[i, labels[i]] ).

    logits  (n, c) unnormalised log-probabilities of c classes
    labels  (n,) int64, the true class of each row, 0 <= label < c

    Returns the mean over the batch, a scalar, (); NaN for an empty batch. Each row's largest logit is subtracted first,
    so that exp does not overflow.

    >>> float(ln.cross_entropy(np.zeros((1, 4)), np.array([2])).round(4))  # log 4
    1.3863
    """
    call = _labelled("cross_entropy", logits, labels)
    logits, labels = call.inputs
    loss = call.output(out, ())
    if len(labels):
        kernel(logits, labels, loss)
    else:
        loss[()] = np.nan
    return call.result(loss)


def _labelled(operation: str, logits: Any, labels: Any) -> Call:
    call = Call(operation, integers=("labels",), logits=logits, labels=labels)
    classes, labels = call.sizes(logits="nc", labels="n")["c"], call.inputs[1]
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        i = wrong[0]
        raise ValueError(
            f"{operation}: labels[{i}] is {labels[i]}, expected 0 <= label < {classes}, the number of classes"
        )
    return call


def cross_entropy_sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
    n, c = workload.shape["n"], workload.shape["c"]
    labels = rng.integers(0, c, n) if c else np.zeros(0, np.int64)
    return Arguments(((2 * rng.standard_normal((len(labels), c))).astype(dtype), labels))


def _parts(logits: Array, labels: Array) -> tuple[Array, Array, Array]:
    """In higher precision: shifted logits, the logarithm of the sum of their exponentials, and the label's."""
    wide = precise(logits)
    with np.errstate(invalid="ignore"):
        shifted = wide - wide.max(axis=1, keepdims=True) if wide.size else wide
        return shifted, np.log(np.exp(shifted).sum(axis=1)), shifted[np.arange(len(labels)), labels]


def cross_entropy_reference(logits: Array, labels: Array) -> tuple[Array]:
    _, log_total, label = _parts(logits, labels)
    with np.errstate(invalid="ignore"):
        return (np.asarray((log_total - label).sum() / len(labels) if len(labels) else np.nan),)


def cross_entropy_bound(logits: Array, labels: Array) -> tuple[Array]:
    """Let d be a row's shifted logits and p its softmax. The sum of exp(d) has the relative error Σ p (|d| u + 2u) from
    its terms (the difference rounds, exp is within 2 ULP) and γ_c from its additions. This is the absolute error of its
    logarithm, which rounds too. The label's difference, n sums and the quotient add theirs."""
    shifted, log_total, label = _parts(logits, labels)
    n, c = logits.shape
    u = unit_roundoff(logits.dtype)
    with np.errstate(invalid="ignore"):
        p = softmax_reference(logits)
        by_terms = np.where(p > 0, p * (np.abs(shifted) + 4), 0).sum(axis=1) * u
        by_row = by_terms + gamma(c + 2, logits.dtype) + u * (3 * np.abs(log_total) + 2 * np.abs(label))
        total = by_row.sum() + sum_bound(n + 2, (np.abs(log_total) + np.abs(label)).sum(), logits.dtype)
    return (np.asarray(total / max(n, 1)),)


BATCHES = tuple(
    Workload(f"batch-{n}x{c}", {"n": n, "c": c}) for n, c in ((10, 100), (64, 1_000), (256, 1_000), (128, 50_257))
)

CROSS_ENTROPY = Contract(
    run=cross_entropy_run,
    sample=cross_entropy_sample,
    reference=cross_entropy_reference,
    bound=cross_entropy_bound,
    flops=lambda n, c: 4 * n * c,
    traffic=lambda itemsize, n, c: itemsize * (n * c + 1) + 8 * n,
    workloads=BATCHES,
)


def cross_entropy_backward_run(kernel: Kernel, logits: Any, labels: Any, *, out: Any = None) -> Any:
    """The gradient of the softmax cross-entropy with respect to the logits: (softmax(logits) - onehot(labels)) / n.

    logits  (n, c) unnormalised log-probabilities of c classes
    labels  (n,) int64, the true class of each row, 0 <= label < c

    With p = softmax(l): L_i = log Σ_j exp(l_j) - l_label, so ∂L_i/∂l_j = p_j - [j = label]; the mean divides by n.
    Returns (n, c).

    >>> ln.cross_entropy_backward(np.zeros((1, 4)), np.array([2]))
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    call = _labelled("cross_entropy_backward", logits, labels)
    logits, labels = call.inputs
    dlogits = call.output(out, logits.shape)
    if logits.size:
        kernel(logits, labels, dlogits)
    return call.result(dlogits)


def cross_entropy_backward_reference(logits: Array, labels: Array) -> tuple[Array]:
    p = softmax_reference(logits)
    p[np.arange(len(labels)), labels] -= 1
    return (p / max(len(labels), 1),)


def cross_entropy_backward_bound(logits: Array, labels: Array) -> tuple[Array]:
    """The error of p, as softmax's. Subtracting 1 and dividing by n round once each, and may underflow."""
    exact = np.abs(cross_entropy_backward_reference(logits, labels)[0])
    of_p = softmax_bound(softmax_reference(logits), logits)
    return (of_p / max(len(labels), 1) + 4 * unit_roundoff(logits.dtype) * exact + smallest(logits.dtype),)


CROSS_ENTROPY_BACKWARD = Contract(
    run=cross_entropy_backward_run,
    sample=cross_entropy_sample,
    reference=cross_entropy_backward_reference,
    bound=cross_entropy_backward_bound,
    flops=lambda n, c: 5 * n * c,
    traffic=lambda itemsize, n, c: itemsize * 2 * n * c + 8 * n,
    workloads=BATCHES,
)
