"""docs/parallel.md's recipe for matrices larger than memory: ln.matmul on the blocks of Dask arrays."""

import re
from pathlib import Path

import loopnest as ln
import numpy as np
import pytest

dask_array = pytest.importorskip("dask.array", reason="dask is not installed: pip install 'loopnest[dask]'")

PAGE = Path(__file__).parents[1] / "docs" / "parallel.md"


def test_the_recipe_of_the_page_multiplies_by_blocks_within_the_contract(tmp_path, monkeypatch):
    (recipe,) = re.findall(r"```python\n(import dask\.array.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((300, 200), np.float32), rng.standard_normal((200, 250), np.float32)
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", a)
    np.save("b.npy", b)
    calls, matmul = [], ln.matmul

    def counting(x, y):
        calls.append((x.shape, y.shape))
        return matmul(x, y)

    monkeypatch.setattr(ln, "matmul", counting)
    names = {}
    exec(re.sub(r"\b4096\b", "64", recipe), names)
    c = np.load("c.npy")
    contract = ln.OPERATIONS["matmul"].contract
    assert (np.abs(c - contract.reference(a, b)) <= contract.bound(a, b)).all()
    blocks = [(x, y) for x, y in calls if x[0]]  # Dask may try empty ones first
    assert len(blocks) == 5 * 4 * 4
    assert max(max(*x, *y) for x, y in blocks) <= 64
