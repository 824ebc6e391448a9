"""Machine code: the kinds of its instructions, its loops found and counted, and the bound on a processor."""

import functools
import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from loopnest.inspect import InspectError, diagnose, families
from loopnest.inspect import elf as elf_module
from loopnest.inspect.elf import ObjectFile
from loopnest.inspect.loops import loops_in, summary
from loopnest.inspect.records import KINDS

COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="x86-64 Linux alone"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, elf_module.NEEDED)),
        reason="needs loopnest[inspect]: capstone, pyelftools",
    ),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed"),
]

MACHINE = Path(__file__).parent / "machine"
ZEN_4 = families.family_called("Zen 4")


def compiled(source, library, *flags):
    """A shared library of a C or an assembly file."""
    subprocess.run([COMPILER, "-shared", *flags, "-o", str(library), str(source)], check=True, timeout=60)
    return library


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return compiled(MACHINE / "known_loops.S", tmp_path_factory.mktemp("known") / "known.so", "-nostdlib")


@pytest.fixture(scope="module")
def assemble(tmp_path_factory):
    """The instructions of lines in Intel's syntax."""
    folder = tmp_path_factory.mktemp("assembled")

    @functools.cache
    def assemble(*lines):
        source, made = folder / "lines.s", folder / "lines.o"
        text = ".intel_syntax noprefix\n.type f, @function\nf:\n"
        source.write_text(text + "\n".join(lines) + "\n.size f, . - f\n")
        subprocess.run([COMPILER, "-c", "-o", str(made), str(source)], check=True, timeout=60)
        file = ObjectFile(made)
        return file.code(file.function("f"))

    return assemble


def loop_of(known, name):
    return diagnose(known, name, ZEN_4)


# --- loops whose counts are known


def test_an_add_that_reads_memory_is_an_add_and_a_load(known):
    loop = loop_of(known, "two_chains")
    assert loop.counts == {"add": 2, "scalar": 2, "branch": 1, "loads": 2, "stores": 0, "spills": 0}
    assert (loop.flops, loop.bytes, loop.vector_bits, loop.itemsize) == (16, 64, 256, 4)
    assert (loop.accumulators, loop.latency) == (2, 3)


def test_a_chain_that_grows_twice_in_a_turn_takes_twice_the_latency(known):
    loop = loop_of(known, "one_chain_twice")
    assert loop.counts["fma"] == 2
    assert (loop.flops, loop.bytes, loop.vector_bits) == (4, 16, 0)
    assert loop.scalar
    assert (loop.accumulators, loop.latency) == (1, 8)
    assert (loop.bound.name, loop.bound.cycles) == ("latency", 8)
    assert loop.bound.share == pytest.approx(4 / (8 * 16))  # 16 flops a cycle: 8 doubles, 2 flops, one unit


def test_spills_are_fixed_places_on_the_stack_and_its_arrays_are_not(known):
    loop = loop_of(known, "spills")
    assert loop.counts == {
        "fma": 1,
        "load": 1,
        "store": 1,
        "spill": 2,
        "scalar": 1,
        "branch": 1,
        "loads": 3,
        "stores": 2,
        "spills": 3,
    }
    assert loop.bytes == 5 * 64


def test_rbp_is_the_stack_only_where_it_was_made_the_frame_pointer(known):
    loop = loop_of(known, "rbp_is_a_pointer")
    assert loop.counts["spills"] == 0
    assert (loop.counts["load"], loop.counts["store"]) == (1, 1)
    assert (loop.flops, loop.bytes, loop.vector_bits) == (0, 64, 256)


def test_of_two_nested_loops_the_inner_one_is_hot(known):
    loop = loop_of(known, "nested")
    assert [one.mnemonic for one in loop.instructions] == ["vmulpd", "vaddpd", "sub", "jg"]
    assert (loop.flops, loop.accumulators, loop.latency) == (4, 1, 3)  # the product waits for nothing


