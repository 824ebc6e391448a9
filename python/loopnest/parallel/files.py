"""Matrices in files: blocks of them read into buffers of ours, and blocks of a product written.

Nothing is read through a mapping: the pages of an np.memmap that are touched count as the process's resident memory,
and buffers that are filled by preadv are all that a block takes.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FLOATS, Array
from ..nn.checkpoint import clear_unfinished

WHERE = "matmul_out_of_core"
AHEAD = 256
"""Lines whose reading the system is told of before the first of them is read, so that storage has many at a time."""

SHORT = 128 << 10
"""Bytes below which a line is short: Linux reads ahead as many, and of short lines that would be for nothing."""

PIECE = 8 << 20
"""Bytes of one call of the system's, so that a product that is given up stops soon."""

FLUSHED = 32 << 20
"""Bytes that are written before they are flushed to storage."""

PAGE = mmap.PAGESIZE


class Stopped(Exception):
    """The product was given up while this thread was at work for it."""


@dataclass
class OnDisk:
    """A matrix in a file: its element (i, j) begins at the byte offset + i strides[0] + j strides[1]."""

    path: Path
    shape: tuple[int, int]
    strides: tuple[int, int]
    offset: int
    dtype: np.dtype[Any]
    file: int = -1

    @property
    def T(self) -> OnDisk:
        return OnDisk(self.path, self.shape[::-1], self.strides[::-1], self.offset, self.dtype, self.file)

    @property
    def by_columns(self) -> bool:
        """Whether it is columns that lie in one piece, or nearly so, and not rows."""
        down, across = self._step(0), self._step(1)
        return down < across or (down == across and self.shape[0] > self.shape[1])

    @property
    def unit(self) -> int:
        """Bytes of a buffer that an element takes at most: more than the itemsize where a view skips elements."""
        return min(self._step(0), self._step(1))

    def _step(self, axis: int) -> int:
        return max(abs(self.strides[axis]) if self.shape[axis] > 1 else 0, self.dtype.itemsize)

    def extent(self) -> tuple[int, int]:
        """The first of its bytes in the file, and the first behind the last."""
        if 0 in self.shape:
            return self.offset, self.offset
        steps = [stride * (length - 1) for stride, length in zip(self.strides, self.shape, strict=True)]
        low = self.offset + sum(min(step, 0) for step in steps)
        return low, self.offset + sum(max(step, 0) for step in steps) + self.dtype.itemsize

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Inside, blocks can be read."""
        self.file = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            yield
        finally:
            os.close(self.file)
            self.file = -1

    def read(self, i0: int, i1: int, j0: int, j1: int, buffer: Array, stopping: threading.Event) -> tuple[Array, int]:
        """Rows i0 … i1 and columns j0 … j1, as a view of the buffer (bytes), and how many bytes were read.

        Lines lie in the buffer as they do in the file, with what a view skips between elements, so that nothing is
        copied or turned: the kernels take strides.
        """
        if self.by_columns:
            block, count = self.T.read(j0, j1, i0, i1, buffer, stopping)
            return block.T, count
        item, (down, across) = self.dtype.itemsize, self.strides
        lines, line = i1 - i0, (j1 - j0 - 1) * abs(across) + item
        first = self.offset + i0 * down + (j0 if across >= 0 else j1 - 1) * across
        if down == line:  # one after the other, without a gap
            self._lines(first, 0, 1, line * lines, buffer, stopping)
        else:
            self._lines(first, down, lines, line, buffer, stopping)
        elements = buffer[: lines * line].view(self.dtype).reshape(lines, -1)[:, :: max(abs(across) // item, 1)]
        if across == 0:  # one element stands for a line of them
            elements = np.broadcast_to(elements, (lines, j1 - j0))
        return (elements[:, ::-1] if across < 0 else elements), lines * line

    def _lines(self, first: int, apart: int, lines: int, length: int, buffer: Array, stopping: threading.Event) -> None:
        """Read lines of so many bytes, which begin so many bytes apart, one behind the other into the buffer."""
        target = buffer.data
        short = lines > 1 and length < SHORT
        advise(self.file, 0, 0, "POSIX_FADV_RANDOM" if short else "POSIX_FADV_NORMAL")
        for line in range(lines):
            if short and line % AHEAD == 0:
                for soon in range(line, min(line + AHEAD, lines)):
                    advise(self.file, first + soon * apart, length, "POSIX_FADV_WILLNEED")
            if stopping.is_set():
                raise Stopped
            self._fill(first + line * apart, target[line * length : (line + 1) * length], stopping)

    def _fill(self, position: int, target: memoryview, stopping: threading.Event) -> None:
        begin = position
        while target:
            if stopping.is_set():
                raise Stopped
            count = os.preadv(self.file, [target[:PIECE]], position)
            if count == 0:
                raise OSError(
                    errno.EIO, f"{WHERE}: the file ended at byte {position} while it was read: has it become shorter?",
                    str(self.path),
                )  # fmt: skip
            target, position = target[count:], position + count
        # Whole pages that end here are done with; the one that goes on belongs to the next panel too.
        start, end = begin - begin % PAGE, position - position % PAGE
        if end > start:
            advise(self.file, start, end - start, "POSIX_FADV_DONTNEED")


def advise(file: int, start: int, length: int, how: str) -> None:
    """What the system's cache should do with these bytes, where there is a way to say so."""
    advice = getattr(os, how, None)
    if advice is not None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(file, start, length, advice)


