"""Matrices in files to multiply, and a look at samples of their product."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FLOATS, Array
from ..numerics import gamma, precise
from .files import OnDisk, advise, open_matrix
from .memory import size_text

WHERE = "check_product"
GROUP = 8
"""Columns of a sample that are neighbours: b lies by rows mostly, and a page of it holds many of a row's elements."""


@dataclass(frozen=True)
class Sampled:
    """Elements of a product, held to the contract's bound.

    rows, columns  that were looked at: all elements where they cross
    elements       how many these are
    worst          the largest |c - exact| / (γ_k · |a||b|): at most 1 where all are right
    at             where that is, (row, column)
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    elements: int
    worst: float
    at: tuple[int, int]

    @property
    def right(self) -> bool:
        return self.worst <= 1


def check_product(a: Any, b: Any, c: Any, *, rows: int = 16, columns: int = 16, seed: int = 0) -> Sampled:
    """Hold samples of c, a product of two matrices in files, to what they are in a higher precision.

    a, b, c        as of matmul_out_of_core: (m, k), (k, n), (m, n)
    rows, columns  how many are looked at: the first and the last, and what the seed chooses

    Raises ValueError or TypeError, naming the argument, for what cannot be compared.

    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, x in ("a", np.ones((9, 4))), ("b", np.ones((4, 5))), ("c", np.full((9, 5), 4.0)):
    ...         np.save(f"{folder}/{name}.npy", x)
    ...     found = check_product(f"{folder}/a.npy", f"{folder}/b.npy", f"{folder}/c.npy")
    >>> found.elements, found.worst
    (45, 0.0)
    """
    left, right, made = open_matrix("a", a), open_matrix("b", b), open_matrix("c", c)
    (m, k), n = left.shape, right.shape[1]
    if right.shape[0] != k or made.shape != (m, n):
        raise ValueError(
            f"{WHERE}: a, b and c have the shapes {left.shape}, {right.shape} and {made.shape}, expected (m, k), "
            f"(k, n) and (m, n)"
        )
    if not m or not n:
        return Sampled((), (), 0, 0.0, (0, 0))
    rng = np.random.default_rng(seed)
    rows = max(rows, 2)
    lines = range(m) if rows >= m else [0, *sorted(1 + rng.choice(m - 2, rows - 2, replace=False)), m - 1]
    chosen = _groups(rng, n, columns)
    with left.opened(), right.opened(), made.opened():
        x = np.concatenate([_block(left, (i, i + 1), (0, k)) for i in lines])
        y = np.concatenate([_block(right, (0, k), group) for group in chosen], axis=1)
        z = np.concatenate(
            [np.concatenate([_block(made, (i, i + 1), group) for group in chosen], axis=1) for i in lines]
        )
    x, y = precise(x), precise(y)
    errors, allowed = abs(precise(z) - x @ y), gamma(k, left.dtype) * (abs(x) @ abs(y))
    ratios = np.where(errors == 0, 0.0, errors / np.maximum(allowed, np.finfo(left.dtype).tiny))
    worst = np.unravel_index(np.argmax(ratios), ratios.shape)  # a NaN, where there is one: it is no right element
    numbers = [j for begin, end in chosen for j in range(begin, end)]
    at = int(lines[int(worst[0])]), numbers[int(worst[1])]
    return Sampled(tuple(map(int, lines)), tuple(numbers), ratios.size, float(ratios[worst]), at)


def _groups(rng: np.random.Generator, n: int, columns: int) -> list[tuple[int, int]]:
    """Groups of neighbouring columns that do not overlap, the last ones among them; all where there are no more."""
    if columns >= n:
        return [(0, n)]
    width = min(GROUP, max(columns, 1))
    others = (n - width) // width  # begin at multiples of the width
    begins = rng.choice(others, min(columns // width - 1, others), replace=False)
    return [(int(i) * width, (int(i) + 1) * width) for i in sorted(begins)] + [(n - width, n)]


def _block(matrix: OnDisk, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """A block of the matrix, in memory of its own."""
    count = (rows[1] - rows[0]) * (columns[1] - columns[0])
    if not count:
        return np.empty((rows[1] - rows[0], columns[1] - columns[0]), matrix.dtype)
    block, _ = matrix.read(*rows, *columns, np.empty(count * matrix.unit, np.uint8), threading.Event())
    return block.copy()


def make_operands(
    folder: str | os.PathLike[str], m: int, k: int, n: int, *, dtype: Any = np.float32, seed: int = 0
) -> tuple[Path, Path]:
    """Write matrices of normal numbers to A.npy (m, k) and B.npy (k, n) in a folder, 64 MiB at a time; their paths.

    Raises ValueError for a size below 1 or another dtype than float32 and float64, OSError where the folder cannot be
    written, already has one of the files, or where its disk has no room for them and for their product.

    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     a, b = make_operands(folder, 20, 30, 40)
    ...     np.load(a).shape, np.load(b).shape
    ((20, 30), (30, 40))
    """
    dtype = np.dtype(dtype)
    if dtype not in FLOATS:
        raise ValueError(f"make_operands: dtype is {dtype}, expected float32 or float64")
    for name, size in (("m", m), ("k", k), ("n", n)):
        if size < 1:
            raise ValueError(f"make_operands: {name} is {size}, expected a whole number from 1 up")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    needed, free = dtype.itemsize * (m * k + k * n + m * n), shutil.disk_usage(place).free
    if needed > free:
        why = f"make_operands: the operands and their product take {size_text(needed)}, and {size_text(free)} are free"
        raise OSError(errno.ENOSPC, why, str(place))
    shapes = {place / "A.npy": (m, k), place / "B.npy": (k, n)}
    for path in shapes:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "make_operands: there is one already", str(path))
    for number, (path, shape) in enumerate(shapes.items()):
        try:
            _write(path, shape, dtype, np.random.default_rng([seed, number]))
        except BaseException:
            for made in shapes:
                made.unlink(missing_ok=True)
            raise
    a, b = shapes
    return a, b


def _write(path: Path, shape: tuple[int, int], dtype: np.dtype[Any], rng: np.random.Generator) -> None:
    rows = max(1, (64 << 20) // (shape[1] * dtype.itemsize))
    with open(path, "xb") as file:
        facts = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
        np.lib.format.write_array_header_1_0(file, facts)
        for begin in range(0, shape[0], rows):
            block = rng.standard_normal((min(rows, shape[0] - begin), shape[1]), dtype=dtype.type)
            file.write(block.data)
        file.flush()
        os.fsync(file.fileno())
        advise(file.fileno(), 0, 0, "POSIX_FADV_DONTNEED")  # so that it will be read from storage
