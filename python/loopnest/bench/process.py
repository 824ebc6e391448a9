"""A measuring process of its own, which reports what it measures as it does so: one line of JSON an event."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def run_reporting(
    command: Sequence[str], environment: Mapping[str, str], on_event: Callable[[str, Any], None]
) -> tuple[int | None, str]:
    """Run Python in a process of its own: its exit status, None where Ctrl-C ended it; and how it ended, in words.

    command   Python's command line; `--events FD` is added, with the descriptor that the process writes its events to
    on_event  is called with the kind and the content of each

    The process is in a session of its own, so that Ctrl-C comes to us alone. What it was doing then is dropped, and
    what it had done is here already.
    """
    receive, send = os.pipe()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", *command, "--events", str(send)],  # -P: nothing from the current folder
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
                        on_event(*json.loads(line))
            status: int | None = process.wait()
        except KeyboardInterrupt:
            status = None
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        return status, _how_it_ended(status or 0, output.read().splitlines()[-20:])


def _how_it_ended(status: int, last_lines: Sequence[str]) -> str:
    ended = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
    return "\n".join([f"the benchmark process {ended}", *last_lines])