def test_a_loop_that_is_entered_at_its_test_is_one(known):
    loop = loop_of(known, "entered_at_its_test")
    assert sorted(one.mnemonic for one in loop.instructions) == ["add", "dec", "jns", "vaddsd"]


def test_skipped_instructions_are_not_counted_in_the_loop(known):
    loop = loop_of(known, "with_a_side_way")
    assert [one.mnemonic for one in loop.instructions] == [
        *("vmovupd", "vucomisd", "ja", "vmulpd", "vmovupd", "add", "dec", "jne"),
    ]
    assert loop.skipped == 3
    assert loop.flops == 4


def test_instructions_of_all_kinds_are_told_apart(known):
    loop = loop_of(known, "all_kinds")
    kinds = [one.kind for one in loop.instructions]
    assert kinds == [
        *("prefetch", "load", "multiply", "convert", "shuffle", "compare", "compare", "logic", "divide", "move"),
        *("store", "scalar", "scalar", "branch"),
    ]
    assert loop.flops == 16 + 16  # the product and the root
    assert loop.bytes == 64 + 4 + 64  # a broadcast operand is one element; a prefetch reads nothing


def test_a_function_without_a_loop_has_no_hot_loop(known):
    assert loop_of(known, "no_loop") is None


@pytest.mark.parametrize(("level", "lanes", "chains"), [("v4", 64, 24), ("v3", 32, 12)])
@pytest.mark.parametrize(("dtype", "itemsize"), [("float32", 4), ("float64", 8)])
def test_the_peak_loop_by_hand_is_counted_as_it_was_written(tmp_path, level, lanes, chains, dtype, itemsize):
    library = compiled(MACHINE / "fma_loop.S", tmp_path / "fma_loop.so", "-nostdlib")
    loop = diagnose(library, f"fma_{level}_{dtype}", ZEN_4)
    assert loop.counts == {"fma": chains, "scalar": 1, "branch": 1, "loads": 0, "stores": 0, "spills": 0}
    assert loop.flops == 2 * chains * lanes // itemsize
    assert loop.accumulators == chains
    assert loop.latency == 4
    assert loop.bound.name == "FMA units"
    assert loop.bound.cycles == (24 if level == "v4" else 6)
    assert loop.bound.share == 1


# --- single instructions


