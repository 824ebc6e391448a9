"""A learner's record, kept in the user's data folder. Nothing depends on it: without the folder, or with a damaged
file, the record is empty."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..backends.compiler import user_folder
from ..output.files import Count, reading, save_json


@dataclass
class Progress:
    """By number: the lessons that were read, the exercises that were right, and how many hints of each were shown."""

    read: set[Count] = field(default_factory=set)
    right: set[Count] = field(default_factory=set)
    hints: dict[Count, Count] = field(default_factory=dict)

    def save(self) -> bool:
        """Save it. Returns whether that was possible."""
        path = progress_file()
        if path is None:
            return False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_json(msgspec.to_builtins(self, str_keys=True), path)
        except OSError:
            return False
        return True


def progress_file() -> Path | None:
    """Where it is kept; None for a user without a home."""
    folder = user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support")
    return folder / "progress.json" if folder else None


def progress() -> Progress:
    """The kept record, or an empty one."""
    path = progress_file()
    try:
        if path is not None:
            with reading(path, "record of lessons"):
                return msgspec.json.decode(path.read_bytes(), type=Progress)
    except ValueError:
        pass  # none yet, or a damaged one
    return Progress()
