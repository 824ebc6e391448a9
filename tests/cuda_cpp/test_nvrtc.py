"""The .cu files compiled for NVIDIA GPUs, by NVRTC without a GPU; and launched by a fake driver."""

import ctypes
import functools
import re
import sys
import types

import numpy as np
import pytest
from ladders import OPERATIONS
from loopnest.backends import cuda_device
from loopnest.backends.compiler import BuildError
from loopnest.backends.cpp import csrc
from loopnest.backends.cuda_cpp import (
    compile_cu,
    compile_file,
    compile_for_device,
    known_archs,
    why_no_nvrtc,
)
from loopnest.backends.cuda_source import kernels_of

FILES = sorted(csrc().glob("*/cuda/*.cu"))

files = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}_{file.stem}")
ptx_of = functools.cache(compile_file)
"""Each file is compiled once."""

needs_nvrtc = pytest.mark.skipif(why_no_nvrtc() is not None, reason=str(why_no_nvrtc()))


def of_each_kernel(ptx):
    """The PTX of each kernel by its name."""
    return {part.split("(")[0].split()[-1]: part for part in re.split(r"(?=\.entry )", ptx)[1:]}


@needs_nvrtc
@files
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_every_file_compiles_without_spills(file, arch):
    compiled = compile_file(file, arch=arch, kind="cubin", options=["--ptxas-options=-v"])
    assert compiled.code.startswith(b"\x7fELF")
    kernels = kernels_of(file.read_text(encoding="utf-8"))
    assert set(compiled.lowered) == {expression for k in kernels for expression in k.expressions}
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", compiled.log)
    assert len(spills) == len(compiled.lowered)
    assert set(spills) == {("0", "0", "0")}, "what should be in registers is in memory"


@needs_nvrtc
@files
def test_float32_stays_float32_and_lines_are_known(file):
    compiled = ptx_of(file)
    assert ".target sm_90" in compiled.ptx
    assert ".loc" in compiled.ptx
    kernels = of_each_kernel(compiled.ptx)
    assert set(compiled.lowered.values()) == set(kernels)
    for expression, name in compiled.lowered.items():
        if expression.endswith("<float>"):
            assert ".f64" not in kernels[name], "a double constant makes float arithmetic double's"


@needs_nvrtc
def test_matmuls_multiply_and_add_in_one_and_load_as_their_lessons_say():
    for rung in (k for k in OPERATIONS["matmul"] if k.backend == "cuda_cpp"):
        file = csrc() / rung.files[0]
        compiled = ptx_of(file)
        kernels = of_each_kernel(compiled.ptx)
        for kind, letters, lanes in (("float", "f32", "v4"), ("double", "f64", "v2")):
            ptx = kernels[compiled.lowered[f"matmul_{rung.variant}<{kind}>"]]
            shared = "tiled" in rung.variant or rung.variant in ("vectorized", "double_buffered")
            wide = rung.variant in ("vectorized", "warp_tiled", "double_buffered")
            assert f"fma.rn.{letters}" in ptx, rung
            assert ("ld.shared" in ptx, "st.shared" in ptx, "bar.sync" in ptx) == (shared,) * 3, rung
            assert (re.search(rf"ld\.global\S*\.{lanes}\.", ptx) is not None) == wide, (rung, kind)
            assert (re.search(rf"ld\.shared\S*\.{lanes}\.", ptx) is not None) == wide, (rung, kind)
            assert (re.search(rf"st\.global\S*\.{lanes}\.", ptx) is not None) == wide, (rung, kind)
            assert "ld.local" not in ptx, rung
            barriers = ptx.count("bar.sync")
            assert barriers == {"double_buffered": 2}.get(rung.variant, 2 if shared else 0), rung


@needs_nvrtc
@pytest.mark.parametrize(
    ("variant", "counts"),
    [
        ("wmma", {"wmma.mma.sync": 16, "wmma.load.a": 4, "wmma.load.b": 8, "wmma.store.d": 8, "bar.sync": 2}),
        ("mma", {"mma.sync.aligned.m16n8k16": 64, "ldmatrix.sync.aligned.m8n8.x4.shared": 8, "x4.trans": 8}),
    ],
)
def test_tensor_cores_are_used_as_their_lessons_say(variant, counts):
    compiled = ptx_of(csrc() / "matmul" / "cuda" / f"{variant}.cu")
    kernels = of_each_kernel(compiled.ptx)
    for expression, name in compiled.lowered.items():
        ptx, other = kernels[name], "f16" if "bfloat16" in expression else "bf16"
        assert {word: ptx.count(word) for word in counts} == counts
        assert not re.search(rf"mma\S*\.{other}\b", ptx), "the other format's instructions"
        assert not re.search(r"fma\.rn|ld\.local", ptx)
        assert ("cp.async.cg.shared.global" in ptx) == (variant == "mma")


