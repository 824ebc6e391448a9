"""Saving files: one that is there already is replaced when the new one is complete."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def save_json(data: Any, path: Path) -> None:
    """Write a JSON file; one that is there already is replaced when the new one is complete."""
    save_text(json.dumps(data, indent=1) + "\n", path)


def save_text(text: str, path: Path) -> None:
    """Write a file; one that is there already is replaced when the new one is complete."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def save_new(text: str, path: Path) -> None:
    """Write a file that does not exist yet. Raises ValueError where it exists, or its folder does not."""
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{path} exists and is left as it is; move it away, or name another file") from None
