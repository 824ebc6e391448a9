"""Checkpoints: files that are whole or not there, whenever the process ends.

A checkpoint is one .npz file, NumPy's archive of arrays with a checksum for each, and no pickled objects, which could
run code when read. It is written beside its final name, flushed to the disk, and then renamed, which is one step: a
reader finds the old file or the new one, and never a part of it.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array

FORMAT = "loopnest checkpoint 1"


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one that can be gone on with; the message says why and what is expected."""


def save(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write facts, which JSON can hold, and arrays to this file: all of it, or nothing where the process is cut off.

    Raises OSError where the file cannot be written; what was there before is then there still.
    """
    text = json.dumps({"format": FORMAT, **facts})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            np.savez(file, allow_pickle=False, facts=np.frombuffer(text.encode(), np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        clear_unfinished(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems do not sync folders; the file is whole all the same
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def clear_unfinished(path: Path) -> None:
    """Remove what processes that have ended in the midst of writing this file left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not runs(int(process)):
            left.unlink(missing_ok=True)


def runs(process: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(process, 0)  # no signal: it only asks
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def load(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The facts and the arrays of a checkpoint.

    Raises CheckpointError, naming the file, where it cannot be read, is damaged, or is none.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is no checkpoint, which would be an .npz file, or is damaged")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is no checkpoint, or damaged: {error}") from None
    facts = arrays.pop("facts", np.zeros(0, np.uint8))
    try:
        told = json.loads(facts.tobytes())
        found = told.pop("format")
    except (ValueError, KeyError, AttributeError):
        raise CheckpointError(f"{path} is an archive of arrays, and no checkpoint of loopnest's") from None
    if found != FORMAT:
        raise CheckpointError(f"{path} is a {found!r}, expected a {FORMAT!r}: it was written by another version")
    return told, arrays