@needs_nvrtc
def test_vectorized_gelu_loads_and_stores_16_bytes():
    for variant, wide in (("elementwise", False), ("vectorized", True)):
        ptx = ptx_of(csrc() / "gelu" / "cuda" / f"{variant}.cu").ptx
        assert (re.search(r"ld\.global\S*\.v4\.", ptx) is not None) == wide
        assert (re.search(r"st\.global\S*\.v4\.", ptx) is not None) == wide
        assert (re.search(r"ld\.global\S*\.v2\.", ptx) is not None) == wide


@needs_nvrtc
def test_an_error_of_nvrtc_is_shortened_and_has_the_line():
    text = "__global__ void f(float* x) {\n    x[0] = y;\n" + "".join(f"    z{i} = 1;\n" for i in range(9)) + "}\n"
    with pytest.raises(BuildError) as error:
        compile_cu(text, "mine.cu")
    message = str(error.value)
    assert message.startswith("mine.cu does not compile:\nmine.cu(2): error: identifier")
    assert "x[0] = y;" in message
    assert message.endswith("… and 7 more")
    assert len(message.splitlines()) < 14


@needs_nvrtc
def test_what_cannot_be_compiled_for_is_refused():
    with pytest.raises(ValueError, match=r"arch is 'sm_20', expected one that NVRTC knows: sm_"):
        compile_cu("", "mine.cu", arch="sm_20")
    with pytest.raises(ValueError, match="arch is 'H100'"):
        compile_cu("", "mine.cu", arch="H100")
    assert "sm_90" in known_archs()
    with pytest.raises(ValueError, match="kind='ptx'"):
        _ = compile_cu("__global__ void f() {}", "mine.cu", kind="cubin").ptx


@needs_nvrtc
def test_a_gpu_that_nvrtc_does_not_know_gets_ptx_of_the_newest_that_it_knows():
    file = csrc() / "matmul" / "cuda" / "naive.cu"
    assert compile_for_device(file, "sm_90").kind == "cubin"
    compiled = compile_for_device(file, "sm_999")
    assert (compiled.kind, compiled.arch) == ("ptx", known_archs()[-1])


@needs_nvrtc
def test_macros_and_options_are_taken():
    text = "#include <cuda_runtime.h>\n__global__ void f(int* x) { x[0] = SIZE; }"
    assert "4711" in compile_cu(text, "mine.cu", options=["--define-macro=SIZE=4711", "--maxrregcount=32"]).ptx


def test_without_nvrtc_the_reason_has_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert why_no_nvrtc() == "cuda-bindings is not installed: pip install 'loopnest[cuda]'"
    with pytest.raises(BuildError, match=r"mine\.cu cannot be compiled: cuda-bindings is not installed"):
        compile_cu("", "mine.cu")


# --- a fake driver: its memory is the host's, and its launches are simulated