# --- what the user gives


def open_matrix(name: str, given: Any) -> OnDisk:
    """Where an operand lies. Raises ValueError or TypeError, naming it, where it is none."""
    where = f"{WHERE}: {name}"
    if isinstance(given, str | os.PathLike):
        matrix = _npy(where, Path(given))
    elif isinstance(given, np.memmap):
        matrix = mapped(where, given)
    elif isinstance(given, np.ndarray):
        raise TypeError(
            f"{where} is an array in memory, expected an np.memmap or the path of an .npy file; multiply arrays with "
            f"loopnest.matmul"
        )
    else:
        raise TypeError(f"{where} is a {type(given).__name__}, expected an np.memmap or the path of an .npy file")
    _check_dtype(where, matrix.dtype)
    if not matrix.path.is_file():
        raise FileNotFoundError(errno.ENOENT, f"{where}: its file is no longer there", str(matrix.path))
    size, end = matrix.path.stat().st_size, matrix.extent()[1]
    if end > size:
        raise ValueError(f"{where}: {matrix.path} has {size:,} bytes, expected {end:,}: it was cut off")
    return matrix


def _check_dtype(where: str, dtype: np.dtype[Any]) -> None:
    if dtype not in FLOATS:
        raise TypeError(f"{where} has dtype {dtype}, expected float32 or float64 in this machine's byte order")


def _npy(where: str, path: Path) -> OnDisk:
    """The matrix of an .npy file, whose header alone is read."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in header:
                raise ValueError(f"version {version[0]}.{version[1]} is for structured arrays")
            shape, by_columns, dtype = header[version](file)
            offset = file.tell()
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, f"{where}: there is no such file", str(path)) from None
    except ValueError as error:
        raise ValueError(f"{where}: {path} is no .npy file of a matrix ({error}); np.save makes one") from None
    if dtype.hasobject:
        raise TypeError(f"{where} has dtype {dtype}, expected float32 or float64")
    if len(shape) != 2:
        raise ValueError(f"{where} has shape {shape}, expected two axes")
    item = dtype.itemsize
    strides = (item, item * shape[0]) if by_columns else (item * shape[1], item)
    return OnDisk(path.resolve(), (shape[0], shape[1]), strides, offset, dtype)


def mapped(where: str, array: np.memmap[Any, Any]) -> OnDisk:
    """Where the elements of a mapped array, or of a view of one, lie in its file."""
    if array.ndim != 2:
        raise ValueError(f"{where} has shape {array.shape}, expected two axes")
    mapping, name = array._mmap, array.filename  # type: ignore[attr-defined]  # NumPy keeps both in views
    if not isinstance(mapping, mmap.mmap) or name is None:
        raise ValueError(f"{where} is a copy in memory, or has no file with a name, expected a view of a mapped file")
    if array.mode == "c":
        raise ValueError(
            f"{where} is mapped copy-on-write (mode 'c'), so that what was changed is not in its file; expected mode "
            f"'r' or 'r+'"
        )
    item = array.dtype.itemsize
    if any(stride % item for stride in array.strides):
        raise ValueError(f"{where} has strides of {array.strides} bytes, expected multiples of its elements' {item}")
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY  # of the mapping, in the file
    address = np.frombuffer(mapping, np.uint8).ctypes.data
    offset = start + array.ctypes.data - address
    shape, strides = array.shape, array.strides
    return OnDisk(Path(name).resolve(), (shape[0], shape[1]), (strides[0], strides[1]), offset, array.dtype)


# --- what is written


class Output:
    """A file that takes a product block by block.

    An .npy file is written under another name and gets its own when it is whole; a mapped one is written to in place.
    """

    def __init__(self, matrix: OnDisk, file: int, unfinished: Path | None) -> None:
        self.path, self._matrix, self._file, self._unfinished = matrix.path, matrix, file, unfinished
        self._waiting = 0  # bytes that are not in storage yet

    def write(self, i: int, j: int, strip: Array, stopping: threading.Event) -> None:
        """Rows from i and columns from j on; strip is in C order."""
        down, across = self._matrix.strides
        first = self._matrix.offset + i * down + j * across
        source = strip.reshape(-1).view(np.uint8).data
        line = strip.shape[1] * across
        if down == line:
            self._all(first, source, stopping)
        else:
            for r in range(len(strip)):
                self._all(first + r * down, source[r * line : (r + 1) * line], stopping)
        self._waiting += strip.nbytes
        if self._waiting >= FLUSHED:
            self.flush()

    def _all(self, position: int, source: memoryview, stopping: threading.Event) -> None:
        while source:
            if stopping.is_set():
                raise Stopped
            count = os.pwrite(self._file, source[:PIECE], position)
            source, position = source[count:], position + count

    def fill_with_zeros(self) -> None:
        """The product of matrices that have no k."""
        (m, n), item = self._matrix.shape, self._matrix.dtype.itemsize
        zeros, stopping = np.zeros((1, n), self._matrix.dtype), threading.Event()
        if self._matrix.strides[0] == n * item and m:
            rows = max(1, min(m, PIECE // max(n * item, 1)))
            zeros = np.zeros((rows, n), self._matrix.dtype)
        for i in range(0, m if n else 0, len(zeros)):
            self.write(i, 0, zeros[: m - i], stopping)

    def flush(self) -> None:
        """All that was written is in storage, and no longer in the system's cache, which drops no page that waits."""
        os.fsync(self._file)
        self._waiting = 0
        advise(self._file, 0, 0, "POSIX_FADV_DONTNEED")

    def finish(self) -> None:
        """The file gets its name."""
        if self._unfinished is None:
            return
        os.replace(self._unfinished, self.path)
        with contextlib.suppress(OSError):  # some file systems do not sync folders; the file is whole all the same
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextlib.contextmanager
def open_output(
    out: Any, shape: tuple[int, int], dtype: np.dtype[Any], inputs: Mapping[str, OnDisk]
) -> Iterator[Output]:
    """The file that receives the product; what was not finished is removed. Raises as open_matrix does."""
    where = f"{WHERE}: out"
    if isinstance(out, np.memmap):
        matrix = _mapped_output(where, out, shape, dtype, inputs)
        with _closing(os.open(matrix.path, os.O_RDWR)) as file:
            yield Output(matrix, file, None)
    elif isinstance(out, str | os.PathLike):
        with _new_file(where, Path(out), shape, dtype, inputs) as output:
            yield output
    else:
        kind = "an array in memory" if isinstance(out, np.ndarray) else f"a {type(out).__name__}"
        raise TypeError(f"{where} is {kind}, expected the path of an .npy file to write, or an np.memmap")


