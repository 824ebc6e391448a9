"""Looking into GPU kernels without a GPU: PTX and SASS read rightly, registers, launches and occupancy shown."""

import functools
import importlib.util
import json
import math
import re

import loopnest as ln
import pytest
from click.testing import CliRunner
from loopnest.backends import cuda_simulated
from loopnest.cli import main
from loopnest.inspect import InspectError, Request
from loopnest.inspect.cubin import (
    assemble,
    disassemble,
    read_report,
    why_no_assembler,
    why_no_disassembler,
)
from loopnest.inspect.gpu_code import read_ptx, read_sass
from loopnest.learn import lessons

needs_numba_cuda = [
    pytest.mark.skipif(
        importlib.util.find_spec("numba_cuda") is None,
        reason="numba-cuda is not installed: pip install 'loopnest[cuda]'",
    ),
    pytest.mark.skipif(cuda_simulated(), reason="the simulator compiles nothing"),
]
needs_nvdisasm = pytest.mark.skipif(
    bool(why_no_assembler() or why_no_disassembler()), reason=str(why_no_assembler() or why_no_disassembler())
)


def marked(*marks):
    def mark(test):
        for one in (*needs_numba_cuda, *marks):
            test = one(test)
        return test

    return mark


@functools.cache
def listings(operation, impl, aspect, dtype="float32", **options):
    from loopnest.inspect import inspect

    return inspect(ln.OPERATIONS[operation][impl], aspect, dtype=dtype, measure=False, **options).listings


# --- text that is known


PTX = """
.visible .entry product(
	.param .u64 a, .param .u64 b
)
{
	.reg .f32 	%f<9>;
	ld.param.u64 	%rd1, [a];
	.loc	1 10 3
	setp.lt.s32 	%p1, %r1, 1;
	@%p1 bra 	$L__BB0_3;
$L__BB0_2:
	.loc	1 12 5
	ld.global.f32 	%f1, [%rd1];
	ld.shared.v4.f32 	{%f2, %f3, %f4, %f5}, [%rd2];
	.loc	1 13 5
	fma.rn.f32 	%f6, %f1, %f2, %f6;
	fma.rn.f32 	%f6, %f1, %f3, %f6;
	fma.rn.f32 	%f7, %f1, %f4, %f7;
	mul.f32 	%f8, %f1, %f5;
	bar.sync 	0;
	ex2.approx.f32 	%f8, %f8;
	add.s32 	%r1, %r1, -1;
	setp.ne.s32 	%p2, %r1, 0;
	@%p2 bra 	$L__BB0_2;
$L__BB0_3:
	st.global.f32 	[%rd1], %f6;
	ret;
}
	.file	1 "/somewhere/product.py"
"""


def test_ptx_is_counted_line_by_line():
    code = read_ptx(PTX, "product")
    label, *loop = [line for line in code.lines if line.hot]
    kinds = [line.kind for line in loop]
    assert label.text == "$L__BB0_2:"
    assert kinds[:6] == ["load", "load", "fma", "fma", "fma", "multiply"]
    assert kinds[6:] == ["barrier", "special", "scalar", "scalar", "branch"]
    assert loop[2].source == ("/somewhere/product.py", 13)
    assert loop[0].source == ("/somewhere/product.py", 12)
    assert loop[-1].text.startswith("@%p2")
    assert code.counts()["ld.shared.v4.f32"] == 1