class FakeDriver(types.ModuleType):
    """The part of cuda.bindings.driver that launches use; it checks the calls as a driver does."""

    class CUdevice_attribute:
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = "major"
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = "minor"

    class CUfunction_attribute:
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = "shared"

    def __init__(self, files=FILES):
        super().__init__("driver")
        self.calls, self.memory, self.current, self.most_shared = [], {}, None, {}
        self.kernels = {
            lowered: (file, expression, len(kernel.parameters))
            for file in files
            for kernel in kernels_of(file.read_text(encoding="utf-8"))
            for expression, lowered in ptx_of(file).lowered.items()
            if expression.startswith(kernel.name + "<")
        }

    def ok(self, *values):
        return (Status(0), *values)

    def cuInit(self, flags):
        return self.ok()

    def cuDeviceGetCount(self):
        return self.ok(1)

    def cuDeviceGet(self, number):
        return self.ok("device")

    def cuDevicePrimaryCtxRetain(self, device):
        return self.ok("context")

    def cuDeviceGetAttribute(self, which, device):
        return self.ok({"major": 9, "minor": 0}[which])

    def cuCtxSetCurrent(self, context):
        self.current = context
        return self.ok()

    def cuCtxSynchronize(self):
        self.calls.append("synchronize")
        return self.ok()

    def cuMemAlloc(self, size):
        assert self.current == "context"
        assert size > 0
        memory = cuda_device._SIMULATED.allocate(size)
        self.memory[memory[1]] = memory[0]
        return self.ok(memory[1])

    def cuMemFree(self, pointer):
        del self.memory[pointer]
        return self.ok()

    def cuMemcpyHtoD(self, pointer, host, size):
        ctypes.memmove(pointer, host, size)
        return self.ok()

    def cuMemcpyDtoH(self, host, pointer, size):
        assert self.calls[-1] == "synchronize"
        ctypes.memmove(host, pointer, size)
        return self.ok()

    def cuModuleLoadData(self, code):
        assert code.startswith(b"\x7fELF")
        return self.ok(code)

    def cuModuleGetFunction(self, module, name):
        assert name in module
        return self.ok(name.decode())

    def cuFuncSetAttribute(self, function, attribute, value):
        assert attribute == "shared"
        self.most_shared[function] = value
        return self.ok()

    def cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        assert shared <= self.most_shared.get(function, 48 << 10)
        file, expression, count = self.kernels[function]
        addresses = (ctypes.c_void_p * count).from_address(parameters)
        library = ctypes.CDLL(str(cuda_device._for_cpu(file).library))
        why = ctypes.create_string_buffer(600)
        sizes = (ctypes.c_uint * 6)(gx, gy, gz, bx, by, bz)
        failed = library.loopnest_launch(expression.encode(), sizes, shared, addresses, 0, why, ctypes.c_size_t(600))
        self.calls.append(expression)
        return (Status(failed),)


class Status(int):
    name = "CUDA_ERROR_OF_THE_TEST"


def installed(driver, monkeypatch):
    """The driver, in the place of CUDA's."""
    monkeypatch.setattr("cuda.bindings.driver", driver, raising=False)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    gpu = cuda_device._Gpu()
    monkeypatch.setattr(cuda_device, "_gpu", lambda: gpu)
    monkeypatch.setattr("loopnest.backends._no_nvrtc_or_device", lambda: None)
    return driver


@pytest.fixture
def fake_driver(monkeypatch):
    return installed(FakeDriver(), monkeypatch)


@needs_nvrtc
def test_rungs_run_through_the_drivers_calls(fake_driver):
    rng = np.random.default_rng(5)
    for dtype, rtol in ((np.float32, 1e-4), (np.float64, 1e-12)):
        a, b = rng.standard_normal((21, 30)).astype(dtype), rng.standard_normal((30, 9)).astype(dtype)
        for variant in ("tiled", "double_buffered"):
            rung = OPERATIONS["matmul"][f"cuda_cpp.{variant}"]
            assert rung.available()
            assert not rung.simulated()
            for left, right in ((a, b), (a.T.copy().T, b[:, ::-1][:, ::-1])):
                np.testing.assert_allclose(rung(left, right), a @ b, rtol=rtol, atol=rtol)
    a, b = (rng.integers(-9, 9, shape).astype(np.float16) for shape in ((21, 80), (80, 9)))
    for variant in ("wmma", "mma"):
        wide = OPERATIONS["matmul"][f"cuda_cpp.{variant}"](a, b, out_dtype="float32")
        np.testing.assert_array_equal(wide, a.astype(np.float32) @ b.astype(np.float32))
    x, w1, b1, w2, b2 = (rng.standard_normal(shape) for shape in ((5, 7), (7, 11), (11,), (11, 3), (3,)))
    expected = OPERATIONS["mlp_forward"](x, w1, b1, w2, b2)[0]
    np.testing.assert_allclose(OPERATIONS["mlp_forward"](x, w1, b1, w2, b2, impl="cuda_cpp")[0], expected, rtol=1e-10)
    assert "mlp_bias_gelu<double>" in fake_driver.calls
    assert fake_driver.memory == {}, "memory that was not freed"


@needs_nvrtc
def test_an_error_of_the_driver_is_reported(fake_driver):
    fake_driver.cuMemAlloc = lambda size: (Status(2), None)
    fake_driver.cuMemAlloc.__name__ = "cuMemAlloc"
    with pytest.raises(RuntimeError, match="cuMemAlloc failed: CUDA_ERROR_OF_THE_TEST"):
        OPERATIONS["matmul"](np.ones((2, 2)), np.ones((2, 2)), impl="cuda_cpp.tiled")


def test_without_a_driver_there_is_a_reason():
    if cuda_device.why_no_device() is None:
        pytest.skip("there is a GPU here")
    assert len(cuda_device.why_no_device().splitlines()) == 1
