"""Damaged files: every reader refuses them with one line that names the file, or takes them and works.

A seeded mutator changes whole files, as a disk or an editor would: bytes flipped, cut out or repeated; and in JSON,
values that no writer wrote. `nox -s fuzz -- --minutes 10` runs it for as long as one likes, test_fuzz.py on some files.
"""

import argparse
import copy
import dataclasses
import io
import itertools
import json
import os
import random
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import made_up
import msgspec
import numpy as np
from loopnest import nn, report
from loopnest.bench import compare
from loopnest.bench.records import Results
from loopnest.bench.reporting import Collector
from loopnest.learn.progress import Progress, progress, progress_file
from loopnest.machine import card as machine
from rich.console import Console

NASTY = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**22, 10**400, -0.0, 1e-320, 1e308, -1.5, "", "1", "x", "\x1b[2J", "\n",
    "é" * 99, "Infinity", [], {}, [[]], [None], {"a": 1}, [1e9] * 3, 5, "float16", "complex64", "../../x",
)  # fmt: skip
SHAPES = (
    b"(10000000000000000000000,)",
    b"(1000000000000000,)",
    b"(10**15,)",
    b"(-1,)",
    b"(007,)",
    b"()",
    b"5",
    b"(0,)",
)
HEADERS = (
    b"((((((",
    b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,), }",
    *(b"{'descr': '<f8', 'fortran_order': False, 'shape': %s, }" % shape for shape in SHAPES),
    *(
        b"{'descr': '%s', 'fortran_order': False, 'shape': (3,), }" % dtype
        for dtype in (b"|O", b"<c16", b">f8", b"<M8[s]", b"zz")
    ),
)


def damaged_bytes(data, rng):
    """Bytes with up to three changes of a few bytes each."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 8, 100, 10_000)))
        change = rng.randrange(6)
        if change == 0:
            data[at:end] = bytes(byte ^ 1 << rng.randrange(8) for byte in data[at:end])
        elif change == 1:
            del data[at:end]
        elif change == 2:
            data[at:at] = data[at:end]
        elif change == 3:
            data[at:end] = rng.randbytes(end - at)
        elif change == 4:
            data[at:end] = rng.choice((*HEADERS, b"\0", b"[", b"\xff", b"9" * 400, b'"', b"1e999", b"NaN", b"[" * 5000))
        else:
            del data[at:]
    return bytes(data)


def damaged_json(data, rng):
    """Data with up to three values exchanged, taken away or repeated."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        node, place = data, None
        while isinstance(node, (dict, list)) and node and (place is None or rng.random() < 0.85):
            parent, place = node, rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            node = parent[place]
        if place is None:
            return copy.deepcopy(rng.choice(NASTY))
        change = rng.randrange(5)
        if change == 0:
            del parent[place]
        elif change == 1 and isinstance(parent, list):
            parent.insert(place, copy.deepcopy(node))
        elif change == 2 and isinstance(node, (int, float)):
            parent[place] = rng.choice((-node, node * 10**30, str(node), [node]))
        else:
            parent[place] = copy.deepcopy(rng.choice(NASTY))
    return data


class ResultsFile:
    """A run's results, as `loopnest compare` and `loopnest report` read them."""

    def __init__(self, folder):
        self.path = folder / "results.json"
        records = (
            made_up.at_percent("matmul", "cpp.naive", "square-64", 1.0),
            made_up.at_percent("gelu", "cpp.simd", "n-1024", 50.0, section="a"),
        )
        self.results = dataclasses.replace(made_up.run(), records=records)
        self.results.save(self.path)
        self.whole = self.path.read_bytes()
        self.reports = 40

    def damaged(self, rng):
        if rng.random() < 0.3:
            return damaged_bytes(self.whole, rng)
        return json.dumps(damaged_json(json.loads(self.whole), rng)).encode()

    def read(self):
        found = Results.load(self.path)
        console = Console(file=io.StringIO(), width=100)
        try:
            comparison = compare.compare(self.results, found)
        except ValueError as error:
            assert "no benchmark in common" in str(error)  # noqa: PT017
            return
        console.print(*compare.report(comparison, 100, everything=True))
        if self.reports:  # which take a tenth of a second each
            self.reports -= 1
            report.page(found)


class CardFile:
    """A machine card: a damaged one is measured anew."""

    def __init__(self, folder):
        self.path = folder / "card.json"
        self.whole = json.dumps(msgspec.to_builtins(made_up.CARD)).encode()

    damaged = ResultsFile.damaged

    def read(self):
        found = machine._kept(self.path)
        for dtype, threads in itertools.product(("float32", "float64"), (1, found.cores)):
            assert 0 < found.least_seconds(1e9, 1e9, dtype, threads) < float("inf")
        for level in found.levels():
            assert found.bandwidth(level) > 0
            assert found.latency(level) > 0


