"""A matrix that is packed once and multiplied again and again, in the layout in which a C++ rung reads it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..arrays import FLOAT_NAMES, REDUCED, Array, Call

TILE_COLUMNS, TILE_ROWS = 32, 16  # of the panels that AMX's tiles read, in columns and in rows of units


@dataclass(frozen=True)
class Layout:
    """Panels of columns, as csrc/matmul/kernel/panels.hpp reads them.

    width  columns of a panel; the last panel is padded with zeros
    group  elements of a column that lie together
    rows   a panel's rows are a multiple of this number, padded with zeros
    sums   whether -128 times the sum of each column, as int32, lies behind a panel
    """

    width: int
    group: int
    rows: int
    sums: bool = False


def variants_for(dtype: str) -> list[str]:
    """The C++ rungs that read a packed matrix of this dtype."""
    if dtype in FLOAT_NAMES:
        return ["parallel"]
    further = {"bfloat16": ["dot_pairs", "amx_parallel"], "int8": ["dot_quads", "amx_parallel"]}
    return ["upcast", *further.get(dtype, [])]


def layout_for(variant: str, dtype: str) -> Layout:
    """The layout that a rung reads on the active ISA level."""
    as_float = np.dtype(dtype if dtype in FLOAT_NAMES else "float32")
    width = int(_core.kernels["matmul"]["panel_width"](np.empty(0, as_float)))
    of_bytes = dtype == "int8"
    match variant:
        case "dot_pairs":
            return Layout(width, 2, 2)
        case "dot_quads":
            return Layout(width, 4, 4, sums=True)
        case "amx_parallel":
            group = 4 if of_bytes else 2
            return Layout(TILE_COLUMNS, group, TILE_ROWS * group)
        case _:  # int8 is upcast in pairs
            return Layout(width, 2 if of_bytes else 1, 2 if of_bytes else 1)


class Prepacked:
    """A matrix b for products a @ b, packed by `loopnest.prepack`: accepted wherever `b` is.

    shape, dtype  b's, (k, n)
    rung          the id of the implementation that reads it
    nbytes        of the packed copy
    """

    ndim = 2
    operation = "matmul"

    def __init__(self, b: Array, variant: str) -> None:
        self.shape: tuple[int, ...] = b.shape
        self.dtype = b.dtype
        self.rung = f"cpp.{variant}"
        self.isa = _core.isa()
        self._layout = layout_for(variant, b.dtype.name)
        self._panels = _packed(_bits(b), self._layout)

    @property
    def nbytes(self) -> int:
        return self._panels.nbytes

    def unpack(self) -> Array:
        """A new array with b's elements, bit for bit, on any machine.

        >>> import numpy as np, loopnest as ln
        >>> b = np.arange(6.0).reshape(2, 3)
        >>> (ln.prepack(b).unpack() == b).all()
        np.True_
        """
        (k, n), layout = self.shape, self._layout
        rows, columns = -(-k // layout.rows) * layout.rows, len(self._panels) * layout.width
        elements = self._panels[:, : rows * layout.width]
        groups = elements.reshape(len(self._panels), rows // layout.group, layout.width, layout.group)
        return groups.transpose(1, 3, 0, 2).reshape(rows, columns)[:k, :n].copy().view(self.dtype)

    def check(self, operation: str, rung: str) -> None:
        """Raise TypeError where a rung cannot read it, and ValueError where it was packed on another machine."""
        if rung != self.rung and (operation == self.operation or not rung.startswith("cpp.")):
            taking = self.rung if operation == self.operation else "a C++ implementation"
            raise TypeError(
                f"{operation}: a matrix was packed for {self.rung}, which {rung} cannot read, expected {taking}; leave "
                "impl out, or pass its .unpack()"
            )
        here = layout_for(self.rung.removeprefix("cpp."), self.dtype.name)
        if here != self._layout:
            raise ValueError(
                f"{operation}: a matrix was packed on ISA level {self.isa} in panels of {self._layout.width} columns, "
                f"expected {here.width} columns for {_core.isa()}, which is active here; pack it again, as in "
                "ln.prepack(b.unpack())"
            )

    def call(self, operation: str, *, scales: tuple[str, ...] = (), **inputs: Any) -> Call:
        """The call of an operation with this matrix and further inputs; the first is multiplied by it."""
        call = Call(operation, reduced=REDUCED, scales=scales, **inputs)
        name, a = next(iter(inputs)), call.inputs[0]
        if a.dtype != self.dtype:
            raise TypeError(
                f"{operation}: {name} has dtype {a.dtype}, expected {self.dtype} to match the packed matrix; convert "
                f"{name}, or pack a matrix of {a.dtype}"
            )
        if a.ndim < 2 or a.shape[-1] != self.shape[0]:
            expected = f"(…, m, {self.shape[0]}) to match the packed {self.shape}"
            raise ValueError(f"{operation}: {name} has shape {a.shape}, expected {expected}")
        return call

    def multiply(self, a: Array, c: Array) -> None:
        """c = a b, for an a of any axes and strides, of b's dtype, and a c in C order."""
        k, n = self.shape
        try:
            self._kernel(_bits(a.reshape(-1, k, copy=False)), self._panels, _bits(c.reshape(-1, n, copy=False)))
        except ValueError:  # a's axes do not follow each other in memory, or there are no elements
            for index in np.ndindex(c.shape[:-2]):
                self._kernel(_bits(a[index]), self._panels, _bits(c[index]))

    @property
    def _kernel(self) -> Any:
        if self.rung == "cpp.parallel":
            return _core.kernels["matmul"]["prepacked"]
        return _core.reduced["matmul"][self.rung.removeprefix("cpp.") + "_prepacked"]

    def why(self) -> str:
        """Which implementation multiplies with it."""
        return f"{self.rung}, for which b is prepacked, in panels of {self._layout.width} columns"

    def __repr__(self) -> str:
        return f"<prepacked {self.shape[0]} x {self.shape[1]} {self.dtype.name} for {self.rung} on {self.isa}>"


def _bits(x: Array) -> Array:
    """The array, with bfloat16 as its bits, which kernels take."""
    return x.view(np.uint16) if x.dtype.kind == "V" else x


def _packed(b: Array, layout: Layout) -> Array:
    """b's panels, one in each row, from a multiple of 64 bytes on."""
    (k, n), width, group = b.shape, layout.width, layout.group
    rows, panels = -(-k // layout.rows) * layout.rows, -(-n // width)
    padded = np.zeros((rows, panels * width), b.dtype)
    padded[:k, :n] = b
    behind = width * 4 // b.itemsize if layout.sums else 0
    memory = np.empty(panels * (rows * width + behind) * b.itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    packed = memory[start : len(memory) - 64 + start].view(b.dtype).reshape(panels, rows * width + behind)
    packed[:, : rows * width].reshape(panels, rows // group, width, group)[...] = padded.reshape(
        rows // group, group, panels, width
    ).transpose(2, 0, 3, 1)
    if layout.sums:
        sums = -128 * padded.sum(0, dtype=np.int32)
        packed[:, rows * width :] = sums.view(np.int8).reshape(panels, behind)
    return packed
