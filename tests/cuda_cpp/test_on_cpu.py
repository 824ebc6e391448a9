"""What a word of CUDA means on the CPU: each of these kernels has a result that can be worked out by hand."""

import re

import numpy as np
import pytest
from loopnest.backends import cuda_on_cpu
from loopnest.backends.compiler import BuildError
from loopnest.backends.cuda_on_cpu import CudaLaunchError, build, build_simulated, translated
from loopnest.backends.cuda_source import CudaFile, CudaSourceError, LaunchSizes, constants_of, evaluated, kernels_of

KERNELS = """
#include <cuda_runtime.h>
#include <cstdio>
#define WIDTH 16
constexpr int HALF = WIDTH / 2;

// launch: grid=(2, 3, 2) block=(4, 2, 2)
__global__ void indices(int* out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * threads + thread] = 1000 * block + thread;
}

// launch: grid=2 block=64
__global__ void reversed(const float* x, float* y) {
    __shared__ float part[64];
    part[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] = part[63 - threadIdx.x];
}

// launch: grid=2 block=32
__global__ void unwritten(float* y, double* z, int* i) {
    __shared__ float part[32];
    __shared__ double wide[32];
    __shared__ int whole[32];
    if (blockIdx.x == 0) part[threadIdx.x] = 1, wide[threadIdx.x] = 1, whole[threadIdx.x] = 1;
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = part[threadIdx.x];
    z[blockIdx.x * 32 + threadIdx.x] = wide[threadIdx.x];
    i[blockIdx.x * 32 + threadIdx.x] = whole[threadIdx.x];
}

// launch: grid=1 block=HALF shared=HALF * sizeof(float)
__global__ void dynamic(float* y) {
    extern __shared__ float part[];
    y[HALF + threadIdx.x] = part[threadIdx.x];
    part[threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = part[HALF - 1 - threadIdx.x];
}

// launch: grid=1 block=64
__global__ void shuffles(float* down, int* up, double* swapped, int* first, int* within) {
    int t = threadIdx.x;
    down[t] = __shfl_down_sync(0xffffffffu, float(t), 1);
    up[t] = __shfl_up_sync(0xffffffffu, t, 2, 8);
    swapped[t] = __shfl_xor_sync(~0u, double(t), 16);
    first[t] = __shfl_sync(~0u, t, 3, 8);
    within[t] = __shfl_down_sync(~0u, t, 3, 8);
    within[64 + t] = __shfl_xor_sync(~0u, t, 5, 4);
}

// launch: grid=1 block=48
__global__ void votes(unsigned* even, int* any, int* all, int* count, int* sum) {
    int t = threadIdx.x;
    even[t] = __ballot_sync(~0u, t % 2 == 0);
    any[t] = __any_sync(~0u, t == 40);
    all[t] = __all_sync(~0u, t < 40);
    count[t] = __syncthreads_count(t % 3 == 0);
    sum[t] = __reduce_add_sync(~0u, 1);
}

// launch: grid=1 block=32
__global__ void halves(int* y) {
    int t = threadIdx.x;
    if (t < 16) y[t] = __shfl_sync(0x0000ffffu, t, 5);
    else y[t] = __shfl_sync(0xffff0000u, t, 20);
}

// launch: grid=2 block=4
__global__ void turns(int* order, int* count) {
    int* mine = order + 8 * blockIdx.x;
    mine[atomicAdd(&count[blockIdx.x], 1)] = threadIdx.x;
    __syncthreads();
    mine[atomicAdd(&count[blockIdx.x], 1)] = threadIdx.x;
}

// launch: grid=4 block=100
__global__ void atomics(float* sum, int* most, unsigned* bits, unsigned long long* count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(sum, 0.5f);
    atomicMax(most, i * 7 % 400);
    atomicOr(bits, 1u << (i % 32));
    atomicAdd(count, 1ull);
}

// launch: grid=1 block=8
__global__ void vectors(const float* x, float* y, double* z) {
    int t = threadIdx.x;
    float4 v = reinterpret_cast<const float4*>(x)[t];
    v.x += 1;
    reinterpret_cast<float4*>(y)[t] = make_float4(v.w, v.z, v.y, v.x);
    double2 w = {double(t), 2.0 * t};
    reinterpret_cast<double2*>(z)[t] = w;
}

// launch: grid=1 block=4
__global__ void arithmetic(const float* x, float* y) {
    int t = threadIdx.x;
    float v = __ldg(x + t);
    y[t] = t == 0 ? fmaf(v, v, 1) : t == 1 ? rsqrtf(v) : t == 2 ? min(v, 2.0f) : __fdividef(v, 4);
    if (t == 0) printf("");
}

template <class T, int BY>
__global__ void scaled(const T* x, T* y, int n) {
    __shared__ T part[8];
    int i = threadIdx.x;
    part[i] = x[i];
    __syncthreads();
    if (i < n) y[i] = part[n - 1 - i] * BY;
}

void on_the_host(int* out) { indices<<<dim3(2, 3, 2), dim3(4, 2, 2)>>>(out); }

int main() {
    float *x = nullptr, *y = nullptr;
    if (cudaMalloc(&x, 4) != cudaSuccess) printf("%s", cudaGetErrorString(cudaGetLastError()));
    cudaMemcpy(x, y, 4, cudaMemcpyHostToDevice);
    scaled<float, 3><<<1, 8>>>(x, y, 8);
    reversed<<<2, 64, 0, 0>>>(
        x, y);
    return cudaDeviceSynchronize() + cudaFree(x);
}
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    file = folder / "kernels.cu"
    file.write_text(KERNELS)
    names = [k.name for k in kernels_of(KERNELS) if not k.template] + ["scaled<double, 3>"]
    return build_simulated(file, names=names)


def filled(n, dtype=np.float32, value=-7):
    return np.full(n, value, dtype)


def aligned(n, dtype=np.float32):
    memory = np.zeros(n * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n * np.dtype(dtype).itemsize].view(dtype)


def test_indices_of_threads_and_blocks(kernels):
    out = filled(12 * 16, np.int32)
    kernels.launch("indices", out)
    np.testing.assert_array_equal(out.reshape(12, 16), 1000 * np.arange(12)[:, None] + np.arange(16))


def test_a_barrier_waits_for_the_whole_block(kernels):
    x, y = np.arange(128, dtype=np.float32), filled(128)
    kernels.launch("reversed", x, y)
    np.testing.assert_array_equal(y, np.r_[x[63::-1], x[:63:-1]])


def test_shared_memory_that_a_block_has_not_written_is_nan_whatever_the_block_before_left_there(kernels):
    y, z, i = filled(64), filled(64, np.float64), filled(64, np.int32)
    kernels.launch("unwritten", y, z, i)
    assert (y[:32] == 1).all()
    assert np.isnan(y[32:]).all()
    assert np.isnan(z[32:]).all()
    assert (i[32:] == -1).all()


def test_dynamic_shared_memory(kernels):
    for _ in range(2):
        y = filled(16)
        kernels.launch("dynamic", y)
        np.testing.assert_array_equal(y[:8], np.arange(8)[::-1])
        assert np.isnan(y[8:]).all(), "what nobody has written yet"


def test_shuffles(kernels):
    t = np.arange(64)
    down, up, swapped, first = filled(64), filled(64, np.int32), filled(64, np.float64), filled(64, np.int32)
    within = filled(128, np.int32)
    kernels.launch("shuffles", down, up, swapped, first, within)
    np.testing.assert_array_equal(down, np.where(t % 32 == 31, t, t + 1))
    np.testing.assert_array_equal(up, np.where(t % 8 < 2, t, t - 2))
    np.testing.assert_array_equal(swapped, t ^ 16)
    np.testing.assert_array_equal(first, t // 8 * 8 + 3)
    np.testing.assert_array_equal(within[:64], np.where(t % 8 > 4, t, t + 3))
    np.testing.assert_array_equal(within[64:], np.where((t ^ 5) // 4 > t // 4, t, t ^ 5))


def test_votes_in_a_whole_warp_and_in_a_half_one(kernels):
    even = filled(48, np.uint32, 7)
    any_, all_, count, total = (filled(48, np.int32) for _ in range(4))
    kernels.launch("votes", even, any_, all_, count, total)
    np.testing.assert_array_equal(even, [0x55555555] * 32 + [0x5555] * 16)
    np.testing.assert_array_equal(any_, [0] * 32 + [1] * 16)
    np.testing.assert_array_equal(all_, [1] * 32 + [0] * 16)
    np.testing.assert_array_equal(count, 16)
    np.testing.assert_array_equal(total, [32] * 32 + [16] * 16)


def test_two_halves_of_a_warp_shuffle_by_themselves(kernels):
    y = filled(32, np.int32)
    kernels.launch("halves", y)
    np.testing.assert_array_equal(y, [5] * 16 + [20] * 16)


def test_atomics(kernels):
    total, most, bits, count = (np.zeros(1, dtype) for dtype in (np.float32, np.int32, np.uint32, np.uint64))
    kernels.launch("atomics", total, most, bits, count)
    assert (total[0], most[0], bits[0], count[0]) == (200, 399, 0xFFFFFFFF, 400)


def test_vectors(kernels):
    x, y, z = aligned(32), aligned(32), aligned(16, np.float64)
    x[:] = np.arange(32)
    kernels.launch("vectors", x, y, z)
    expected = x.reshape(8, 4) + np.array([1, 0, 0, 0])
    np.testing.assert_array_equal(y.reshape(8, 4), expected[:, ::-1])
    np.testing.assert_array_equal(z.reshape(8, 2), np.arange(8)[:, None] * [1, 2])


def test_arithmetic(kernels):
    y = filled(4)
    kernels.launch("arithmetic", np.array([3, 4, 5, 6], np.float32), y)
    np.testing.assert_array_equal(y, [10, 0.5, 2, 1.5])


def test_a_template_is_launched_by_its_name_expression(kernels):
    y = filled(5, np.float64)
    kernels.launch("scaled<double, 3>", np.arange(8.0), y, 5, sizes=LaunchSizes("1", "8"))
    np.testing.assert_array_equal(y, [12, 9, 6, 3, 0])


def test_which_thread_comes_first_changes_from_barrier_to_barrier_and_from_block_to_block(kernels):
    order = filled(16, np.int32)
    kernels.launch("turns", order, np.zeros(2, np.int32))
    assert order.reshape(4, 4).tolist() == [[0, 1, 2, 3], [3, 2, 1, 0], [3, 2, 1, 0], [0, 1, 2, 3]]


def test_it_is_deterministic(kernels):
    x = np.random.default_rng(3).standard_normal(128).astype(np.float32)
    results = [filled(128) for _ in range(3)]
    for y in results:
        kernels.launch("reversed", x, y)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


# --- what cannot end, or begin


def built(tmp_path, text, **options):
    file = tmp_path / "mine.cu"
    file.write_text(text)
    return build_simulated(file, **options)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "if (threadIdx.x < 32)\n __syncthreads();\nelse\n __syncthreads();",
            r"divergent barrier: .* thread 0 waits for __syncthreads\(\) in line 3, and thread \d+ for "
            r"__syncthreads\(\) in line 5",
        ),
        (
            "if (threadIdx.x < 32)\n __syncwarp(~0u);\nelse {\n __shfl_sync(1u, 1, 0);\n }",
            r"wrong mask: thread 3\d .* line 5",
        ),
        ("__trap();", r"__trap\(\) in line 2"),
        (
            "if (threadIdx.x == 0) __syncwarp(); else __syncthreads();",
            r"divergent barrier: .* waits for its warp in line 2",
        ),
    ],
)
def test_a_launch_that_cannot_end_says_why_and_where(tmp_path, body, message):
    mine = built(tmp_path, f"__global__ void f(int* x) {{\n{body}\n}}")
    with pytest.raises(CudaLaunchError, match=message):
        mine.launch("f", np.zeros(1, np.int32), sizes=LaunchSizes("1", "64"))


def test_threads_that_have_returned_are_not_waited_for(tmp_path):
    mine = built(tmp_path, "__global__ void f(int* x) {\n if (threadIdx.x > 5) return;\n __syncthreads(); x[0] = 1; }")
    x = np.zeros(1, np.int32)
    mine.launch("f", x, sizes=LaunchSizes("1", "40"))
    assert x[0] == 1


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        ("1", "1025", "0", "1 to 1024"),
        ("1", "(32, 33)", "0", "1 to 1024"),
        ("0", "32", "0", "without blocks"),
        ("(1, 70000)", "32", "0", "65535"),
        ("1", "32", "300000", "dynamic shared memory"),
    ],
)
def test_sizes_that_no_gpu_takes_are_refused(kernels, grid, block, shared, message):
    with pytest.raises(CudaLaunchError, match=message):
        kernels.launch(
            "unwritten",
            filled(64),
            filled(64, np.float64),
            filled(64, np.int32),
            sizes=LaunchSizes(grid, block, shared),
        )


def test_arguments_that_do_not_fit_are_refused(kernels):
    with pytest.raises(CudaSourceError, match="reversed was given 1 arguments, expected 2: x, y"):
        kernels.launch("reversed", filled(128))
    with pytest.raises(CudaSourceError, match=r"reversed's y is float\*, and was given an array of float64"):
        kernels.launch("reversed", filled(128), filled(128, np.float64))
    with pytest.raises(CudaSourceError, match="not in C order"):
        kernels.launch("reversed", filled(128), filled(256)[::2])
    with pytest.raises(CudaSourceError, match="has no __global__ function nobody; it has: indices, reversed"):
        kernels.launch("nobody")
    with pytest.raises(CudaSourceError, match=r"// launch: grid="):
        kernels.launch("scaled", filled(8), filled(8), 8)


def test_files_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(CudaSourceError, match="cannot be read"):
        build_simulated(tmp_path / "nowhere.cu")
    with pytest.raises(CudaSourceError, match="has no __global__ function"):
        built(tmp_path, "int f() { return 1; }")
    with pytest.raises(CudaSourceError, match=r"names=\['f<float>'\]"):
        built(tmp_path, "template <class T>\n__global__ void f(T* x) { x[0] = 1; }")


def test_a_file_that_does_not_compile_gets_the_compilers_message_with_the_line_shortened(tmp_path):
    with pytest.raises(BuildError) as error:
        built(tmp_path, "__global__ void f(float* x) {\n    x[0] = y;\n    z = 1;\n}\n")
    message = str(error.value)
    assert re.search(r"mine\.cu:2:\d+: error: .y. was not declared", message), message
    assert "x[0] = y;" in message
    assert re.search(r"mine\.cu:3:\d+: error", message)
    assert len(message.splitlines()) <= 8


# --- reading a file


def test_what_a_file_holds():
    found = {k.name: k for k in kernels_of(KERNELS)}
    assert list(found)[:3] == ["indices", "reversed", "unwritten"]
    assert found["scaled"].template
    assert found["scaled"].launch is None
    assert [str(p.name) for p in found["vectors"].parameters] == ["x", "y", "z"]
    x, y, z = found["vectors"].parameters
    assert (x.type, x.pointer, y.type, z.type) == ("float", True, "float", "double")
    assert found["dynamic"].launch.of(constants_of(KERNELS)) == ((1, 1, 1), (8, 1, 1), 32)
    assert constants_of(KERNELS) == {"WIDTH": 16, "HALF": 8}
    assert KERNELS.splitlines()[found["votes"].line - 1].startswith("__global__ void votes")


def test_kernels_in_comments_and_declarations_are_none():
    text = """
    // __global__ void no(int* x) { }
    /* __global__ void neither(int* x) { } */
    __global__ void declared(int* x);
    extern "C" __global__ void __launch_bounds__(256, 2) yes(const float* __restrict__ a, float b[], long long n) { }
    """
    (yes,) = kernels_of(text)
    assert yes.name == "yes"
    assert [(p.name, p.type, p.pointer) for p in yes.parameters] == [
        ("a", "float", True),
        ("b", "float", True),
        ("n", "long long", False),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n", (100,)),
        ("(n + 15) / 16", (7,)),
        ("((n + 31) / 32, ceil_div(m, 4), 2)", (4, 2, 2)),
        ("dim3(n, m)", (100, 7)),
        ("max(n, m) % 9 << 2", (4,)),
        ("7 / 2 + 2 * sizeof(float) * 16u", (131,)),
    ],
)
def test_sizes_are_computed_as_in_c(text, expected):
    assert evaluated(text, {"n": 100, "m": 7}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "n.real",
        "q",
        "n +",
        "2 ** 99999",
        "1 << 999999",
        "n / 0",
        "[1]",
        "1.5",
        "é",
        "ｎ",
        "()",
        "(n << 40) * (n << 40)",
        "-" * 100_000 + "1",
        "1+" * 20_000 + "1",
        "dim3(1)(2)",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_size_is_refused_and_never_run(text):
    with pytest.raises(CudaSourceError):
        evaluated(text, {"n": 100})


def test_a_launch_comment_that_lacks_something_is_refused():
    with pytest.raises(CudaSourceError, match=r"expected grid=\(…\) block=\(…\)"):
        LaunchSizes.parsed("grid=(1, 2)")


def test_a_translated_file_has_every_line_where_it_was():
    text = "a\nextern __shared__ __align__(16)\n  float part[];\nvoid f() { g<<<1,\n 2>>>(3); }\nb\n"
    new = translated(text)
    assert new.count("\n") == text.count("\n")
    assert new.splitlines()[-1] == "b"
    assert "float* const part" in new
    assert "<<<" not in new


def test_what_was_built_is_not_built_again(tmp_path, monkeypatch):
    file = tmp_path / "mine.cu"
    file.write_text("__global__ void f(int* x) { x[0] = 1; }")
    first = build(CudaFile.read(file), ["f"])
    monkeypatch.setattr(cuda_on_cpu.tempfile, "mkstemp", lambda **_: pytest.fail("compiled again"))
    assert build(CudaFile.read(file), ["f"]) == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(first.parents[2]))
    file.write_text("__global__ void f(int* x) { x[0] = 2; }")
    assert build(CudaFile.read(file), ["f"]) != first
