"""`loopnest inspect` for the C++ rungs: the hot loops of what is installed, against what their sources say."""

import functools
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys

import loopnest as ln
import pytest
from click.testing import CliRunner
from loopnest.backends.cpp import csrc
from loopnest.cli import main
from loopnest.inspect import (
    InspectError,
    Request,
    families,
    in_cpp,
    inspect,
    remarks,
)
from loopnest.inspect import elf as elf_module
from loopnest.inspect.loops import hot_loop
from loopnest.inspect.records import ARITHMETIC, KINDS
from loopnest.inspect.samples import CannotSample, samples_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="x86-64 Linux alone"),
    pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitized build has other code"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, elf_module.NEEDED)),
        reason="needs loopnest[inspect]: capstone, pyelftools",
    ),
]

LEVELS = {"v1": 16, "v3": 32, "v4": 64}
"""Bytes of a vector."""

RUNGS = [(operation.name, k.id) for operation in ln.OPERATIONS.values() for k in operation if k.backend == "cpp"]
SCALAR = [
    *(("matmul", "cpp.naive"), ("matmul", "cpp.jik"), ("dot", "cpp.one_accumulator"), ("sum", "cpp.row_wise")),
    *(("add", "cpp.scalar"), ("gelu", "cpp.scalar"), ("gelu_backward", "cpp.scalar")),
]
"""The rungs that csrc/rungs.def has compiled with vectorization off."""

with_a_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler is installed"
)


@functools.cache
def hot(operation, impl, isa, dtype="float32"):
    """The listing of a rung's hot loop, without running it."""
    return inspect(ln.OPERATIONS[operation][impl], "hot", isa=isa, dtype=dtype, measure=False).listings[0]


def tile_of(level):
    """The rows and the vectors of the micro-kernel's tile, as csrc/matmul/kernel/tile.hpp has them."""
    text = (csrc() / "matmul" / "kernel" / "tile.hpp").read_text()
    rows = int(re.search(r"tile_rows = (\d+);", text)[1])
    many, few = re.search(r"tile_vectors = vector_registers == 32 \? (\d+) : (\d+);", text).groups()
    return rows, int(many if level == "v4" else few)


# --- the micro-kernel


@pytest.mark.parametrize(
    ("impl", "level", "dtype"),
    [
        *(("cpp.packed", level, dtype) for level in ("v3", "v4") for dtype in ("float32", "float64")),
        *((f"cpp.{variant}", "v4", "float32") for variant in ("register_tiled", "prefetched", "parallel")),
    ],
)
def test_the_micro_kernels_loop_is_its_tiles_rows_times_vectors(impl, level, dtype):
    (rows, vectors), itemsize = tile_of(level), {"float32": 4, "float64": 8}[dtype]
    loop = hot("matmul", impl, level, dtype).loop
    assert loop.counts["fma"] == rows * vectors
    assert loop.counts["loads"] == rows + vectors  # an element of a for each row, and a row of b
    assert loop.counts["stores"] == 0
    assert loop.counts["spills"] == 0
    assert loop.flops == 2 * rows * vectors * LEVELS[level] // itemsize
    assert loop.bytes == vectors * LEVELS[level] + rows * itemsize
    assert loop.accumulators == rows * vectors
    assert loop.vector_bits == 8 * LEVELS[level]
    assert loop.itemsize == itemsize
    assert set(loop.counts) <= {"fma", "load", "scalar", "branch", "loads", "stores", "spills"}


def test_on_the_baseline_a_product_and_a_sum_stand_for_each_multiply_add():
    rows, vectors = tile_of("v1")
    loop = hot("matmul", "cpp.packed", "v1").loop
    assert (loop.counts["multiply"], loop.counts["add"]) == (rows * vectors, rows * vectors)
    assert "fma" not in loop.counts


