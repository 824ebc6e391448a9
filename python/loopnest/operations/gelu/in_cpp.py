"""GELU and its gradient in C++: a rung is a header below csrc/gelu/ and a line of csrc/rungs.def."""

from ...backends import cpp_rungs

RUNGS = {
    "gelu": cpp_rungs("gelu", faster_than={"polynomial": "cpp.scalar", "simd": "cpp.scalar"}),
    "gelu_backward": cpp_rungs("gelu_backward", faster_than={"polynomial": "cpp.scalar", "simd": "cpp.scalar"}),
}
