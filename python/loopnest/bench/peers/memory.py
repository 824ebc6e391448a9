"""The memory of a backward pass beyond what the forward pass left: `python -m loopnest.bench.peers.memory torch`.

Each figure is a process's own. It makes the inputs, runs forward and backward once on a small problem, so that
libraries have loaded what they load at first, and forward on the real one. Then it sets the kernel's record of its
largest resident size back (/proc/self/clear_refs), runs the backward pass, and reads the record: what it has grown by
holds the gradients and everything in between. Linux alone can do this. The C library's allocator is told to give blocks
of 64 KiB and more back as soon as they are freed, for whoever measures, so that memory left over from before hides
nothing.

loopnest's backward pass leaves the forward pass's cache to its caller. So does torch's with retain_graph=True; without
it, as is usual, torch frees what the forward pass had saved while it goes, and its growth is less by that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...arrays import Array
from .contenders import why_not_here as why_no_peer
from .records import OURS

TORCH_KEEPS, TORCH_FREES = "torch", "torch, freeing"
STATEMENTS = {
    OURS: "ln.mlp_backward(dy, cache)",
    TORCH_KEEPS: "torch.autograd.grad(y, (x, w1, b1, w2, b2), dy, retain_graph=True)",
    TORCH_FREES: "torch.autograd.grad(y, (x, w1, b1, w2, b2), dy)",
}

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def growth(contender: str, t: int, d: int, h: int) -> int:
    """Bytes, measured in a new process."""
    command = [sys.executable, "-P", "-m", __name__, contender, *map(str, (t, d, h))]
    done = subprocess.run(command, env={**os.environ, **ALLOCATOR}, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"measuring memory of {contender}: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


def contenders() -> list[str]:
    return list(STATEMENTS) if why_no_peer("torch") is None else [OURS]


def why_not_here() -> str | None:
    """Why memory cannot be measured, or None where it can."""
    return None if os.access("/proc/self/clear_refs", os.W_OK) else "only Linux tells a process its peak memory anew"


def _growth_here(contender: str, t: int, d: int, h: int) -> int:
    prepare = _loopnest if contender == OURS else _torch
    backward = prepare(16, 32, 64, contender != TORCH_FREES)
    backward()
    backward = prepare(t, d, h, contender != TORCH_FREES)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    gradients = backward()
    return _status("VmHWM") - before if gradients else 0


def _layers(t: int, d: int, h: int) -> list[Array]:
    rng = np.random.default_rng(0)
    shapes = (t, d), (d, h), (h,), (h, d), (d,), (t, d)
    return [rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[0])) for shape in shapes]


def _loopnest(t: int, d: int, h: int, keep: bool) -> Callable[[], object]:
    import loopnest as ln

    *layers, dy = _layers(t, d, h)
    _, cache = ln.mlp_forward(*layers)
    return lambda: ln.mlp_backward(dy, cache)


def _torch(t: int, d: int, h: int, keep: bool) -> Callable[[], object]:
    import torch
    import torch.nn.functional as F

    *layers, dy = map(torch.from_numpy, _layers(t, d, h))
    x, w1, b1, w2, b2 = (layer.requires_grad_() for layer in layers)
    y = torch.addmm(b2, F.gelu(torch.addmm(b1, x, w1), approximate="tanh"), w2)
    return lambda: torch.autograd.grad(y, (x, w1, b1, w2, b2), dy, retain_graph=keep)


def _status(field: str) -> int:
    """Bytes, of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    print(_growth_here(sys.argv[1], *map(int, sys.argv[2:5])))