def test_its_bound_is_the_multiply_add_units_on_every_family_with_avx2():
    code = hot("matmul", "cpp.packed", "v3").loop.instructions
    file = in_cpp.extension()
    function = file.function_at(code[0].address)
    for family in families.FAMILIES:
        loop = hot_loop(file.code(function), family, 256)
        assert loop.bound.name == "FMA units", family.name
        assert loop.bound.share == 1, family.name


def test_the_bound_may_be_asked_for_another_processor():
    listings = {
        cpu: inspect(ln.dot["cpp.simd"], "hot", isa="v4", measure=False, cpu=cpu).listings[0]
        for cpu in ("Zen 4", "Golden Cove")
    }
    cycles = {cpu: listing.loop.bound.cycles for cpu, listing in listings.items()}
    loads = listings["Zen 4"].loop.counts["loads"]
    assert cycles == {"Zen 4": loads, "Golden Cove": loads / 2}  # 512-bit loads: one a cycle, and two
    with pytest.raises(InspectError, match=r"family is 'Pentium', expected one of Haswell, .*Zen 5"):
        inspect(ln.dot["cpp.simd"], "hot", measure=False, cpu="Pentium")


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
@pytest.mark.parametrize("level", ["v3", "v4"])
def test_objdump_counts_the_same_multiply_adds_between_the_same_addresses(level):
    loop = hot("matmul", "cpp.packed", level).loop
    first, last = loop.instructions[0], loop.instructions[-1]
    within = [f"--start-address={first.address}", f"--stop-address={last.address + last.size}"]
    command = ["objdump", "-d", *within, in_cpp.extension().path]
    data = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows, vectors = tile_of(level)
    register = "%zmm" if level == "v4" else "%ymm"
    lines = [line for line in data.splitlines() if "vfmadd" in line and register in line]
    assert len(lines) == rows * vectors
    assert len(re.findall(r"\n +[0-9a-f]+:", data)) == len(loop.instructions)


# --- every rung


@pytest.mark.parametrize(
    ("operation", "impl", "level"), [*((*rung, "v3") for rung in RUNGS), *((*rung, "v1") for rung in SCALAR)]
)
def test_every_rung_has_a_hot_loop_scalar_or_in_vectors_as_its_name_says(operation, impl, level):
    listing = hot(operation, impl, level)
    loop = listing.loop
    if loop is None:
        assert "has no loop" in " ".join(listing.notes)
        return
    counts = loop.counts
    assert sum(counts[kind] for kind in KINDS if kind in counts) == len(loop.instructions)
    assert counts.get("other", 0) <= 1, [one.text for one in loop.instructions if one.kind == "other"]
    assert counts["branch"] >= 1
    assert loop.bytes > 0
    moves_alone = operation in ("transpose", "relu", "relu_backward")
    assert (loop.flops == 0) == moves_alone
    if not moves_alone:
        assert any(kind in counts for kind in ARITHMETIC)
    assert loop.bound is None or loop.bound.cycles >= loop.latency
    if "call" in counts:
        assert "in every iteration" in " ".join(listing.notes)
    if (operation, impl) in SCALAR:
        assert loop.scalar
    elif impl.endswith((".simd", ".vectorized", ".fused", ".packed", ".register_tiled", ".prefetched", ".parallel")):
        assert not loop.scalar
        assert operation in ("rmsprop", "adam") or loop.vector_bits == 8 * LEVELS[level]


@pytest.mark.skipif(shutil.which("strip") is None, reason="strip is not installed: it comes with binutils")
def test_a_stripped_extension_gets_the_fix(tmp_path, monkeypatch):
    stripped = tmp_path / "stripped.so"
    subprocess.run(["strip", "-o", str(stripped), str(in_cpp.extension().path)], check=True, timeout=60)
    monkeypatch.setattr(in_cpp, "extension", lambda: elf_module.ObjectFile(stripped))
    with pytest.raises(
        InspectError, match=r"stripped\.so has no symbol loopnest::\S+packed<float>\. Was it stripped\? Install"
    ):
        inspect(ln.matmul["cpp.packed"], "hot", measure=False)


