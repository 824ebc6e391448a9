"""The judge itself: each of these kernels is wrong in one way, and is found out."""

import functools

import loopnest as ln
import numpy as np
import pytest
from ladders import DTYPES, OPERATIONS, dtypes
from loopnest import verify as judge_by
from loopnest.verify import Case, compare, verify

SMALL = (judge_by.size_cases, judge_by.layout_cases, judge_by.special_cases)


def findings_of(operation, kernel, dtypes=DTYPES, cases=SMALL):
    """What `verify` says of a kernel, registered for the time of this call."""
    operation.register("wrong.kernel")(kernel)
    try:
        return verify(operation["wrong.kernel"], dtypes, cases)
    finally:
        operation.unregister("wrong.kernel")


def matmul_right(a, b, out):
    out[...] = a @ b


def matmul_returns_nothing(a, b, out):
    pass


def matmul_into_a_new_array(a, b, out):
    return a @ b


def matmul_zeros(a, b, out):
    out[...] = 0


def matmul_last_row_left_out(a, b, out):
    out[:-1] = (a @ b)[:-1]


def matmul_last_column_left_out(a, b, out):
    out[:, :-1] = (a @ b)[:, :-1]


def matmul_last_row_by_one_term_short(a, b, out):
    out[...] = a @ b
    out[-1:] = a[-1:, :-1] @ b[:-1]


def matmul_rest_of_eights_left_out_of_the_sum(a, b, out):
    k = a.shape[1] // 8 * 8
    out[...] = a[:, :k] @ b[:k]


def matmul_second_block_overwrites_the_first(a, b, out):
    out[...] = 0
    for p in range(0, a.shape[1], 1024):
        out[...] = a[:, p : p + 1024] @ b[p : p + 1024]


def matmul_of_the_transpose(a, b, out):
    out[...] = (a @ b).T if out.shape[0] == out.shape[1] else a @ b


def matmul_nan_dropped(a, b, out):
    out[...] = np.nan_to_num(a) @ b


def matmul_zero_factors_skipped(a, b, out):
    out[...] = 0
    for i in range(a.shape[0]):
        for p in range(a.shape[1]):
            if a[i, p] != 0:
                out[i] += a[i, p] * b[p]


def matmul_with_padding_beside_infinity(a, b, out):
    out[...] = a @ b + 0 * a[-1:, -1:].sum()


def matmul_in_half_precision(a, b, out):
    with np.errstate(all="ignore"):
        out[...] = a.astype(np.float16) @ b.astype(np.float16)


def matmul_changes_an_input(a, b, out):
    out[...] = a @ b
    if a.flags.writeable and a.size:
        a[-1, -1] += 1


def matmul_ignores_strides(a, b, out):
    rows = np.lib.stride_tricks.as_strided(a, a.shape, (a.itemsize * a.shape[1], a.itemsize))
    out[...] = (a if a.strides[0] <= 0 or a.strides[1] <= 0 else rows) @ b


def matmul_ignores_steps_of_columns(a, b, out):
    columns = np.lib.stride_tricks.as_strided(b, b.shape, (b.strides[0], b.itemsize))
    out[...] = a @ (b if min(b.strides) < b.itemsize else columns)


def matmul_writes_past_the_end(a, b, out):
    out[...] = a @ b
    longer = np.lib.stride_tricks.as_strided(out.reshape(-1), (out.size + 1,), (out.itemsize,))
    longer[-1] = 0


def matmul_reads_past_the_end(a, b, out):
    wider = np.lib.stride_tricks.as_strided(a, (a.shape[0], a.shape[1] + 1), a.strides)
    out[...] = a @ b + 0 * wider[:, -1:]


def matmul_raises_on_empty_sums(a, b, out):
    out[...] = functools.reduce(np.add, [np.outer(a[:, p], b[p]) for p in range(a.shape[1])])


def matmul_warns(a, b, out):
    out[...] = a @ b
    np.divide(1, np.zeros(1))