@pytest.mark.parametrize(
    ("text", "kind", "flops", "bytes"),
    [
        ("vfmadd231ps zmm1, zmm2, zmmword ptr [rax]", "fma", 32, 64),
        ("vfmadd231ps zmm1, zmm2, dword ptr [rax]{1to16}", "fma", 32, 4),
        ("vfnmsub213sd xmm1, xmm2, xmm3", "fma", 2, 0),
        ("vfmaddsub132pd ymm1, ymm2, ymm3", "fma", 8, 0),
        ("addps xmm0, xmmword ptr [rdi]", "add", 4, 16),
        ("addss xmm0, xmm1", "add", 1, 0),
        ("vhaddpd ymm0, ymm1, ymm2", "add", 4, 0),
        ("mulsd xmm0, qword ptr [rdi + rcx*8]", "multiply", 1, 8),
        ("vdivpd zmm0, zmm1, zmm2", "divide", 8, 0),
        ("vminps ymm0, ymm1, ymm2", "compare", 0, 0),
        ("cmpltps xmm0, xmm1", "compare", 0, 0),
        ("ucomisd xmm0, qword ptr [rdi]", "compare", 0, 8),
        ("vxorps ymm0, ymm0, ymm0", "logic", 0, 0),
        ("vpternlogd zmm0, zmm1, zmm2, 0x1b", "logic", 0, 0),
        ("vpslld zmm0, zmm1, 0x17", "logic", 0, 0),
        ("korw k1, k2, k3", "logic", 0, 0),
        ("kmovw k1, eax", "move", 0, 0),
        ("vmovaps zmm1, zmm2", "move", 0, 0),
        ("movd xmm0, eax", "move", 0, 0),
        ("vmovdqu64 zmm1, zmmword ptr [rax]", "load", 0, 64),
        ("movss xmm0, dword ptr [rax]", "load", 0, 4),
        ("vbroadcastss ymm1, dword ptr [rax]", "load", 0, 4),
        ("vbroadcastss ymm1, xmm1", "shuffle", 0, 0),
        ("vinsertps xmm1, xmm2, dword ptr [rax], 0x10", "shuffle", 0, 4),
        ("vgatherdps ymm1, dword ptr [rax + ymm2*4], ymm3", "load", 0, 32),
        ("vextractf128 xmmword ptr [rax], ymm1, 0x1", "store", 0, 16),
        ("vmovntps zmmword ptr [rax], zmm1", "store", 0, 64),
        ("mov qword ptr [rax], rcx", "store", 0, 8),
        ("mov rcx, qword ptr [rax]", "load", 0, 8),
        ("mov rcx, qword ptr [rsp + 0x10]", "spill", 0, 8),
        ("vmovups ymmword ptr [rsp - 0x40], ymm3", "spill", 0, 32),
        ("vmovups ymm3, ymmword ptr [rsp + rcx*4]", "load", 0, 32),
        ("add qword ptr [rdi], 1", "scalar", 0, 16),
        ("lea rax, [rdi + rsi*4]", "scalar", 0, 0),
        ("prefetcht1 byte ptr [rax]", "prefetch", 0, 0),
        ("vcvttps2dq ymm0, ymm1", "convert", 0, 0),
        ("cmp rax, rdx", "scalar", 0, 0),
        ("jne 0x1000", "branch", 0, 0),
        ("call 0x1000", "call", 0, 0),
        ("nop word ptr cs:[rax + rax]", "other", 0, 0),
    ],
)
def test_what_an_instruction_is(assemble, text, kind, flops, bytes):
    (one,) = assemble(text)
    assert (one.kind, one.flops, one.bytes) == (kind, flops, bytes)
    assert one.kind in KINDS


def test_chains_go_through_copies_masks_and_two_operand_arithmetic(assemble):
    def chain(*texts):
        """How many chains there are, and the cycles from one iteration to the next on Zen 4."""
        loop = summary(loops_in(assemble("1:", *texts, "jne 1b"))[0], ZEN_4)
        return loop.accumulators, loop.latency

    assert chain("addps xmm0, xmm1") == (1, 3)
    assert chain("vaddps xmm0, xmm1, xmm2") == (0, 0)
    assert chain("vmulps xmm2, xmm0, xmm1", "vaddps xmm3, xmm2, xmm1", "vmovaps xmm0, xmm3") == (1, 6)
    assert chain("vaddps zmm0 {k1}, zmm1, zmm2", "vaddps zmm3 {k1} {z}, zmm1, zmm2") == (1, 3)
    assert chain("vxorps xmm0, xmm0, xmm0", "vaddps xmm0, xmm0, xmm1") == (0, 0)
    assert chain("vmovaps xmm1, xmm0", "vmovaps xmm0, xmm1") == (0, 0)  # carried, and nothing computed
    assert chain(*(f"vfmadd231ps zmm{n}, zmm30, zmm31" for n in range(8))) == (8, 4)


# --- the bound


def test_processors_are_known_by_llvms_names(monkeypatch):
    import llvmlite.binding as llvm

    for name, family in {"znver4": "Zen 4", "cascadelake": "Skylake-X", "i686": None}.items():
        monkeypatch.setattr(llvm, "get_host_cpu_name", lambda name=name: name)
        found = families.this_family.__wrapped__()
        assert (found and found.name) == family
    names = [model for family in families.FAMILIES for model in family.models]
    assert len(names) == len(set(names))


