"""racecheck: our own files have no race, and it names each barrier that is removed, and every other error."""

import json
import re

import pytest
from click.testing import CliRunner
from loopnest.backends.compiler import BuildError
from loopnest.backends.cpp import csrc
from loopnest.backends.cuda_source import CudaSourceError
from loopnest.cli import main
from loopnest.verify.racecheck import racecheck

FILES = sorted(csrc().glob("*/cuda/*.cu"))

files = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}_{file.stem}")

BARRIERS = [
    pytest.param(file, number, id=f"{file.stem}-{number}", marks=[pytest.mark.slow] if number % 2 else [])
    for file in FILES
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
    if "__syncthreads();" in line
]
"""Those in odd lines are slow tests, eight of ten."""

ONE_BLOCK = {"m": 11, "n": 13, "k": 37}
"""Sizes for one block. The last step of a product is ragged, and it is not the second."""


def test_there_are_files_and_barriers():
    assert {f"{file.parts[-3]} {file.stem}" for file in FILES} >= {
        "matmul tiled",
        "matmul double_buffered",
        "mlp fused",
    }
    assert len(BARRIERS) >= 10


@pytest.mark.slow
@files
def test_our_files_have_no_race(file):
    checked = racecheck(file)
    assert checked.findings == (), "\n".join(finding.sentence for finding in checked.findings)
    blocks = [re.search(r"grid (\d+) x (\d+)", launch) for launch in checked.launches]
    assert all(int(found[1]) * int(found[2]) >= 2 for found in blocks), "two blocks are needed to race with each other"


@pytest.mark.parametrize(("file", "number"), BARRIERS)
@pytest.mark.slow
def test_each_removed_barrier_is_reported_with_its_line(file, number, tmp_path):
    """If it names other lines, barriers at these lines are enough."""
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = lines[number - 1].replace("__syncthreads();", ";")
    broken = tmp_path / file.name
    broken.write_text("\n".join(lines))
    findings = racecheck(broken, sizes=ONE_BLOCK).findings
    assert findings
    for finding in findings:
        assert finding.kind == "race"
        first, second = finding.accesses
        assert first.writes or second.writes
        assert first.thread != second.thread
        assert finding.memory in ("a_tile", "b_tile", "a_tiles", "b_tiles", "sums", "the dynamic shared memory")
        accesses = lines[first.line - 1] + lines[second.line - 1]
        assert finding.memory in accesses or "tiles[" in accesses or "_tile" in accesses
        assert f"put one after line {finding.line}" in finding.sentence
    where = {finding.line for finding in findings}
    if where != {number - 1}:
        for line in sorted(where, reverse=True):
            lines.insert(line, "__syncthreads();")
        broken.write_text("\n".join(lines))
        assert racecheck(broken, sizes=ONE_BLOCK).findings == (), "the barriers that it names are not enough"


# --- files of a user

HEADS = {
    "f": "// launch: grid=(n + 63) / 64 block=64\n__global__ void f(const float* x, float* y, int n) {\n",
    "ints": "// launch: grid=2 block=64\n__global__ void f(int* x, int* y, int n) {\n",
    "one": "// launch: grid=1 block=64 shared=64*sizeof(float)\n__global__ void f(const float* x, float* y, int n) {\n",
    "warp": "// launch: grid=1 block=32\n__global__ void f(const float* x, float* y, int n) {\n",
}


def found(tmp_path, head, body, **options):
    file = tmp_path / "mine.cu"
    file.write_text(HEADS[head] + body + "\n}\n")
    return racecheck(file, **options).findings


def test_elements_that_all_threads_add_to(tmp_path):
    (finding,) = found(tmp_path, "ints", "y[x[threadIdx.x]] += 1;")
    assert (finding.kind, finding.memory, finding.line) == ("race", "y", 3)
    assert "line 3 reads and writes the same element" in finding.sentence
    assert "atomicAdd" in finding.sentence
    assert found(tmp_path, "ints", "atomicAdd(&y[x[threadIdx.x]], 1);") == ()


