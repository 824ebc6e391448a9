"""A measuring process of its own, which tells what it measures as it does so, one line of JSON an event."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def run_telling(
    arguments: Callable[[int], Sequence[str]],
    environment: Mapping[str, str],
    output: Any,
    on_line: Callable[[str], None],
) -> int | None:
    """Run Python in a process of its own; its exit status, or None where Ctrl-C ended it.

    arguments  Python's command line, for the file descriptor that the process is to write its events to
    output     the file that gets what it prints
    on_line    is called with each event's line

    The process is in a session of its own, so that Ctrl-C comes to us alone: whatever it was doing then is dropped, and
    what it had done is here already.
    """
    receive, send = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments(send)],  # -P: nothing from the folder that we are called in
        pass_fds=[send],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
    )
    os.close(send)
    try:
        with os.fdopen(receive, encoding="utf-8") as events:
            for line in events:
                if line.endswith("\n"):  # a killed process may leave half a line
                    on_line(line)
        return process.wait()
    except KeyboardInterrupt:
        return None
    finally:
        process.kill()
        process.wait()


def how_it_ended(status: int, output: Any) -> str:
    """In words, with the last lines that it printed."""
    output.seek(0)
    last_lines = "".join(f"\n{line}" for line in output.read().splitlines()[-20:])
    if status >= 0:
        return f"the benchmark process ended with status {status}{last_lines}"
    return f"the benchmark process was ended by {signal.Signals(-status).name}{last_lines}"