def _mapped_output(
    where: str, out: np.memmap[Any, Any], shape: tuple[int, int], dtype: np.dtype[Any], inputs: Mapping[str, OnDisk]
) -> OnDisk:
    if out.shape != shape:
        raise ValueError(f"{where} has shape {out.shape}, expected {shape}")
    if out.dtype != dtype:
        raise TypeError(f"{where} has dtype {out.dtype}, expected the inputs' {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{where} is read-only, expected a memmap of mode 'r+' or 'w+'")
    matrix = mapped(where, out)
    item = dtype.itemsize
    if out.size and (out.strides[1] != item or out.strides[0] < shape[1] * item):
        raise ValueError(f"{where} has strides of {out.strides} bytes, expected rows in one piece, one after another")
    begin, end = matrix.extent()
    for name, other in inputs.items():
        low, high = other.extent()
        if os.path.samefile(matrix.path, other.path) and begin < high and low < end:
            raise ValueError(f"{where} overlaps {name} in {matrix.path}, expected bytes of its own")
    return matrix


@contextlib.contextmanager
def _new_file(
    where: str, path: Path, shape: tuple[int, int], dtype: np.dtype[Any], inputs: Mapping[str, OnDisk]
) -> Iterator[Output]:
    if path.suffix != ".npy":
        raise ValueError(f"{where} is {path}, expected a name that ends in .npy")
    if path.is_dir():
        raise ValueError(f"{where} is {path}, which is a folder, expected the name of a file in it")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{where} is {path}, expected a folder that exists: there is no {path.absolute().parent}")
    for name, other in inputs.items():
        if path.exists() and os.path.samefile(path, other.path):
            raise ValueError(f"{where} is {path}, the file of {name}, expected another one: an input is never changed")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, f"{where} is read-only, expected a file that may be replaced", str(path))
    path = path.resolve()  # a link stays, and what it leads to is replaced
    header = _header(shape, dtype)
    size = shape[0] * shape[1] * dtype.itemsize
    clear_unfinished(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
        with _closing(file):
            _reserve(where, file, path, len(header) + size)
            os.pwrite(file, header, 0)
            item = dtype.itemsize
            matrix = OnDisk(path, shape, (shape[1] * item, item), len(header), dtype)
            yield Output(matrix, file, unfinished)
    finally:
        unfinished.unlink(missing_ok=True)  # no longer there when it has got its name


def _header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    import io

    stream = io.BytesIO()
    facts = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()


def _reserve(where: str, file: int, path: Path, size: int) -> None:
    """Take the disk space before the hours of work, where the file system can say whether it has it."""
    from .memory import size_text

    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.ftruncate(file, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = size_text(shutil.disk_usage(path.parent).free)
            why = f"{where} needs {size_text(size)}, and there is no room for it: {error.strerror}, {free} are free"
            raise OSError(error.errno, why, str(path)) from None
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        os.ftruncate(file, size)


@contextlib.contextmanager
def _closing(file: int) -> Iterator[int]:
    try:
        yield file
    finally:
        os.close(file)