def test_two_blocks_that_touch_one_element(tmp_path):
    body = "if (threadIdx.x == 0) y[0] = y[0] + blockIdx.x;"
    finding, *_ = found(tmp_path, "f", body, sizes={"n": 100})
    assert (finding.kind, finding.memory) == ("blocks", "y")
    assert finding.accesses[0].block != finding.accesses[1].block
    assert "Nothing orders blocks" in finding.sentence


def test_dynamic_shared_memory_is_watched(tmp_path):
    body = "extern __shared__ float p[];\np[threadIdx.x] = x[threadIdx.x];\n{}\ny[threadIdx.x] = p[63 - threadIdx.x];"
    (finding,) = found(tmp_path, "one", body.replace("{}", ""))
    assert (finding.kind, finding.memory, finding.line) == ("race", "the dynamic shared memory", 4)
    assert found(tmp_path, "one", body.replace("{}", "__syncthreads();")) == ()


def test_a_warp_needs_a_barrier_too_and_shuffles_are_none(tmp_path):
    body = (
        "__shared__ float part[32];\npart[threadIdx.x] = x[threadIdx.x];\n{}\ny[threadIdx.x] = part[31 - threadIdx.x];"
    )
    (finding,) = found(tmp_path, "warp", body.replace("{}", ""))
    assert "with no __syncwarp() between: put one after line 4" in finding.sentence
    assert found(tmp_path, "warp", body.replace("{}", "__shfl_sync(~0u, 1, 0);")) != ()
    assert found(tmp_path, "warp", body.replace("{}", "__syncwarp();")) == ()


def test_a_barrier_that_a_function_of_the_kernel_lacks_is_put_into_the_function(tmp_path):
    body = (
        "__shared__ float part[64];\nconst auto turned = [&] {\npart[threadIdx.x] = x[threadIdx.x];\n{}\n"
        "return part[63 - threadIdx.x];\n};\ny[threadIdx.x] = turned();"
    )
    (finding,) = found(tmp_path, "one", body.replace("{}", ""))
    assert (finding.kind, finding.line) == ("race", 5)
    assert found(tmp_path, "one", body.replace("{}", "__syncthreads();")) == ()


def test_halves_of_a_warp_that_wait_apart_are_not_ordered(tmp_path):
    body = (
        "__shared__ float part[32];\npart[threadIdx.x] = x[threadIdx.x];\n"
        "__syncwarp(threadIdx.x < 16 ? 0xffffu : 0xffff0000u);\ny[threadIdx.x] = part[{}];"
    )
    assert found(tmp_path, "warp", body.replace("{}", "threadIdx.x ^ 15")) == ()
    assert found(tmp_path, "warp", body.replace("{}", "31 - threadIdx.x")) != ()


def test_a_barrier_that_some_threads_return_before(tmp_path):
    body = (
        "__shared__ float part[64];\nint i = blockIdx.x * 64 + threadIdx.x;\nif (i >= n) return;\n"
        "part[threadIdx.x] = x[i];\n__syncthreads();\ny[i] = part[threadIdx.x];"
    )
    (finding,) = found(tmp_path, "f", body, sizes={"n": 100})
    assert (finding.kind, finding.line) == ("unreached", 7)
    assert "28 have returned" in finding.sentence


def test_barriers_in_divergent_code(tmp_path):
    (finding,) = found(tmp_path, "f", "if (threadIdx.x < 9)\n__syncthreads();\nelse\n__syncthreads();")
    assert (finding.kind, finding.line) == ("divergent", 4)