def test_each_family_has_its_peak():
    peaks = {"Zen 3": 32, "Zen 4": 32, "Zen 5": 64, "Skylake": 32, "Skylake-X": 64, "Golden Cove": 64, "Ice Lake": 32}
    for name, flops in peaks.items():
        assert families.family_called(name).peak(4, 512) == flops, name
        assert families.family_called(name).peak(8, 512) == flops / 2, name
    with pytest.raises(ValueError, match="family is 'Zen 9', expected one of Haswell"):
        families.family_called("Zen 9")


@pytest.mark.parametrize(
    ("family", "name", "cycles"),
    [("Zen 4", "loads", 16), ("Skylake-X", "loads", 8), ("Zen 5", "loads", 8)],
)
def test_a_dot_product_is_bound_by_its_loads(assemble, family, name, cycles):
    lines = []
    for n in range(8):
        lines.append(f"vmovups zmm{n + 8}, zmmword ptr [rax + {64 * n}]")
        lines.append(f"vfmadd231ps zmm{n}, zmm{n + 8}, zmmword ptr [rdx + {64 * n}]")
    loop = summary(loops_in(assemble("1:", *lines, "jne 1b"))[0], families.family_called(family))
    assert (loop.bound.name, loop.bound.cycles) == (name, cycles)
    assert loop.bound.share == pytest.approx(0.5)
    assert f"Bound by loads on {family}: {cycles} cycles an iteration" in loop.bound.sentence


# --- users' files


def test_a_users_compiled_kernel_is_diagnosed_through_what_it_calls(tmp_path):
    source, library = tmp_path / "mine.c", tmp_path / "mine.so"
    source.write_text(
        "__attribute__((noinline)) static float one(const float *a, long n) {"
        " float s = 0; for (long i = 0; i < n; i++) s += a[i]; return s; }\n"
        "float sum(const float *a, long n) { return one(a, n) + 1; }\n"
        "float first(const float *a) { return a[0]; }\n"
    )
    compiled(source, library, "-O2", "-fno-inline", "-fPIC")
    assert {"sum", "first"} <= {function.symbol for function in ObjectFile(library).functions}
    loop = diagnose(library, "sum", ZEN_4)
    assert (loop.counts["add"], loop.accumulators, loop.flops) == (1, 1, 1)
    assert loop.bound.name == "latency"
    assert diagnose(library, "first") is None
    with pytest.raises(InspectError, match=r"no function is called 'product'; there are .*sum"):
        diagnose(library, "product")


def test_files_that_are_no_machine_code_are_refused_with_the_reason(tmp_path):
    with pytest.raises(InspectError, match="there is no file"):
        ObjectFile(tmp_path / "nothing.so")
    (tmp_path / "text.so").write_text("hello, this is text and no machine code at all")
    with pytest.raises(InspectError, match=r"text\.so is no ELF file .*otool"):
        ObjectFile(tmp_path / "text.so")


def test_code_for_another_processor_is_refused_with_what_works(known, tmp_path):
    other = bytearray(known.read_bytes())
    other[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    (tmp_path / "other.so").write_bytes(other)
    with pytest.raises(InspectError, match="is for AArch64, expected x86-64: `objdump"):
        ObjectFile(tmp_path / "other.so")


def test_without_capstone_the_message_has_the_fix(known, monkeypatch):
    monkeypatch.setitem(sys.modules, "capstone", None)  # as if it were not there
    with pytest.raises(InspectError, match=r"^capstone is not installed: pip install 'loopnest\[inspect\]'$"):
        ObjectFile(known)


def test_the_page_on_processors_has_the_table_that_bounds_are_made_from():
    text = (Path(__file__).parents[1] / "docs" / "inspect.md").read_text()
    for line in families.TABLE.strip().splitlines()[1:-1]:
        cells = [cell.strip() for cell in line.split("|")[:-1]]
        cells[7] = ", ".join(cells[7].split(",")[:3])  # FMA, multiply, add
        assert f"| {' | '.join(cells)} |" in text