SASS = """
	.section	.text.product,"ax",@progbits
.text.product:
	//## File "/somewhere/product.cu", line 5
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/               @P0 BRA `(.L_x_1) ;
.L_x_0:
	//## File "/somewhere/product.cu", line 7
        /*0020*/                   LDS.128 R4, [R2] ;
        /*0030*/                   LDG.E.64 R8, desc[UR4][R2.64] ;
        /*0040*/                   LDL R12, [R1+0x4] ;
        /*0050*/                   IMAD.MOV.U32 R13, RZ, RZ, R12 ;
        /*0060*/                   HFMA2.MMA R14, -RZ, RZ, 0, 0 ;
	//## File "/somewhere/product.cu", line 8
        /*0070*/                   FFMA R16, R4.reuse, R8, R16 ;
        /*0080*/                   FFMA R17, R5, R8, R17 ;
        /*0090*/                   MUFU.EX2 R18, R17 ;
        /*00a0*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*00b0*/                   IADD3 R2, R2, 0x10, RZ ;
        /*00c0*/              @!P1 BRA `(.L_x_0) ;
.L_x_1:
        /*00d0*/                   STG.E desc[UR4][R2.64], R16 ;
        /*00e0*/                   EXIT ;
.L_x_2:
        /*00f0*/                   BRA `(.L_x_2);
        /*0100*/                   NOP ;
"""


def test_sass_is_counted_line_by_line():
    code = read_sass(SASS, "product")
    label, *loop = [line for line in code.lines if line.hot]
    kinds = [line.kind for line in loop]
    assert label.kind == "label"
    assert kinds == ["load", "load", "spill", "scalar", "fma", "fma", "fma", "special", "barrier", "scalar", "branch"]
    assert loop[5].source == ("/somewhere/product.cu", 8)
    assert code.counts()["FFMA"] == 2
    assert code.lines[-1].text.split()[0] == "BRA", "what fills the kernel up is left out"


def test_the_assemblers_report_is_read():
    kernel = read_report(
        "ptxas info    : Compiling entry function 'f' for 'sm_80'\n"
        "ptxas info    : Function properties for f\n"
        "ptxas         .     40 bytes stack frame, 36 bytes spill stores, 44 bytes spill loads\n"
        "ptxas info    : Used 32 registers, used 1 barriers, 568 bytes cmem[0]\n"
        "info    : Function properties for 'f':\n"
        "info    : used 32 registers, used 1 barriers, 40 stack, 4096 bytes smem, 568 bytes cmem[0], 0 bytes lmem\n",
        (8, 0),
    )["f"]
    assert (kernel.registers, kernel.shared) == (32, 4096)
    assert kernel.spilled == 36 + 44


# --- numba.cuda's rungs


@marked()
def test_the_hot_loop_of_the_tiled_product_has_two_shared_loads_for_each_multiply_add():
    (ptx,) = listings("matmul", "cuda.tiled", "ptx")
    counts = ptx.facts["instructions"]
    assert counts["ld.shared.f32"] == 2 * counts["fma.f32"] > 0
    assert "ld.global.f32" not in counts
    assert {line.kind for line in ptx.lines} >= {"fma", "load", "store", "barrier", "label"}
    texts = [source_text(line.source) for line in ptx.lines if line.kind == "fma"]
    assert all("total +=" in text for text in texts), texts


def source_text(source):
    from loopnest.inspect.tables import source_lines

    return source_lines(source[0])[source[1] - 1]


@marked(needs_nvdisasm)
@pytest.mark.parametrize("gpu", ["7.5", "9.0"])
def test_machine_code_for_any_gpu_has_the_register_tiles_arithmetic(gpu):
    (sass,) = listings("matmul", "cuda.register_tiled", "sass", gpu=gpu)
    counts = sass.facts["instructions"]
    assert counts["FFMA"] % 16 == 0, "4 x 4 sums"
    assert counts["LDS"] * 2 == counts["FFMA"], "8 loads for 16 multiply-adds"
    kernel = sass.facts["kernel"]
    assert kernel.spilled == 0
    assert kernel.shared == 2 * 8 * 64 * 4, "what the source declares, without what the system reserves"
    assert 32 < kernel.registers < 128
    assert sass.facts["resources"].startswith(f"{kernel.registers} registers a thread, 4,096 bytes of shared memory")
    assert f"{gpu} holds " in " ".join(sass.notes)
    assert sum(line.kind == "barrier" for line in sass.lines) == 2
    hot = {source_text(line.source).strip() for line in sass.lines if line.hot and line.kind == "fma"}
    assert hot == {"sums[i, j] += a_part[i] * b_part[j]"}


