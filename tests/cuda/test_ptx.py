"""numba.cuda's kernels compiled to PTX for an H100, which takes the extra and no GPU."""

import importlib.util

import pytest
from loopnest import OPERATIONS
from loopnest.backends import cuda_simulated

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("numba_cuda") is None,
        reason="numba-cuda is not installed: pip install 'loopnest[cuda]'",
    ),
    pytest.mark.skipif(cuda_simulated(), reason="the simulator compiles nothing"),
]


RUNGS = [k for operation in OPERATIONS.values() for k in operation if k.backend == "cuda"]

rungs = pytest.mark.parametrize("rung", RUNGS, ids=lambda k: f"{k.operation.name}-{k.id}")
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def ptx_of(rung, dtype):
    """The PTX of each kernel that a rung launches on its smallest workload, by the kernel's name."""
    from loopnest.inspect.in_cuda import compiled, launches_of

    launches = launches_of(rung, rung.operation.contract.workloads[0], dtype)
    return {launch.name: compiled(launch, (9, 0))[1] for launch in launches}


@rungs
@dtypes
def test_every_kernel_compiles(rung, dtype):
    for ptx in ptx_of(rung, dtype).values():
        assert ".target sm_90" in ptx
        assert ".entry" in ptx
        assert ".loc" in ptx, "line information"
        if dtype == "float32":
            assert ".f64" not in ptx.replace("cvt.rn.f32.f64", ""), "a float64 constant makes all around it float64"


@dtypes
def test_matmuls_multiply_and_add_in_one_and_tiles_are_shared(dtype):
    fma = "fma.rn.f32" if dtype == "float32" else "fma.rn.f64"
    for rung in OPERATIONS["matmul"]:
        if rung.backend == "cuda":
            (ptx,) = ptx_of(rung, dtype).values()
            shared = "tiled" in rung.variant or rung.variant == "double_buffered"
            assert fma in ptx, rung
            assert ("ld.shared" in ptx, "st.shared" in ptx, "bar.sync" in ptx) == (shared,) * 3, rung