WRONG = [kernel for name, kernel in list(globals().items()) if name.startswith("matmul_") and name != "matmul_right"]


def test_a_right_kernel_passes():
    assert findings_of(ln.matmul, matmul_right, cases=[*SMALL, judge_by.large_cases]) == []


@dtypes
@pytest.mark.parametrize("kernel", WRONG, ids=lambda kernel: kernel.__name__.removeprefix("matmul_"))
def test_a_wrong_kernel_is_found_out(kernel, dtype):
    assert findings_of(ln.matmul, kernel, dtypes=[dtype])


def test_single_precision_is_found_out_in_a_float64_kernel():
    def in_single_precision(a, b, out):
        with np.errstate(all="ignore"):
            out[...] = a.astype(np.float32) @ b.astype(np.float32)

    assert findings_of(ln.matmul, in_single_precision, dtypes=[np.float64])
    assert findings_of(ln.matmul, in_single_precision, dtypes=[np.float32]) == []


def test_findings_name_the_case_and_the_problem():
    texts = findings_of(ln.matmul, matmul_last_row_left_out, dtypes=[np.float32])
    assert any("float32, m=7 k=7 n=7: 7 of a result's 49 elements were never written" in text for text in texts)
    texts = findings_of(ln.matmul, matmul_zeros, dtypes=[np.float64])
    assert any("the result[" in text and "] is 0.0, expected " in text for text in texts)


def kernel_of(name):
    """A right kernel, to make wrong ones of."""
    return OPERATIONS[name]["numpy"].kernel


def mlp_backward_without_db1(*args):
    kernel_of("mlp_backward")(*args)
    args[-4][...] = 0


def mlp_backward_with_db2_of_all_rows_but_the_last(dy, *args):
    kernel_of("mlp_backward")(dy, *args)
    args[-2][...] = dy[:-1].sum(axis=0)


def mlp_backward_with_db1_of_dh(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form):
    kernel_of("mlp_backward")(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form)
    db1[...] = (dy @ w2.T).sum(axis=0)


def mlp_backward_in_one_form_only(*args):
    kernel_of("mlp_backward")(*args[:-1], True)


def mlp_forward_without_b1(x, w1, b1, *args):
    kernel_of("mlp_forward")(x, w1, np.zeros_like(b1), *args)


def mlp_forward_keeps_no_h(x, w1, b1, w2, b2, z, h, y, tanh_form):
    kernel_of("mlp_forward")(x, w1, b1, w2, b2, z, np.empty_like(h), y, tanh_form)


def mlp_forward_keeps_no_h_for_the_last_token(x, w1, b1, w2, b2, z, h, y, tanh_form):
    scratch = np.empty_like(h)
    kernel_of("mlp_forward")(x, w1, b1, w2, b2, z, scratch, y, tanh_form)
    h[:-1] = scratch[:-1]


def linear_without_its_bias_in_the_last_column(x, w, b, out):
    out[...] = x @ w + b
    out[:, -1:] -= b[-1:]


def gelu_in_one_form_only(x, out, tanh_form):
    kernel_of("gelu")(x, out, False)


def gelu_that_cancels_in_its_tail(x, out, tanh_form):
    if tanh_form:
        out[...] = x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    else:
        kernel_of("gelu")(x, out, tanh_form)


def gelu_backward_without_the_second_term(x, dy, out, tanh_form):
    kernel_of("gelu")(x, out, tanh_form)
    out[...] = np.where(x == 0, 0.5, out / x) * dy


def sigmoid_that_overflows(x, out):
    out[...] = 1 / (1 + np.exp(-x))


def relu_that_loses_nan(x, out):
    out[...] = np.fmax(x, 0)


def softmax_that_overflows(x, out):
    powers = np.exp(x)
    out[...] = powers / powers.sum(axis=1, keepdims=True)


def softmax_of_columns(x, out):
    kernel_of("softmax")(x.T, out.T)


