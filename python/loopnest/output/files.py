"""Saving files: whenever the process ends, a reader finds the old file or the new one, never a part of it. And reading
them: a file that somebody changed or cut off is refused with one line."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec

ABANDONED = 3600.0
"""Seconds after which an unfinished file belongs to a process that was killed."""

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e18)]
"""A figure in a file: seconds, or an amount in a second."""

Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
"""A number of things or bytes in a file."""

Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """The block reads a file by msgspec, and so by a schema of types and limits: what is wrong with it is a ValueError.

    what  is expected, such as "a machine card"

    The message is one line, which names the file.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path} is no {what}, or is damaged: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file: {error}") from None


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
    unfinished an hour ago are removed. The new file has the old one's permissions. The target of a symbolic link is
    replaced, not the link. What is no regular file (a device, a pipe, /dev/stdout) is written to, never replaced.
    """
    target = Path(os.path.realpath(path))
    is_descriptor = os.path.abspath(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))
    if path.exists() and (is_descriptor or not path.is_file()):
        with open(path, "wb") as file:
            yield file
        return
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    path = target
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, unfinished)
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
