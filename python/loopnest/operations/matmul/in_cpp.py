"""matmul in C++: a rung is a header below csrc/matmul/ and a line of csrc/rungs.def."""

import functools

from ... import _core
from ...arrays import REDUCED
from ...backends import cpp_rungs, reduced_cpp_rungs, why_no_instructions
from ...backends.cpp import amx_is_emulated


def fastest_product(dtype: str) -> str:
    """The rung in C++ that products of elements of this dtype take: the one that was the fastest in this process."""
    return _fastest_product(dtype, _core.isa(), amx_is_emulated())


@functools.cache  # finding it takes longer than a product of 64 x 64
def _fastest_product(dtype: str, _isa: str, _emulated: bool) -> str:
    from . import matmul

    return matmul.rung("cpp", dtype).variant


TILES = {"dtypes": ["bfloat16", "int8"], "emulated": amx_is_emulated}

RUNGS = {
    "matmul": cpp_rungs(
        "matmul",
        study=("jik", "jki", "kij", "kji"),
        faster_than={
            "reordered": "cpp.naive",
            "blocked": "cpp.reordered",
            **dict.fromkeys(("register_tiled", "packed", "prefetched", "parallel"), "cpp.blocked"),
        },
    )
    + reduced_cpp_rungs(
        "matmul",
        upcast={"dtypes": REDUCED, "faster_than": "numba.upcast"},
        dot_pairs={"dtypes": ["bfloat16"], "requires": functools.partial(why_no_instructions, "avx512_bf16")},
        dot_quads={"dtypes": ["int8"], "requires": functools.partial(why_no_instructions, "avx512_vnni")},
        amx_one_tile=TILES,
        amx_four_tiles=TILES,
        amx_packed=TILES,
        amx_parallel=TILES,
    ),
}
