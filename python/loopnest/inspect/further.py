"""Instructions that capstone 5 does not know: AMX's tiles, and those of bfloat16 and float16. binutils' objdump does.

objdump names an instruction and its operands; what it computes is said here.
"""

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from .records import Instruction

PRODUCTS = {"vdpbf16ps": 2, "vpdpbusd": 4, "tdpbf16ps": 2, "tdpbssd": 4}
"""Products of reduced precision that an instruction adds to each sum of 32 bits."""

_TILE_SUMS, _TILE_UNITS, _TILE_BYTES = 16 * 16, 16, 1024


def named_by_objdump(code: bytes, address: int) -> dict[int, tuple[int, str, str]]:
    """Each instruction of a function's bytes by its address: size, name, operands. Empty where there is no objdump."""
    command = shutil.which("objdump")
    if command is None:
        return {}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "code"
        file.write_bytes(code)
        options = ["-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", f"--adjust-vma={address}", "-w"]
        run = subprocess.run([command, *options, str(file)], capture_output=True, text=True)
    lines = re.findall(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*([^\s#<]+) *([^#<\n]*)", run.stdout, re.MULTILINE)
    return {int(at, 16): (len(bits) // 3, name, operands.strip()) for at, bits, name, operands in lines}


def further_instruction(address: int, size: int, name: str, operands: str) -> Instruction:
    """An instruction by its name and operands alone."""
    places = re.findall(r"\[.*?\]|\w+", operands)
    registers = [(place, int(place[3:])) for place in places if re.fullmatch(r"[xyzt]mm\d+", place)]
    numbers = [number + (100 if place[0] == "t" else 0) for place, number in registers]  # tiles next to vectors
    tiles, memory = any(place[0] == "t" for place, _ in registers), "[" in operands
    bits = max(({"x": 128, "y": 256, "z": 512}.get(place[0], 0) for place, _ in registers), default=0)
    sums, itemsize, kind = bits // 32, 2, "other"
    if name in PRODUCTS:
        kind, itemsize = "fma", 4 // PRODUCTS[name]
        sums = _TILE_SUMS * _TILE_UNITS if tiles else sums
    elif re.fullmatch(r"vfn?m(add|sub)\d+ph", name):
        kind, sums = "fma", bits // 16
    elif name.startswith("vcvt"):
        kind = "convert"
    elif name.startswith(("tileload", "tilestore")):
        kind = "load" if name.startswith("tileload") else "store"
    writes = kind == "store"
    return Instruction(
        address=address,
        size=size,
        mnemonic=name,
        operands=operands,
        kind=kind,
        bytes=0 if not memory else _TILE_BYTES if tiles else bits // 8,
        reads=memory and not writes,
        writes=writes,
        vector_bits=bits,
        lanes=sums * PRODUCTS.get(name, 1) if kind == "fma" else 0,
        itemsize=itemsize if kind == "fma" else 0,
        needs=tuple(numbers if kind in ("fma", "store") else numbers[1:]),
        gives=numbers[0] if numbers and not writes else None,
    )
