"""Saving files: whenever the process ends, a reader finds the old file or the new one, never a part of it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ABANDONED = 3600.0
"""Seconds after which an unfinished file belongs to a process that was killed."""


def save_json(data: Any, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    save_text(json.dumps(data, indent=1) + "\n", path)


def save_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file to write in the block; at its end the file is flushed to the disk and renamed to `path`, in one step.

    An exception in the block, or OSError from the disk, leaves the old file as it was. Files that killed processes left
    unfinished an hour ago are removed.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    with contextlib.suppress(OSError):  # some file systems do not sync folders; the file is whole all the same
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_new(text: str, path: Path) -> None:
    """Write a file that does not exist yet. Raises ValueError if it exists, or its folder does not."""
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{path} exists and is left as it is; move it away, or name another file") from None