@pytest.mark.parametrize("who", ["0", "63"])
@pytest.mark.slow
def test_a_thread_that_never_comes_to_the_barrier(tmp_path, who):
    body = f"volatile const float* flag = x;\nif (threadIdx.x == {who}) while (flag[0] != 5) {{ }}\n__syncthreads();"
    (finding,) = found(tmp_path, "one", body, time_limit=1)
    assert (finding.kind, finding.line) == ("hang", 5)
    assert f"thread {who} runs on, and never reaches the barrier in line 5" in finding.sentence


def test_a_thread_may_wait_for_another_by_atomics(tmp_path):
    body = (
        "if (threadIdx.x == 0) while (!atomicAdd(&y[0], 0)) { }\n"
        "if (threadIdx.x == 63) atomicExch(&y[0], 1);\n__syncthreads();"
    )
    assert found(tmp_path, "ints", body, time_limit=5) == ()


def test_an_index_outside_of_a_shared_array(tmp_path):
    (finding,) = found(tmp_path, "one", "__shared__ float part[64];\npart[threadIdx.x + 1] = 0;")
    assert (finding.kind, finding.line) == ("bounds", 4)
    assert "line 4: index 64 out of bounds" in finding.sentence


def test_a_file_with_its_own_main_is_checked(tmp_path):
    file = tmp_path / "mine.cu"
    host = "#include <vector>\nint main() { std::vector<float> v(9); f<<<1, 64>>>(v.data(), v.data(), 9); }\n"
    file.write_text(HEADS["f"] + "y[0] = x[0];\n}\n" + host)
    finding, *_ = racecheck(file).findings
    assert (finding.kind, finding.line) == ("race", 3)


def test_a_crash_is_reported(tmp_path):
    (finding,) = found(tmp_path, "one", "*(volatile int*)8 = 1;")
    assert finding.kind == "crash"


# --- the command


def test_the_command_prints_findings_and_sets_its_exit_code(tmp_path):
    file = tmp_path / "mine.cu"
    body = "__shared__ float part[64];\npart[threadIdx.x] = x[0];\n{}\ny[threadIdx.x] = part[63 - threadIdx.x];\n}\n"
    file.write_text(HEADS["one"] + body.replace("{}", ""))
    result = CliRunner().invoke(main, ["check", str(file), "--races"])
    assert result.exit_code == 1
    assert "put one after line 4" in " ".join(result.output.split())
    assert "simulated: f, grid 1 x 1 x 1, block 64 x 1 x 1, n = 21" in result.output
    result = CliRunner().invoke(main, ["check", str(file), "--races", "--json"])
    checked = json.loads(result.output)
    assert checked["simulated"] is True
    assert checked["findings"][0]["accesses"][0]["line"] in (4, 6)
    file.write_text(HEADS["one"] + body.replace("{}", "__syncthreads();"))
    result = CliRunner().invoke(main, ["check", str(file), "--races"])
    assert (result.exit_code, "no race" in result.output) == (0, True)


def test_a_kernel_that_is_not_there_is_refused(tmp_path):
    file = tmp_path / "mine.cu"
    file.write_text(HEADS["one"] + "y[threadIdx.x] = 1;\n}\n")
    with pytest.raises(CudaSourceError, match="has no __global__ function g; it has: f"):
        racecheck(file, kernel="g")


def test_files_that_cannot_be_run_are_refused(tmp_path):
    with pytest.raises(CudaSourceError, match="cannot be read"):
        racecheck(tmp_path / "nowhere.cu")
    file = tmp_path / "mine.cu"
    file.write_text("__global__ void f(float* x) { x[0] = 1; }")
    with pytest.raises(CudaSourceError, match="// launch: grid="):
        racecheck(file)
    file.write_text("struct S { int i; };\n// launch: grid=1 block=1\n__global__ void f(S s) { }")
    with pytest.raises(CudaSourceError, match="f's s is a S, expected pointers, numbers"):
        racecheck(file)
    file.write_text("// launch: grid=1 block=1\n__global__ void f(float* x) { x[0] = nobody; }")
    with pytest.raises(BuildError, match=r"mine\.cu:2"):
        racecheck(file)
