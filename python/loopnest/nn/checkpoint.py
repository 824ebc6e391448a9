"""Checkpoints: one .npz file, NumPy's archive of arrays with a checksum for each, and facts as JSON.

There are no pickled objects, which could run code when read.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ..arrays import Array
from ..output.files import replacing

FORMAT = "loopnest checkpoint 2"

T = TypeVar("T")


class CheckpointError(ValueError):
    """A file that is no checkpoint, or does not fit; the message says why, and what is expected."""


def save(path: Path, facts: Any, arrays: Mapping[str, Array]) -> None:
    """Write a dataclass of facts and arrays, whole or not at all.

    Raises OSError if the file cannot be written; the old file is then still there.
    """
    text = msgspec.json.encode({"format": FORMAT, "facts": facts})
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, facts=np.frombuffer(text, np.uint8), **arrays)


def load(path: Path, kind: type[T]) -> tuple[T, dict[str, Array]]:
    """The facts, a dataclass of this kind, and the arrays of a checkpoint.

    Raises CheckpointError, naming the file, if it cannot be read, is damaged, or is no checkpoint.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is no checkpoint, which would be an .npz file, or is damaged")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        content = msgspec.json.decode(arrays.pop("facts").tobytes())
        found, facts = content["format"], content["facts"]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise CheckpointError(f"{path} is no checkpoint of loopnest's, or is damaged: {error}") from None
    if found != FORMAT:
        raise CheckpointError(f"{path} is a {found!r}, expected a {FORMAT!r}: another version wrote it")
    try:
        return msgspec.convert(facts, kind), arrays
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{path} lacks what a training needs: {error}") from None
