"""Weights that are packed once: ln.prepack."""

from typing import Any

from ...arrays import REDUCED, Call
from ...backends.prepacked import Prepacked, variants_for
from ...operation import Operation, UnavailableError


def prepack_for(matmul: Operation, b: Any, impl: str | None = None) -> Prepacked:
    """What ln.prepack returns."""
    call = Call("prepack", reduced=REDUCED, b=b)
    (matrix,) = call.inputs
    if matrix.ndim != 2:
        raise ValueError(
            f"prepack: b has shape {matrix.shape}, expected two axes, (k, n); pack the matrices of a stack one by one"
        )
    dtype = matrix.dtype.name
    chosen = matmul.fastest(dtype).variant if impl is None else str(impl).removeprefix("cpp.")
    if impl is None and chosen not in variants_for(dtype):  # amx_packed reads what amx_parallel does
        chosen = variants_for(dtype)[-1 if chosen.startswith("amx") else 0]
    if chosen not in variants_for(dtype):
        can = ", ".join(f"cpp.{variant}" for variant in variants_for(dtype))
        raise ValueError(f"prepack: impl is {impl!r}, expected one of {can}, which read a packed b of {dtype}")
    if reason := matmul[f"cpp.{chosen}"].why_unavailable():
        raise UnavailableError(f"prepack: cpp.{chosen} cannot run here: {reason}")
    return Prepacked(matrix, chosen)