# --- where the time goes


@pytest.mark.parametrize(
    ("operation", "impl"),
    [("matmul", "cpp.packed"), ("matmul", "cpp.naive"), ("dot", "cpp.simd"), ("mlp_forward", "cpp.fused")],
)
def test_the_loop_that_could_be_hot_is_the_one_that_is(operation, impl):
    k, level = ln.OPERATIONS[operation][impl], ln.isa()
    before, threads = ln.isa(), ln.num_threads()
    try:
        samples_of(k, "float32", level, in_cpp.extension().path)
    except CannotSample as error:
        pytest.skip(f"the system lets nobody look: {error}")
    (listing,) = in_cpp.show(Request(k, "hot", "float32", level, measure=True))
    assert (ln.isa(), ln.num_threads()) == (before, threads)
    guessed = hot(operation, impl, level)
    assert sorted(one.mnemonic for one in listing.loop.instructions if one.kind in ARITHMETIC) == sorted(
        one.mnemonic for one in guessed.loop.instructions if one.kind in ARITHMETIC
    )
    assert "% in " in " ".join(listing.notes)


def test_a_level_that_does_not_run_here_is_read_and_not_run(monkeypatch):
    monkeypatch.setattr("loopnest._core.isa_levels", lambda: ["v1"])
    (listing,) = inspect(ln.matmul["cpp.packed"], "hot", isa="v3").listings
    assert listing.loop.counts["fma"] == 12
    assert "cpp.packed does not run here at level v3" in " ".join(listing.notes)


# --- source lines


def with_lines():
    loop = hot("matmul", "cpp.packed", "v3").loop
    if all(one.line is None for one in loop.instructions):
        pytest.skip("this build of the extension has no line tables")
    return loop


def test_multiply_adds_come_from_the_line_that_multiplies_and_adds():
    text = (csrc() / "matmul" / "kernel" / "tile.hpp").read_text().splitlines()
    for one in with_lines().instructions:
        if one.kind == "fma":
            assert one.line[0] == "matmul/kernel/tile.hpp"
            assert "sum[i][v] += a[" in text[one.line[1] - 1]


def test_the_source_says_what_became_of_each_line():
    with_lines()
    view = inspect(ln.matmul["cpp.packed"], "source", isa="v3", measure=False)
    assert [listing.title for listing in view.listings] == ["csrc/matmul/packed.hpp", "csrc/matmul/kernel/tile.hpp"]
    noted = {line.text.strip(): line.note for listing in view.listings for line in listing.lines if line.note}
    (note,) = (note for text, note in noted.items() if "sum[i][v] +=" in text)
    assert note == "12 FMA, 6 load"
    assert not view.listings[0].lines[0].text.startswith("//")  # the lesson is `loopnest show`'s


