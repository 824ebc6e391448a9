"""Judging a file again whenever it is saved: the loop of `loopnest check --watch` and of `loopnest watch`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .records import Verdict

PAUSE = 0.2
"""Seconds between two looks at the files."""


def on_each_save(file: Path, judge: Callable[[], Verdict]) -> Iterator[Verdict]:
    """Judge now, and whenever the file, or a header or a module that it includes, changes; without end."""
    seen, files = None, {str(file)}
    while True:
        if file.exists() and (now := _state(files)) != seen:  # an editor may save it by renaming another
            try:
                verdict = judge()
            except Exception:
                if file.exists():
                    raise
                continue  # an editor has moved it away meanwhile, and puts another in its place
            made_of = {str(file), *(verdict.build.files if verdict.build else ())}
            seen = now if made_of == files else now | _state(made_of - files)
            seen, files = {name: seen[name] for name in made_of}, made_of
            yield verdict
        time.sleep(PAUSE)


def _state(files: set[str]) -> dict[str, tuple[int, int] | None]:
    """Each file's time and size; None where there is no such file."""
    found: dict[str, tuple[int, int] | None] = dict.fromkeys(files)
    for name in files:
        with contextlib.suppress(OSError):
            stat = Path(name).stat()
            found[name] = stat.st_mtime_ns, stat.st_size
    return found
