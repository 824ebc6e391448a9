"""The judge itself: each of these kernels is wrong in one way, and is found out."""

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes
from loopnest.lab import verify as judge_by
from loopnest.lab.verify import Case, compare, verify


def findings_of(operation, kernel, **options):
    """What `verify` says of a kernel, registered for the time of this call."""
    operation.register("wrong.kernel")(kernel)
    try:
        return verify(operation["wrong.kernel"], **options)
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


def matmul_raises_on_empty_arrays(a, b, out):
    out[...] = [[row @ column for column in b.T] for row in a]


def matmul_warns(a, b, out):
    out[...] = a @ b
    np.divide(1, np.zeros(1))


WRONG = [kernel for name, kernel in list(globals().items()) if name.startswith("matmul_") and name != "matmul_right"]


def test_a_right_kernel_passes():
    assert findings_of(ln.matmul, matmul_right) == []


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
    texts = [str(f) for f in findings_of(ln.matmul, matmul_last_row_left_out, dtypes=[np.float32])]
    assert any("float32, m=7 k=7 n=7: 7 of a result's 49 elements were never written" in text for text in texts)
    texts = [str(f) for f in findings_of(ln.matmul, matmul_zeros, dtypes=[np.float64])]
    assert any("the result[" in text and "] is 0.0, expected " in text for text in texts)


OPERATIONS_WITH_RESULTS = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@OPERATIONS_WITH_RESULTS
def test_a_kernel_that_does_nothing_is_found_out(operation):
    findings = findings_of(operation, lambda *_: None, cases=judge_by.size_cases)
    assert findings
    assert all(case.work() == 1 or str(case) for case in judge_by.size_cases(operation, np.dtype(np.float32)))


@OPERATIONS_WITH_RESULTS
@dtypes
def test_no_bound_is_so_wide_that_it_cannot_fail(operation, dtype):
    """Zeros, and results with an error of a thousand (float32) or a million (float64) roundings, are out of bounds."""
    axes = operation.contract.workloads[0].shape
    case = Case(operation, dtype, tuple(zip(axes, (7, 9, 5, 4), strict=False)))
    error = 4000 * np.finfo(dtype).eps
    for exact, bound in zip(*judge_by.exact_and_bound(case), strict=True):
        assert not compare(exact.astype(dtype), exact, bound, dtype)
        assert compare(np.zeros_like(exact, dtype), exact, bound, dtype)
        assert compare((exact * (1 + error)).astype(dtype), exact, bound, dtype)
