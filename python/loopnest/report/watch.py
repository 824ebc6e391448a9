"""The page of `loopnest watch`: each save of a file with verdict, times and machine code, and the local server of it.

The server answers on 127.0.0.1 alone, and only requests that carry the token of the address and name this host: so no
other user of the machine without the address, and no website in the same browser, can read the page. The page's script
writes everything as text. Saved to a file, the page needs no server.
"""

from __future__ import annotations

import difflib
import functools
import http.server
import json
import re
import secrets
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from ..check.inside import Inside
from ..check.judge import WILD, per_cent
from ..check.records import Placing
from ..inspect.records import Line
from ..inspect.tables import sums_of
from ..output.page import page
from ..output.text import duration

HERE = Path(__file__).parent

KEPT = 100
"""Saves that the page keeps."""

MOST_LINES = 600
"""Lines of machine code that the page shows: of a longer function, those around its hot loop."""

WAIT = 10.0
"""Seconds for which a request for news is kept open while there are none."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


@dataclass(frozen=True)
class Row:
    """A line of source, or of machine code.

    note  what became of a line of source; an instruction's kind
    line  the line of source that it is, or comes from
    hot   whether it is in the hot loop; new: whether it is not in the save before
    """

    text: str
    note: str
    line: int | None
    hot: bool
    new: bool


@dataclass(frozen=True)
class Save:
    """What the page shows of one save, as text.

    share   per cent of the machine's limit; None where it was not timed, or its times are noise
    ladder  name, median time, share of the limit in numbers and in words, of the file ("") and of rungs, slowest first
    """

    number: int
    time: str
    took: str
    right: bool
    verdict: str
    sentence: str
    share: float | None
    details: tuple[str, ...]
    notes: tuple[str, ...]
    ladder: tuple[tuple[str, str, float, str], ...]
    workload: str
    source: tuple[Row, ...]
    code: tuple[Row, ...]
    why_not: str
    sums: tuple[str, ...]


def save_of(source: str, inside: Inside, before: Sequence[Save]) -> Save:
    """The record of a save: `inside` has the listings "asm" and "source" if it was built.

    before  the earlier saves, with which it is compared
    """
    verdict, own = inside.verdict, inside.verdict.timing.own if inside.verdict.timing else None
    messages = verdict.build.messages.splitlines() if verdict.build else []
    printed = [f"printed: {line}" for line in verdict.output.splitlines()]
    steps = [f"next: {step.splitlines()[0]}" for step in verdict.next_steps]
    return Save(
        number=before[-1].number + 1 if before else 1,
        time=f"{datetime.now():%H:%M:%S}",
        took=duration(verdict.seconds),
        right=verdict.accepted,
        verdict=f"{verdict.outcome} ({verdict.fault})" if verdict.fault else verdict.outcome,
        sentence=verdict.sentence,
        share=100 * own.share.estimate if own and own.share and own.share.high <= WILD * own.share.low else None,
        details=tuple(dict.fromkeys([*verdict.details, *messages])),
        notes=(*verdict.notes, *printed, *steps),
        ladder=tuple(_ladder(verdict.timing)) if verdict.timing else (),
        workload=own.workload if own else "",
        source=tuple(_source(source.splitlines(), inside, [row.text for s in before[-1:] for row in s.source])),
        code=tuple(_code(inside, next((save.code for save in reversed(before) if save.code), ()))),
        why_not=inside.why_not if verdict.build and inside.why_not != verdict.sentence else "it was not built",
        sums=tuple(sums_of(inside.loop)) if inside.loop else (),
    )


def _ladder(timing: Placing) -> Iterator[tuple[str, str, float, str]]:
    """The file and the rungs that ran with it, slowest first, and the machine's limit."""
    own = timing.own
    for r in sorted(timing.races, key=lambda r: -r.best):
        share = (100 * r.share.estimate, per_cent(r.share)) if r.share else (0.0, "")
        yield "" if r is own else r.name, duration(statistics.median(r.seconds)), *share
    if own.limit:
        yield "the machine's limit", duration(own.limit), 100.0, ""


def _source(lines: Sequence[str], inside: Inside, before: Sequence[str]) -> Iterator[Row]:
    """The file's lines, with what became of those in the hot loop."""
    listed = [line for listing in inside.listings[1:] for line in listing.lines if line.hot]
    notes, new = {n: line.note for line in listed if (n := _line(line, inside))}, _new(lines, before)
    for n, text in enumerate(lines, 1):
        yield Row(text, notes.get(n, ""), n, n in notes, n - 1 in new)