def softmax_of_all_columns_but_the_last(x, out):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    out[...] = powers / powers[:, :-1].sum(axis=1, keepdims=True)


def cross_entropy_that_overflows(logits, labels, out):
    out[...] = (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]).mean()


def cross_entropy_summed(logits, labels, out):
    kernel_of("cross_entropy")(logits, labels, out)
    out *= len(labels)


def cross_entropy_backward_of_the_next_label(logits, labels, out):
    kernel_of("cross_entropy_backward")(logits, (labels + 1) % logits.shape[1], out)


def mse_by_one_less(y, t, out):
    kernel_of("mse")(y, t, out)
    out *= y.size / max(y.size - 1, 1)


def mse_backward_without_the_factor(y, t, out, count):
    out[...] = (y - t) / count


def add_that_ignores_strides(a, b, out):
    out[...] = a + np.lib.stride_tricks.as_strided(b, b.shape, (b.itemsize * b.shape[1], b.itemsize))


def sum_of_whole_lanes(a, out):
    out[()] = a[:, : a.shape[1] // 4 * 4].sum()


def dot_of_all_but_the_last(x, y, out):
    out[()] = x[:-1] @ y[:-1]


def transpose_by_reshape(a, out):
    out[...] = a.reshape(out.shape)


def sgd_uphill(param, grad, lr):
    param += lr * grad


def momentum_that_forgets_its_velocity(param, grad, velocity, lr, mu):
    param -= lr * (mu * velocity + grad)


def rmsprop_with_eps_inside(param, grad, square_average, lr, rho, eps):
    square_average[...] = rho * square_average + (1 - rho) * grad**2
    param -= lr * grad / np.sqrt(square_average + eps)


def adam_without_bias_correction(param, grad, m, v, lr, beta1, beta2, eps, correction1, correction2, eps_inside):
    kernel_of("adam")(param, grad, m, v, lr, beta1, beta2, eps, 1.0, 1.0, eps_inside)


def adam_with_eps_outside_always(*args):
    kernel_of("adam")(*args[:-1], False)


def adam_that_changes_the_gradient(param, grad, *args):
    kernel_of("adam")(param, grad, *args)
    if grad.flags.writeable:
        grad[...] = 0


def operation_of(kernel):
    """The operation that a kernel's name starts with."""
    return OPERATIONS[max((name for name in OPERATIONS if kernel.__name__.startswith(f"{name}_")), key=len)]


WRONG_ELSEWHERE = [
    value
    for name, value in list(globals().items())
    if callable(value) and name.startswith(tuple(f"{n}_" for n in OPERATIONS.keys() - {"matmul"}))
]


@pytest.mark.parametrize("kernel", WRONG_ELSEWHERE, ids=lambda kernel: kernel.__name__)
@pytest.mark.slow
def test_wrong_kernels_of_other_operations_are_found_out(kernel):
    for dtype in (np.float32, np.float64):
        assert any(": raised" not in finding for finding in findings_of(operation_of(kernel), kernel, dtypes=[dtype]))


operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@operations
def test_a_kernel_that_does_nothing_is_found_out(operation):
    assert findings_of(operation, lambda *_: None, cases=[judge_by.size_cases])


@operations
@dtypes
def test_no_bound_is_so_wide_that_it_cannot_fail(operation, dtype):
    """Zeros, and results with an error of a thousand (float32) or a million (float64) roundings, are out of bounds."""
    axes = operation.contract.workloads[0].shape
    case = Case(operation, dtype, tuple(zip(axes, (7, 9, 5, 4), strict=False)))
    error = 4000 * np.finfo(dtype).eps
    for exact, bound in zip(*judge_by.answer_of(case), strict=True):
        assert not compare(exact.astype(dtype), exact, bound, dtype)
        assert compare(np.zeros_like(exact, dtype), exact, bound, dtype)
        assert compare((exact * (1 + error)).astype(dtype), exact, bound, dtype)