class CheckpointFile:
    """A training's checkpoint: the archive, the arrays in it, and the facts in JSON."""

    def __init__(self, folder):
        self.path, self.data = folder / "checkpoint.npz", nn.xor()
        training = nn.Training(self.data, nn.Config(hidden=5, batch=3, epochs=2, impl="numpy"))
        training.run(stop=lambda: training.step_number == 3)
        training.save(self.path)
        self.whole = self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        with np.load(self.path) as archive:
            self.facts = json.loads(archive["facts"].tobytes())

    def damaged(self, rng):
        if rng.random() < 0.2:
            return damaged_bytes(self.whole, rng)
        members = dict(self.members)
        if rng.random() < 0.5:
            text = io.BytesIO()
            np.save(text, np.frombuffer(json.dumps(damaged_json(self.facts, rng)).encode(), np.uint8))
            members["facts.npy"] = text.getvalue()
        else:
            name = rng.choice(list(members))
            members[name] = rng.choice(
                (damaged_bytes(members[name], rng), *(self._header(members[name], h) for h in HEADERS))
            )
            if rng.random() < 0.1:
                del members[name]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))) as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        return file.getvalue()

    @staticmethod
    def _header(member, text):
        """The member with another header of the same length."""
        return member[:10] + text.ljust(117) + b"\n" + member[128:]

    def read(self):
        training = nn.Training.resume(self.path, self.data)
        assert training.step_number == len(training.losses)


class ProgressFile:
    """A learner's progress: a damaged one counts as none."""

    def __init__(self, folder):
        os.environ["XDG_DATA_HOME"] = str(folder)
        self.path = progress_file()
        assert Progress({1, 2}, {1}, {3: 2}).save()
        self.whole = self.path.read_bytes()

    damaged = ResultsFile.damaged

    def read(self):
        try:
            found = progress()
        except ValueError as error:
            raise AssertionError("it stops the learner") from error
        assert min((1, *found.read, *found.right, *found.hints, *found.hints.values())) == 1


class EventsFile:
    """What a benchmark's process says of its work, a line of JSON each; a kernel of the user's runs in it, too."""

    def __init__(self, folder):
        self.path, self.run = folder / "events", made_up.run()
        fields = msgspec.to_builtins(made_up.at_percent("gelu", "cpp.simd", "n-1024", 50.0))
        self.events = [["running", "gelu"], ["records", fields], ["warnings", "noise"], ["interrupted", True]]

    def damaged(self, rng):
        event = rng.choice(self.events)
        if rng.random() < 0.5:
            return damaged_bytes(json.dumps(event).encode(), rng)
        return json.dumps(damaged_json(event, rng)).encode()

    def read(self):
        collector = Collector(self.run)
        for line in self.path.read_text(errors="replace").splitlines():
            if collector._is_event(line):
                collector.add(*json.loads(line))
        assert collector.results


KINDS = (ResultsFile, CardFile, CheckpointFile, ProgressFile, EventsFile)


def fuzz(files, seconds=float("inf"), seed=0):
    """Damage files and read them, until either limit: their number, and for each fault its kind, seed and traceback.

    A fault is an error that is no ValueError, or whose message is not one line that names the file.
    """
    faults, end = {}, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        kinds = [kind(Path(folder)) for kind in KINDS]
        for number in itertools.count(seed):
            if number >= seed + files or time.monotonic() > end:
                break
            rng, kind = random.Random(number), kinds[number % len(kinds)]
            kind.path.write_bytes(kind.damaged(rng))
            try:
                kind.read()
            except ValueError as error:
                if str(kind.path) not in str(error) or "\n" in str(error):
                    faults.setdefault(_place(error), (type(kind).__name__, number, traceback.format_exc()))
            except Exception as error:
                faults.setdefault(_place(error), (type(kind).__name__, number, traceback.format_exc()))
    return number - seed, faults


def _place(error):
    """The error's type and the line that raised it: two faults of one place are one."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return type(error).__name__, last.filename, last.lineno


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="the first file's; another one each time by default")
    asked = parser.parse_args()
    first = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 48)
    read, found = fuzz(sys.maxsize, 60 * asked.minutes, first)
    for name, seed, text in found.values():
        print(f"{name}, --seed {seed}:\n{text}")
    print(f"{read} damaged files from --seed {first}: {len(found)} faults")
    sys.exit(bool(found))
