"""Checkpoints: one .npz file, NumPy's archive of arrays with a checksum for each, and facts as JSON.

There are no pickled objects, which could run code when read. A file is read as `save` writes it, and nothing else is:
members without compression, whose headers are as NumPy writes them and announce as many bytes as there are.
"""

import math
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from ..arrays import Array
from ..output.files import reading, replacing

FORMAT = "loopnest checkpoint 2"

T = TypeVar("T")


class CheckpointError(ValueError):
    """A file that is no checkpoint, or does not fit; the message says why, and what is expected."""


class _Content(msgspec.Struct, Generic[T]):
    format: str
    facts: T


def save(path: Path, facts: Any, arrays: Mapping[str, Array]) -> None:
    """Write a dataclass of facts and arrays, whole or not at all.

    Raises OSError if the file cannot be written; the old file is then still there.
    """
    text = msgspec.json.encode({"format": FORMAT, "facts": facts})
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, facts=np.frombuffer(text, np.uint8), **arrays)


def load(path: Path, kind: type[T]) -> tuple[T, dict[str, Array]]:
    """The facts, a dataclass of this kind, and the arrays of a checkpoint: float32, float64 or bytes.

    Raises CheckpointError, naming the file, if it cannot be read, is damaged, or is no checkpoint.
    """
    try:
        if path.exists() and not (path.is_file() and zipfile.is_zipfile(path)):  # a pipe would wait for a writer
            raise CheckpointError(f"{path} is no checkpoint, which would be an .npz file, or is damaged")
        arrays = {name.removesuffix(".npy"): _array(name, member) for name, member in _members(path).items()}
        if "facts" not in arrays:
            raise ValueError("it has no facts")
        text = arrays.pop("facts").tobytes()
        with reading(path, "checkpoint of loopnest's"):
            found = msgspec.json.decode(text, type=_Content[Any]).format
            if found != FORMAT:
                raise CheckpointError(f"{path} is a {found!r}, expected a {FORMAT!r}: another version wrote it")
            return msgspec.json.decode(text, type=_Content[kind]).facts, arrays  # type: ignore[valid-type]
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        said = (
            str(error) if str(path) in str(error) else f"{path} is no checkpoint of loopnest's, or is damaged: {error}"
        )
        raise CheckpointError(said) from None


def _members(path: Path) -> dict[str, bytes]:
    """The archive's files by name. Raises ValueError for an archive that np.savez would not write."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size > size:
                    raise ValueError(f"its member {member.filename!r} is not as NumPy saves it")
            return {member.filename: archive.read(member) for member in archive.infolist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, struct.error, RuntimeError, OverflowError) as error:
        raise ValueError(f"the archive is damaged: {error}") from None


_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|<f8|\|u1)', 'fortran_order': (False|True), "
    rb"'shape': \(((?:\d{1,15}, ?)*(?:\d{1,15})?)\), \} *\n",
    re.DOTALL,
)
"""What NumPy writes before an array of these dtypes (numpy.lib.format)."""


def _array(name: str, member: bytes) -> Array:
    """The array of a member. Raises ValueError for one that NumPy would not write."""
    header = _HEADER.match(member)
    if header is None:
        raise ValueError(f"its member {name!r} is no array of float32, float64 or bytes")
    dtype, by_columns = np.dtype(header[1].decode()), header[2] == b"True"
    shape = tuple(int(length) for length in header[3].replace(b",", b" ").split())
    if header.end() + math.prod(shape) * dtype.itemsize != len(member):
        raise ValueError(f"its array {name!r} of shape {shape} has {len(member) - header.end()} bytes of {dtype}")
    flat = np.frombuffer(member, dtype, offset=header.end()).copy()
    return flat.reshape(shape, order="F" if by_columns else "C")
