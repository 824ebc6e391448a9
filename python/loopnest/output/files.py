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