@pytest.mark.slow
@with_a_compiler
def test_line_tables_change_no_instruction(tmp_path):
    flags = remarks.flags()["lines"]
    texts = []
    for extra in ([], flags):
        source, made = tmp_path / "rung.cpp", tmp_path / "rung.o"
        function = "loopnest::v3::dot::simd<float>"
        source.write_text(f'#include "linalg/dot_simd.hpp"\n[[gnu::used]] static const auto kept = &{function};\n')
        command = [*remarks.compiler().command, "-std=gnu++20", f"-I{csrc()}", "-DLOOPNEST_ISA=v3", "-fPIC"]
        command += [*remarks.flags_of("v3"), *extra, "-c", str(source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        file = elf_module.ObjectFile(made)
        texts.append([(one.address, one.text) for f in file.functions for one in file.code(f)])
    assert len(texts[0]) > 50
    assert texts[0] == texts[1]


# --- the compiler's remarks


@with_a_compiler
def test_naive_is_scalar_and_says_why():
    (listing,) = inspect(ln.matmul["cpp.naive"], "hot", isa="v3", measure=False).listings
    assert [one.mnemonic for one in listing.loop.instructions if one.kind == "fma"] == ["vfmadd231ss"]
    assert "Scalar: this rung is compiled with vectorization off" in "\n".join(listing.notes)
    assert listing.loop.bound is None or listing.loop.bound.name == "latency"
    view = inspect(ln.matmul["cpp.naive"], "remarks", isa="v3")
    remarked = [line.text for listing in view.listings for line in listing.lines]
    inner = next(n for n, text in enumerate(remarked) if "sum += a(i, p) * b(p, j)" in text)
    assert remarked[inner + 1].startswith(("// not vectorized", "// vectorized"))


@with_a_compiler
def test_a_call_of_the_c_library_is_why_geluss_formulas_stay_scalar():
    view = inspect(ln.gelu["cpp.scalar"], "remarks", isa="v3")
    words = "\n".join(line.text for listing in view.listings for line in listing.lines)
    if remarks.compiler().kind == "GNU":
        assert "expf (…): there is no vector form of this" in words
        assert "return ::expf(x);" in words
    assert "vectorization off" in " ".join(view.listings[-1].notes)


@with_a_compiler
def test_remarks_stand_below_their_lines():
    (listing,) = inspect(ln.matmul["cpp.reordered"], "remarks", isa="v3").listings
    texts = [line.text for line in listing.lines]
    inner = next(n for n, text in enumerate(texts) if "c(i, j) += " in text or "+=" in text)
    assert texts[inner + 1].startswith("// vectorized: ")
    numbers = [line.source[1] for line in listing.lines]
    assert numbers == sorted(numbers)


def test_gccs_and_clangs_remarks_are_read():
    gcc = (
        "/x/csrc/matmul/naive.hpp:19:29: missed: couldn't vectorize loop\n"
        "/x/csrc/matmul/naive.hpp:19:29: missed:  not vectorized: control flow in loop.\n"
        "/x/csrc/matmul/naive.hpp:21:33: optimized: loop vectorized using 32 byte vectors\n"
        "/x/csrc/matmul/naive.hpp:21:63: missed: not vectorized: no vectype for stmt: _1 = *_38;\n"
        " scalar_type: const float\n"
        "/x/csrc/simd/libm.hpp:11:56: missed:   not vectorized: relevant stmt not supported: _45 = expf (_44);\n"
        "/usr/include/stdlib.h:1:1: missed: couldn't vectorize loop\n"
    )
    found = remarks.parsed(gcc)
    assert [(r.file, r.line, r.vectorized) for r in found] == [
        *(("matmul/naive.hpp", 19, False), ("matmul/naive.hpp", 19, False), ("matmul/naive.hpp", 21, True)),
        ("simd/libm.hpp", 11, False),
    ]
    assert found[1].explained == "control flow in loop: a loop or a branch in it"
    assert found[2].explained == "32 byte vectors"
    assert found[3].explained == "relevant stmt not supported: expf (…): there is no vector form of this"
    clang = (
        "csrc/matmul/naive.hpp:21:57: remark: loop not vectorized: cannot prove it is safe to reorder floating-point "
        "operations; allow reordering by specifying '#pragma clang loop vectorize(enable)' "
        "[-Rpass-analysis=loop-vectorize]\n"
        "csrc/matmul/reordered.hpp:23:13: remark: vectorized loop (vectorization width: 8, interleaved count: 4) "
        "[-Rpass=loop-vectorize]\n"
    )
    missed, made = remarks.parsed(clang)
    assert missed.explained.endswith(": IEEE 754 additions must not be regrouped")
    assert "[-R" not in missed.text
    assert made.vectorized


def test_without_a_compiler_the_remarks_say_what_to_install(monkeypatch):
    remarks.remarks_from.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InspectError, match=r"need a C\+\+ compiler: .*no command no-such-compiler, which CXX names"):
        inspect(ln.matmul["cpp.naive"], "remarks")


def test_the_flags_of_every_level_are_in_the_file_that_cmake_reads():
    assert set(ln.isa_levels()) <= set(remarks.flags()["levels"])
    assert "-march=x86-64-v3" in remarks.flags_of("v3")
    assert remarks.flags()["scalar"]["GNU"][-1] == "-fno-tree-slp-vectorize"
    assert remarks.flags()["scalar"]["Clang"][-1] == "-fno-slp-vectorize"


# --- the command


def run(*args):
    return CliRunner().invoke(main, ["inspect", *args])


def test_the_command_prints_the_loop_and_what_it_adds_up_to():
    done = run("matmul", "cpp.packed", "--hot", "--isa", "v3", "--dtype", "float64", "--no-measure")
    assert done.exit_code == 0, done.output
    assert "matmul::tile_function<6, 2, Reading(0), false, Fetching(1), double> · v3 · float64" in done.output
    assert "24 instructions an iteration: 12 FMA, 8 load, 3 scalar, 1 branch" in done.output
    assert "96 flops and 112 bytes an iteration, 12 accumulators in flight" in done.output
    assert "\x1b[" not in done.output


def test_plain_output_is_the_same_each_time():
    args = ["matmul", "cpp.naive", "--isa", "v3", "--no-measure", "--asm", "--hot"]
    assert run(*args).output == run(*args).output
    lines = [line.split() for line in run(*args).output.splitlines()]
    assert sum("fma" in words for words in lines) >= 2  # in the function, marked, and in the loop alone
    assert sum("fma" in words and words[0].startswith("▌") for words in lines) == 1


def test_json_has_the_records():
    data = json.loads(run("matmul", "cpp.packed", "--isa", "v4", "--json", "--no-measure").output)
    loop = data["listings"][0]["loop"]
    assert (data["operation"], data["impl"]) == ("matmul", "cpp.packed")
    assert loop["counts"]["fma"] == 24
    assert {"address", "mnemonic", "kind", "line"} <= set(loop["instructions"][0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("matmull", "cpp.packed"), "no operation is called 'matmull'; did you mean matmul"),
        (("matmul", "cpp.paked"), "no implementation is called 'cpp.paked'; did you mean cpp.packed"),
        (("matmul", "cpp.packed", "--isa", "v9"), "isa is 'v9', expected one of v1, v3, v4"),
        (("matmul", "cpp.packed", "--ptx"), "cpp.packed has no ptx to show, but hot, source, asm, remarks"),
        (("matmul", "python.naive", "--hot"), "python.naive has no hot to show, but source"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_can(args, message):
    done = run(*args)
    assert done.exit_code != 0
    assert message in " ".join(done.output.replace("│", " ").split())


def test_without_capstone_the_source_is_shown_and_the_rest_says_what_to_install(monkeypatch):
    elf_module._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "capstone", None)
    done = run("matmul", "cpp.packed", "--isa", "v3", "--no-measure")
    assert done.exit_code == 1
    assert "capstone is not installed: pip install 'loopnest[inspect]'" in done.output
    shown = run("matmul", "cpp.packed", "--source", "--no-measure")
    assert shown.exit_code == 0
    assert "The instructions of each line are not shown: capstone is not installed" in shown.output
    assert "void packed(" in shown.output


def test_unknown_aspects_and_options_are_refused():
    with pytest.raises(InspectError, match=r"cpp\.packed has no nonsense to show, but hot, source"):
        inspect(ln.matmul["cpp.packed"], "nonsense")
    with pytest.raises(InspectError, match="dtype is 'float16', expected 'float32' or 'float64'"):
        inspect(ln.matmul["cpp.packed"], dtype="float16")


def test_importing_loopnest_loads_no_inspect():
    program = "import sys, loopnest; print([name for name in sys.modules if name.startswith('loopnest.inspect')])"
    data = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert data.stdout.strip() == "[]"