def _code(inside: Inside, before: Sequence[Row]) -> Iterator[Row]:
    """The lines of the function that the hot loop is in."""
    code = list(inside.listings[0].lines if inside.listings else ())
    if len(code) > MOST_LINES:
        first = next((n for n, line in enumerate(code) if line.hot), 0)
        code = code[max(0, first - MOST_LINES // 4) :][:MOST_LINES]
    new = _new([_plain(line.text) for line in code], [_plain(row.text) for row in before])
    for n, line in enumerate(code):
        yield Row(line.text, line.kind, _line(line, inside), line.hot, n in new)


def _line(line: Line, inside: Inside) -> int | None:
    """The line of the file itself that a line of a listing comes from."""
    return line.source[1] if line.source and line.source[0] == _resolved(inside.verdict.file) else None


@functools.cache
def _resolved(file: str) -> str:
    return str(Path(file).resolve())


def _plain(instruction: str) -> str:
    """An instruction without the addresses that change with everything before it."""
    return re.sub(r"0x[0-9a-f]{3,}", "0x…", instruction)


def _new(now: Sequence[str], before: Sequence[str]) -> set[int]:
    """The lines that are not in the text before, by their indices; none where there was none."""
    if not before:
        return set()
    changes = difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes()
    return {n for kind, _, _, first, last in changes if kind in ("replace", "insert") for n in range(first, last)}


class Page:
    """What is shown, and the server that shows it at `address`, inside a `with`."""

    def __init__(self, file: Path, operation: str) -> None:
        self.file, self.operation, self.saves, self.busy = file, operation, list[Save](), "starting"
        self._version, self._changed, self._token = 0, threading.Condition(), secrets.token_urlsafe(24)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}/{self._token}/"

    def __enter__(self) -> Page:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def say(self, busy: str, save: Save | None = None) -> None:
        """Show what is done now, "" for nothing, and a new save."""
        with self._changed:
            self.busy, self.saves = busy, [*self.saves, *([save] if save else [])][-KEPT:]
            self._version += 1
            self._changed.notify_all()

    def state(self, seen: int = -1, after: int = 0) -> dict[str, Any]:
        """The state, with the saves behind number `after`; it waits a while for another version than `seen`."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, WAIT)
            saves = [save for save in self.saves if save.number > after]
            return {"version": self._version, "busy": self.busy, "saves": msgspec.to_builtins(saves)}

    def html(self) -> str:
        """The page, with all saves so far."""
        style, script, body = (HERE.joinpath(f"watch.{end}").read_text("utf-8") for end in ("css", "js", "html"))
        data = {**self.state(), "live": True, "file": self.file.name}
        about = f"loopnest watch {self.file.name} --op {self.operation}"
        return page(f"{self.file.name} as {self.operation}", body, about=about, style=style, script=script, data=data)

    def _answer(self, host: str, path: str) -> tuple[int, str, str]:
        """Status, type and text of the answer to a request."""
        parts, port = urlsplit(path), self._server.server_port
        _, token, name = (*parts.path.split("/", 2), "", "")[:3]
        if host not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return 403, "text/plain", "this server is for 127.0.0.1 alone"
        if not secrets.compare_digest(token.encode(), self._token.encode()) or name not in ("", "state"):
            return 404, "text/plain", "no such page: take the whole address that `loopnest watch` prints"
        if not name:
            return 200, "text/html", self.html()
        query = parse_qs(parts.query)
        seen, after = (int(query[key][0]) if query.get(key, [""])[0].isdecimal() else -1 for key in ("seen", "after"))
        return 200, "application/json", json.dumps(self.state(seen, after))

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        answer: Callable[[str, str], tuple[int, str, str]] = self._answer

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 30

            def do_GET(self) -> None:
                status, kind, text = answer(self.headers.get("Host", ""), self.path)
                content = text.encode()
                self.send_response(status)
                for name, value in (
                    ("Content-Type", f"{kind}; charset=utf-8"),
                    ("Content-Length", str(len(content))),
                    ("Content-Security-Policy", POLICY),
                    ("Referrer-Policy", "no-referrer"),
                    ("X-Content-Type-Options", "nosniff"),
                    ("Cache-Control", "no-store"),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests are not printed."""

        return Handler
