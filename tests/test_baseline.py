"""What runs on every x86-64 processor holds no instruction of a newer one: the machine code itself is read.

The extension has the kernels of v3 and v4 beside those of v1, each in a namespace of its own. Everything outside of
these namespaces may run anywhere, so it may hold nothing beyond SSE2. The objects that the extension is linked from are
read too, where a build directory is at hand (LOOPNEST_BUILD_DIR, or build/ from scripts/build.sh): what the linker
chose well in one build it may choose otherwise in the next.
"""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import loopnest._core
import pytest

BUILD = Path(os.environ.get("LOOPNEST_BUILD_DIR", Path(__file__).parents[1] / "build"))
OBJECTS = sorted(BUILD.glob("CMakeFiles/**/*.o"))

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="this is about x86-64's ISA levels, on Linux"
    ),
    pytest.mark.skipif(not shutil.which("objdump"), reason="objdump is missing; install binutils"),
    pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitized build is not what is installed"),
]
needs_objects = pytest.mark.skipif(not OBJECTS, reason=f"no objects in {BUILD}: scripts/build.sh makes them")

NEWER_LEVELS = "v3", "v3_scalar", "v4", "v4_scalar"
NEWER_OBJECT = re.compile(r"/(products|reduced|elementwise|scalar)_(v3|v4)\.dir/")
NEWER_OBJECTS = [pytest.param(path, id=path.parts[-4]) for path in OBJECTS if NEWER_OBJECT.search(str(path))]


def belongs_to(level, name):
    """Whether a function is in loopnest::level, or made for something that is, by its name as the linker sees it (what
    demangles names gives up on long ones): 8loopnest2v3, or S_2v3 where loopnest has come before in the name."""
    return re.search(rf"(8loopnest|S[0-9A-Z]*_){len(level)}{level}[0-9]", name) is not None


# --- reading machine code

PREFIXES = bytes.fromhex("66 f2 f3 f0 2e 36 3e 26 64 65 67")


def is_beyond_sse2(code: bytes) -> bool:
    """Whether an instruction is one that the first x86-64 processors lack."""
    prefixes = code[: len(code) - len(code.lstrip(PREFIXES))]
    code = code.lstrip(PREFIXES)
    if code[0] in (0xC4, 0xC5, 0x62):  # in 64-bit mode VEX and EVEX begin so, and nothing else: AVX, FMA, BMI, AVX-512
        return True
    if 0x40 <= code[0] <= 0x4F:  # REX
        code = code[1:]
    if code[0] != 0x0F:
        return False
    opcode = code[1]
    return (
        opcode in (0x38, 0x3A)  # SSSE3, SSE4, movbe and later: these two maps were empty before
        or opcode in (0x7C, 0x7D, 0xD0, 0xF0)  # SSE3: haddps, hsubps, addsubps, lddqu
        or (opcode in (0x12, 0x16) and (0xF2 in prefixes or 0xF3 in prefixes))  # SSE3: movddup, movsldup, movshdup
        or (opcode in (0xB8, 0xBD) and 0xF3 in prefixes)  # popcnt; lzcnt, which an old processor runs as bsr
    )  # but not tzcnt, f3 0f bc: compilers write it for bsf, where both have the same result


@pytest.mark.parametrize(
    ("code", "beyond"),
    [
        ("0f 58 c1", False),  # addps
        ("66 0f 6f 07", False),  # movdqa
        ("66 44 0f 12 00", False),  # movlpd
        ("f3 0f bc c1", False),  # bsf, or tzcnt
        ("c3", False),  # ret
        ("c5 f0 58 c0", True),  # vaddps, three-byte VEX's shorter form
        ("c4 e2 71 b8 c2", True),  # vfmadd231ps
        ("c4 e2 f8 f3 c8", True),  # blsr, of BMI, on general registers
        ("62 f1 74 48 58 c0", True),  # vaddps on zmm
        ("f2 0f 7c c1", True),  # haddps
        ("f2 0f 12 c1", True),  # movddup
        ("66 0f 38 40 c1", True),  # pmulld
        ("66 41 0f 3a 0a c0 00", True),  # roundss
        ("f3 48 0f b8 c1", True),  # popcnt
        ("f3 48 0f bd c1", True),  # lzcnt
    ],
)
def test_instructions_are_told_apart(code, beyond):
    assert is_beyond_sse2(bytes.fromhex(code)) == beyond


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@functools.cache
def newer_instructions(binary):
    """For each function that has any, its first instruction beyond SSE2; and the names of all functions."""
    found, names = {}, []
    for line in output_of("objdump", "--disassemble", "--insn-width=15", str(binary)).splitlines():
        if line.endswith(">:"):
            names.append(line[line.index("<") + 1 : -2])
        elif line.startswith(" ") and line.count("\t") >= 2:
            _, code, instruction = line.split("\t", 2)
            if is_beyond_sse2(bytes.fromhex(code)):
                found.setdefault(names[-1], instruction)
    return found, names


# --- the extension


@pytest.fixture(scope="module")
def extension():
    found, names = newer_instructions(loopnest._core.__file__)
    if not any(belongs_to("v1", name) for name in names):
        pytest.skip("the extension's symbols were stripped, so its functions cannot be told apart")
    return found, names


def test_only_the_kernels_of_newer_levels_have_newer_instructions(extension):
    found, _ = extension
    assert {n: code for n, code in found.items() if not any(belongs_to(level, n) for level in NEWER_LEVELS)} == {}


@pytest.mark.parametrize("level", NEWER_LEVELS)
def test_the_kernels_of_newer_levels_do_have_them(extension, level):
    """So the test above can see what it looks for."""
    found, _ = extension
    assert any(belongs_to(level, name) for name in found)


@pytest.mark.parametrize(
    "kernel",
    ["_ZN8loopnest2v16matmul6packedIfEE", "_ZN8loopnest2v14gelu4simdIdEE", "_ZN8loopnest9v1_scalar6matmul5naiveIfEE"],
)
def test_the_baseline_has_kernels_of_its_own(extension, kernel):
    _, names = extension
    assert any(name.startswith(kernel) for name in names)


# --- the objects that it is linked from


@needs_objects
def test_objects_of_the_baseline_and_those_that_all_share_have_no_newer_instruction():
    baseline = {
        path.relative_to(BUILD): newer_instructions(path)[0] for path in OBJECTS if not NEWER_OBJECT.search(str(path))
    }
    assert any("products_v1.dir" in str(path) for path in baseline)
    assert len(NEWER_OBJECTS) == 8  # four units for each of two levels: the test below reads them
    assert {path: found for path, found in baseline.items() if found} == {}


@needs_objects
@pytest.mark.parametrize("path", NEWER_OBJECTS)
def test_an_object_of_a_newer_level_offers_the_linker_nothing_that_others_could_use(path):
    """A weak function, such as a template's instance, is linked once for all objects that have it. One compiled for
    AVX-512 could be the one that is kept: so each must belong to the level alone, by its name."""
    unit, level = NEWER_OBJECT.search(str(path)).groups()
    level += "_scalar" * (unit == "scalar")
    symbols = (line.split(maxsplit=2) for line in output_of("nm", "--defined-only", str(path)).splitlines())
    shared = [name for _, kind, name in symbols if kind in "WiT" and not belongs_to(level, name)]
    assert shared == []


@needs_objects
@pytest.mark.parametrize("path", NEWER_OBJECTS)
def test_an_object_of_a_newer_level_runs_nothing_when_it_is_loaded(path):
    assert not re.search(r"\.(init_array|ctors|preinit_array)", output_of("objdump", "--section-headers", str(path)))