@marked(needs_nvdisasm)
def test_the_ladder_climbs_in_the_machine_code_too():
    """Each rung's loop needs fewer instructions for a multiply-add."""
    needed = []
    for rung in ("naive", "tiled", "register_tiled"):
        counts = listings("matmul", f"cuda.{rung}", "hot")[0].facts["instructions"]
        needed.append(sum(counts.values()) / counts["FFMA"])
    assert needed[0] >= needed[1] > 4 * needed[2]


@marked()
def test_launches_are_those_of_the_call():
    from loopnest.inspect.in_cuda import launches_of
    from numba import cuda
    from numba.cuda.dispatcher import CUDADispatcher

    before = CUDADispatcher.__getitem__, cuda.to_device, cuda.device_array
    contract = ln.mlp_forward.contract
    workload = next(w for w in contract.workloads if w.name == "gpt2-small-mlp-128")
    launches = launches_of(ln.mlp_forward["cuda.composed"], workload, "float32")
    assert (CUDADispatcher.__getitem__, cuda.to_device, cuda.device_array) == before
    names = [launch.name for launch in launches]
    product, bias = "register_tiled", "add_bias_kernel"
    assert names == [product, bias, "elementwise", product, bias]
    first = launches[0]
    t, h = workload.shape["t"], workload.shape["h"]
    assert first.grid == (-(-h // 64), -(-t // 64), 1)
    assert first.block == (16, 16, 1)
    (hot, *_) = listings("mlp_forward", "cuda.composed", "ptx", workload="gpt2-small-mlp-128")
    assert hot.facts["grid"].startswith(f"{-(-h // 64)} × {-(-t // 64)} blocks on gpt2-small-mlp-128")


@marked()
def test_the_backward_pass_compiles_its_kernels_for_the_layouts_that_it_transposes():
    from loopnest.inspect.in_cuda import launches_of

    workload = ln.mlp_backward.contract.workloads[0]
    launches = launches_of(ln.mlp_backward["cuda.composed"], workload, "float64")
    layouts = {tuple(t.layout for t in one.kernel[1] if hasattr(t, "layout")) for one in launches}
    assert ("C", "F", "C") in layouts, "dy w2ᵀ: the second factor in column-major order"
    assert ("F", "C", "C") in layouts, "xᵀ dz"


@marked()
def test_what_a_gpu_holds_follows_from_its_registers():
    for gpu, most in (("9.0", 64), ("8.9", 48), ("7.5", 32)):
        (shown,) = listings("matmul", "cuda.register_tiled", "ptx", gpu=gpu)
        held, registers = shown.facts["occupancy"], shown.facts["kernel"].registers
        of_warp = -(-registers * 32 // 256) * 256
        assert held.by["registers"] == 65536 // 4 // of_warp * 4 // 8, "8 warps a block"
        assert f"{held.warps} of {most} warps" in " ".join(shown.notes)


@marked()
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpu": "H100"}, "gpu is 'H100', expected a compute capability that the compiler knows: 7.5, 8.0"),
        ({"workload": "huge"}, "no workload is called 'huge'. Known: square-16"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(InspectError, match=re.escape(message)):
        listings("matmul", "cuda.naive", "ptx", **options)


@marked()
def test_without_nvdisasm_the_hot_loop_is_shown_in_ptx_and_sass_says_what_is_missing(monkeypatch):
    from loopnest.inspect import cubin, in_cuda

    monkeypatch.setattr(cubin, "nvdisasm", lambda: None)
    (hot,) = in_cuda.show(Request(ln.matmul["cuda.tiled"], "hot", "float32", None))
    assert hot.language == "ptx"
    assert any("nvdisasm, which prints a GPU's machine code, is not installed" in note for note in hot.notes)
    with pytest.raises(InspectError, match="pip install nvidia-cuda-nvdisasm"):
        in_cuda.show(Request(ln.matmul["cuda.tiled"], "sass", "float32", None))


def test_the_simulator_is_told_to_compile_nothing(monkeypatch):
    from loopnest.inspect import in_cuda

    if importlib.util.find_spec("numba_cuda") is None:
        with pytest.raises(InspectError, match=r"pip install 'loopnest\[cuda\]'"):
            in_cuda.show(Request(ln.matmul["cuda.tiled"], "hot", "float32", None))
        return
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    with pytest.raises(InspectError, match="NUMBA_ENABLE_CUDASIM is set"):
        in_cuda.show(Request(ln.matmul["cuda.tiled"], "hot", "float32", None))


@marked()
def test_the_command_prints_and_gives_the_records():
    command = ["inspect", "matmul", "cuda.coalesced", "--ptx", "--gpu", "8.9"]
    plain = CliRunner().invoke(main, command, catch_exceptions=False)
    assert plain.exit_code == 0, plain.output
    assert "coalesced, float32, PTX for compute capability 8.9" in plain.output
    assert "8.9 holds" in plain.output
    data = json.loads(CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False).output)
    assert data["listings"][0]["facts"]["kernel"]["registers"] > 0
    wrong = CliRunner().invoke(main, ["inspect", "matmul", "cuda.coalesced", "--gpu", "10"])
    assert wrong.exit_code == 1
    assert "gpu is '10', expected a compute capability" in wrong.output


# --- CUDA C++


needs_nvrtc = pytest.mark.skipif(bool(why_no_assembler()), reason=str(why_no_assembler()))


@pytest.mark.slow
@needs_nvrtc
@needs_nvdisasm
def test_the_ladder_of_cuda_cpp_climbs_in_the_machine_code():
    """Each step's point is seen: coalescing not (it is the same code), then fewer loads for a multiply-add."""
    loads = {}
    for rung in ("naive", "coalesced", "tiled", "register_tiled", "warp_tiled"):
        (hot,) = listings("matmul", f"cuda_cpp.{rung}", "hot")
        counts = hot.facts["instructions"]
        loads[rung] = (counts.get("LDS", 0) + counts.get("LDG", 0)) / counts["FFMA"]
        assert ("LDS" in counts) == ("tiled" in rung), rung
        assert "0 bytes spilled" in hot.facts["resources"], rung
    assert 1 / 16 <= loads.pop("warp_tiled") < 0.1  # the next step's global loads are in the hot loop, or not
    assert loads == {"naive": 2, "coalesced": 2, "tiled": 2, "register_tiled": 0.5}


@needs_nvrtc
@needs_nvdisasm
def test_vectorised_loads_are_seen_as_such():
    for rung, wide in (("register_tiled", False), ("vectorized", True)):
        (hot,) = listings("matmul", f"cuda_cpp.{rung}", "hot")
        assert any("LDS.128" in line.text for line in hot.lines) == wide, rung


@needs_nvrtc
def test_every_kernel_that_a_cuda_cpp_rung_launches_is_shown_once():
    found = listings("mlp_forward", "cuda_cpp.fused", "ptx")
    assert len({listing.title for listing in found}) >= 2
    assert any("bias_gelu" in listing.title for listing in found)
    assert all(listing.facts["kernel"].registers > 0 for listing in found)


SPILLS = """
extern "C" __global__ void __launch_bounds__(1024, 2) many(float* x, int n) {
    float sums[64];
    for (int i = 0; i < 64; ++i) sums[i] = x[i * 1024 + threadIdx.x];
    for (int k = 0; k < n; ++k)
        for (int i = 0; i < 64; ++i) sums[i] = sums[i] * sums[(i + 7) % 64] + x[k];
    for (int i = 0; i < 64; ++i) x[i * 1024 + threadIdx.x] = sums[i];
}
"""


@needs_nvrtc
@needs_nvdisasm
def test_spilled_registers_are_counted():
    """64 sums in the 32 registers that two blocks of 1024 threads leave for each: most of them go to local memory."""
    from loopnest.backends.cuda_cpp import compile_cu

    cubin, kernels = assemble(compile_cu(SPILLS, "many.cu", arch="sm_80").ptx, (8, 0))
    kernel = kernels["many"]
    assert kernel.registers <= 32
    assert kernel.spilled >= 2 * 4 * 32
    code = read_sass(disassemble(cubin), "many")
    assert any(line.kind == "spill" and line.hot for line in code.lines)


@needs_nvrtc
def test_ptx_that_cannot_be_assembled_gets_the_assemblers_message():
    with pytest.raises(InspectError, match=r"(?s)nvJitLink cannot assemble this for 9\.0: .*line 3"):
        assemble(".version 8.0\n.target sm_90\nnonsense;\n", (9, 0))


def rungs(backend):
    return [pytest.param(k, id=f"{operation.name}-{k.id}") for operation in ln.OPERATIONS.values() for k in operation
            if k.backend == backend]  # fmt: skip


@marked()
@pytest.mark.parametrize("k", rungs("cuda"))
def test_every_numba_cuda_rungs_launches_are_seen(k):
    from loopnest.inspect.in_cuda import launches_of

    launches = launches_of(k, k.operation.contract.workloads[0], "float32")
    assert launches
    assert all(0 < math.prod(one.block) <= 1024 and math.prod(one.grid) > 0 for one in launches)


@pytest.mark.parametrize("k", rungs("cuda_cpp"))
def test_every_cuda_cpp_rungs_launches_are_seen(k):
    from loopnest.backends import cuda_device
    from loopnest.backends.cuda_source import CudaFile
    from loopnest.inspect.in_cuda_cpp import launches_of

    before = cuda_device.device
    launches = launches_of(k, k.operation.contract.workloads[0], "float64")
    assert cuda_device.device is before
    assert launches
    for launch in launches:
        file, expression = launch.kernel
        assert expression.endswith("<double>")
        assert expression in CudaFile.read(file).expressions()
        assert 0 < launch.block[0] * launch.block[1] * launch.block[2] <= 1024


@marked(needs_nvdisasm)
def test_a_users_cu_file_shows_its_machine_code_and_occupancy(tmp_path):
    from loopnest.check.inside import inspect_file
    from loopnest.check.starters import starter

    (file := tmp_path / "mine.cu").write_text(starter("matmul", "cuda"))
    (one,) = inspect_file(file, "matmul", "sass", gpu="8.0", seconds=0, time_limit=5)
    assert one.name == "NVRTC"
    (listing,) = one.listings
    assert listing.title == "matmul, float32, SASS for compute capability 8.0"
    assert listing.facts["instructions"]["FFMA"] > 0
    assert listing.facts["block"] == "16 × 16 threads"


@marked(needs_nvdisasm, pytest.mark.slow)
def test_the_lessons_table_is_what_the_compiler_makes():
    """Up to some instructions and registers, which differ from one version of the compiler to the next."""
    text = next(one.text for one in lessons() if one.number == 8)
    rows = re.findall(r"^\| `(\w+)` ((?:\| [\d,]+ )+)\|$", text, re.MULTILINE)
    assert [row[0] for row in rows][2:] == ["warp_tiled", "double_buffered", "wmma", "mma"]
    for variant, numbers in rows:
        halves = "mma" in variant
        dtype = "bfloat16" if halves else "float32"
        facts = listings("matmul", f"cuda_cpp.{variant}", "hot", dtype, workload="square-16")[0].facts
        counts, kernel = facts["instructions"], facts["kernel"]
        found = counts["HMMA" if halves else "FFMA"], sum(counts.values()), counts["LDSM" if halves else "LDS"]
        expected = [int(number.replace(",", "")) for number in numbers.split("|") if number.strip()]
        resources = kernel.registers, kernel.shared, facts["occupancy"].blocks
        assert [*found, *resources] == pytest.approx(expected, rel=0.05), variant
        assert kernel.spilled == 0
