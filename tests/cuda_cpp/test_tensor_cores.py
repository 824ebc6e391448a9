"""The instructions of a warp and asynchronous copies, simulated: as PTX documents them, with every misuse shown."""

import loopnest as ln
import numpy as np
import pytest
from loopnest import verify as judge_by
from loopnest.arrays import dtype_called
from loopnest.backends import cuda_device
from loopnest.backends.cpp import csrc
from loopnest.backends.cuda_device import launch, on_device, to_device, to_host
from loopnest.backends.cuda_on_cpu import CudaLaunchError, build_simulated

RUNGS = [ln.matmul[f"cuda_cpp.{variant}"] for variant in ("wmma", "mma")]

pytestmark = pytest.mark.usefixtures("simulated")

# PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": the row and column of a thread's i-th element.
KERNELS = """
#include "cuda/tensor_cores.hpp"

// launch: grid=1 block=32
__global__ void fragments(const unsigned short* a, const unsigned short* b, float* c) {
    const int group = threadIdx.x >> 2, in_group = threadIdx.x % 4;
    unsigned short of_a[8], of_b[4];
    for (int i = 0; i < 8; ++i) {
        const int row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
        const int col = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
        of_a[i] = a[row * 16 + col];
    }
    for (int i = 0; i < 4; ++i) of_b[i] = b[(in_group * 2 + (i & 1) + (i < 2 ? 0 : 8)) * 8 + group];
    AFragment a_part;
    BFragment b_part;
    CFragment sums;
    for (int i = 0; i < 4; ++i) a_part.pairs[i] = of_a[2 * i] | of_a[2 * i + 1] << 16;
    for (int i = 0; i < 2; ++i) b_part.pairs[i] = of_b[2 * i] | of_b[2 * i + 1] << 16;
    for (int i = 0; i < 4; ++i) sums.sums[i] = c[(group + (i < 2 ? 0 : 8)) * 8 + in_group * 2 + (i & 1)];
    multiply_add(sums, a_part, b_part, TYPE{});
    for (int i = 0; i < 4; ++i) c[(group + (i < 2 ? 0 : 8)) * 8 + in_group * 2 + (i & 1)] = sums.sums[i];
}

// launch: grid=1 block=32
__global__ void matrices(const unsigned short* x, unsigned* rows, unsigned* columns, int shift) {
    __shared__ __align__(16) unsigned short part[256 + 8];
    for (int i = threadIdx.x; i < 256; i += 32) part[i] = x[i];
    __syncthreads();
    unsigned pairs[4];
    ldmatrix(pairs, &part[8 * threadIdx.x + shift]);
    for (int i = 0; i < 4; ++i) rows[32 * i + threadIdx.x] = pairs[i];
    ldmatrix_transposed(pairs, &part[8 * threadIdx.x]);
    for (int i = 0; i < 4; ++i) columns[32 * i + threadIdx.x] = pairs[i];
}

// launch: grid=1 block=1
__global__ void copies(const float* x, float* y) {
    __shared__ __align__(16) float part[3][4];
    for (int i = 0; i < 3; ++i) {
        cp_async(part[i], x + 4 * i, 16 - 4 * i);
        cp_async_commit();
    }
    for (int i = 0; i < 12; ++i) y[i] = part[0][i];
    cp_async_wait<1>();
    for (int i = 0; i < 12; ++i) y[12 + i] = part[0][i];
    cp_async_wait<0>();
    for (int i = 0; i < 12; ++i) y[24 + i] = part[0][i];
}
"""


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def kernels(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("kernels") / "kernels.cu"
    file.write_text(KERNELS.replace("TYPE", request.param))
    return build_simulated(file), dtype_called(request.param)


def aligned(values):
    memory = np.zeros(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    made = memory[start : start + values.nbytes].view(values.dtype)
    made[:] = values.ravel()
    return made


def test_fragments_lie_as_ptx_documents(kernels):
    simulated, dtype = kernels
    rng = np.random.default_rng(1)
    a, b, c = (rng.integers(-99, 99, shape).astype(np.float32) for shape in ((16, 16), (16, 8), (16, 8)))
    sums = c.copy()
    simulated.launch("fragments", a.astype(dtype).view("u2"), b.astype(dtype).view("u2"), sums)
    np.testing.assert_array_equal(sums, c + a @ b)


def test_all_numbers_are_widened_exactly_and_sums_are_cut_off(kernels):
    simulated, dtype = kernels
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)[::7]
    with np.errstate(invalid="ignore"):  # of signalling NaN
        every = every[np.isfinite(every)]
    one, every = np.eye(16, 8, dtype=dtype), every[: every.size // 256 * 256].reshape(-1, 16, 16)
    for a in every[::4]:
        sums = np.zeros((16, 8), np.float32)
        simulated.launch("fragments", a.view("u2"), one.view("u2"), sums)
        np.testing.assert_array_equal(sums, a[:, :8].astype(np.float32))
    a, b = np.zeros((16, 16), dtype), np.zeros((16, 8), dtype)
    a[:, 0], b[0] = 2.0**-12, 1.75 * 2.0**-12
    sums = np.array([1, -1] * 64, np.float32).reshape(16, 8)
    simulated.launch("fragments", a.view("u2"), b.view("u2"), sums)
    np.testing.assert_array_equal(sums[:, ::2], 1)  # the nearest number is 1 + 2^-23
    assert (sums[:, 1::2] > -1).all()


def test_ldmatrix_gives_each_lane_its_pair_of_four_matrices_and_of_the_transposed_ones(kernels):
    simulated, _ = kernels
    x = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    rows, columns = np.zeros((4, 8, 4), np.uint32), np.zeros((4, 8, 4), np.uint32)
    simulated.launch("matrices", x.ravel().copy(), rows, columns, 0)
    np.testing.assert_array_equal(rows.view(np.uint16).reshape(4, 8, 8), x)
    np.testing.assert_array_equal(columns.view(np.uint16).reshape(4, 8, 8), x.transpose(0, 2, 1))
    line = KERNELS[: KERNELS.index("ldmatrix(")].count("\n") + 1
    with pytest.raises(CudaLaunchError, match=rf"__trap\(\) in line {line}"):
        simulated.launch("matrices", x.ravel().copy(), rows, columns, 1)


def test_copies_arrive_when_they_are_waited_for_and_not_before(kernels):
    simulated, _ = kernels
    x = np.arange(1, 13, dtype=np.float32)
    arrived = x * [1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0]
    y = np.zeros((3, 12), np.float32)
    simulated.launch("copies", aligned(x), y)
    assert np.isnan(y[0]).all()
    np.testing.assert_array_equal(y[1], [*arrived[:8], *[np.nan] * 4])
    np.testing.assert_array_equal(y[2], arrived)


A_PLACE = "place<DEPTH>(y + 16 * i + lane % 16, p + lane / 16 * WIDE)"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("cp_async_wait<STAGES - 2>()", "cp_async_wait<STAGES - 1>()"),
        ("if (step + STAGES - 1 < steps) copy(step + STAGES - 1)", "if (step + STAGES < steps) copy(step + STAGES)"),
        (A_PLACE, "(y + 16 * i + lane % 16) * DEPTH + p + lane / 16 * WIDE"),
        (A_PLACE, "place<DEPTH>(y + 16 * i + lane % 16, p + lane / 8 % 2 * WIDE)"),
        ("__syncthreads();", ";"),
    ],
    ids=["too early", "a stage too few", "not swizzled", "wrong half", "no barrier"],
)
def test_an_error_in_mma_shows(tmp_path, right, wrong):
    text = (csrc() / "matmul" / "cuda" / "mma.cu").read_text(encoding="utf-8")
    assert right in text
    file = tmp_path / "mma.cu"
    file.write_text(text.replace(right, wrong))
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-9, 9, shape).astype(np.float16) for shape in ((40, 264), (264, 72)))
    result = np.empty((40, 72), np.float32)
    on = on_device(result.shape, result.dtype)
    launch(file, "matmul_mma", to_device(a), to_device(b), on)
    to_host(on, result)
    assert not np.array_equal(result, a.astype(np.float32) @ b.astype(np.float32))


def test_a_gpu_without_these_instructions_is_a_reason(monkeypatch):
    assert all(k.why_unavailable() is None for k in RUNGS)
    monkeypatch.setattr(cuda_device._SIMULATED, "arch", "sm_75")
    assert {k.why_unavailable() for k in RUNGS} == {"it needs compute capability 8.0, and this GPU has 7.5"}


@pytest.mark.parametrize("rung", RUNGS, ids=lambda k: k.variant)
@pytest.mark.parametrize("layouts", [("in C order",), ("in Fortran order",)], ids=str)
def test_warps_whose_part_is_at_the_edge_or_beyond_it(rung, layouts):
    """Two blocks down and two across; the last ones have warps without a part of c."""
    shape = (("m", 200), ("k", 72), ("n", 328))
    assert judge_by.judge(rung, judge_by.Case(ln.matmul, dtype_called("bfloat16"), shape, layouts)) == []
