"""The measured peak against a loop written by hand: machine/fma_loop.S, assembled here by the system's compiler."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import loopnest as ln
import pytest
from loopnest.machine import probes
from loopnest.timing.turns import seconds_of

SOURCE = Path(__file__).parent / "machine" / "fma_loop.S"
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="the loop is written for x86-64 Linux"
    ),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed, which assembles the loop"),
    pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="a sanitized build is slow in its own way"),
]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    library = tmp_path_factory.mktemp("fma") / "fma_loop.so"
    command = [COMPILER, "-shared", "-nostdlib", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{COMPILER} cannot assemble AVX-512, or link: {done.stderr.splitlines()[-1]}")
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", ["v3", "v4"])
def test_the_measured_peak_is_that_of_a_loop_written_by_hand(isa, dtype, by_hand):
    """Within 3 %, in turn and at best: not below it, and not above it either, which would be a wrong count."""
    if isa not in ln.isa_levels():
        pytest.skip(f"{isa} does not run here")
    loop = getattr(by_hand, f"fma_{isa}_{dtype}")
    loop.restype, loop.argtypes = ctypes.c_long, [ctypes.c_long]
    ours = probes.multiply_adds("ours", isa, dtype, threads=1)
    hand = probes.repeated("by hand", loop(1), lambda rounds: seconds_of(lambda: loop(rounds)))
    end = time.monotonic() + 5  # where others use the processor, until both have had it for a millisecond
    probes.play([ours, hand], rounds=4, seconds=0.02)
    while abs(ours.rate / hand.rate - 1) > 0.01 and time.monotonic() < end:
        probes.play([ours, hand], rounds=4, seconds=0.02)
    assert ours.rate == pytest.approx(hand.rate, rel=0.03)
