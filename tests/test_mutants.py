"""Honest kernels with one operator, bound or index changed: the judge accepts those alone that compute the same."""

import os
import random
import re
import shutil

import pytest
from loopnest.check import check

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="kernels in C need a C compiler"),
    pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="the judge catches the same signals as a sanitizer"),
]

KERNELS = {
    "c": """\
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            long p = 0;
            for (; p + 2 <= k; p += 2)
                sum += a[i * k + p] * b[p * n + j] + a[i * k + p + 1] * b[(p + 1) * n + j];
            for (; p < k; p++) sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
}
""",
    "py": """\
import numpy as np
def matmul(a, b, out):
    (m, k), n = a.shape, b.shape[1]
    for i in range(0, m, 16):
        for j in range(0, n, 16):
            c = np.zeros_like(out[i : i + 16, j : j + 16])
            for p in range(0, k, 32):
                c += a[i : i + 16, p : p + 32] @ b[p : p + 32, j : j + 16]
            out[i : i + 16, j : j + 16] = c
""",
    "numba.py": """\
import numba
@numba.njit
def matmul(a, b, out):
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            out[i, j] = 0
        for p in range(k):
            for j in range(n):
                out[i, j] += a[i, p] * b[p, j]
""",
}

CHANGES = {
    r"<=": ("<",),
    r"<(?!=)": ("<=",),
    r"\+=": ("=", "-="),
    r" \+ ": (" - ", " * "),
    r" \* ": (" + ",),
    r"\b[mnk]\b": ("m", "n", "k"),
    r"(?<=[^\w.])[ijp]\b": ("i", "j", "p"),
    r"\b\d+\b": ("0", "1", "3", "17"),
    r"\+\+": ("--",),
    r"@": ("*",),
}
"""What is changed, and to what."""

SAME = {
    **dict.fromkeys(
        ("for (; p + 2 < k; p += 2)", "for (; p + 3 <= k; p += 2)", "for (; p + 17 <= k; p += 2)"),
        "the loop for the rest takes what the loop by pairs leaves",
    ),
    **dict.fromkeys(
        [f"for {i} in range(0, {m}, {step}):" for i, m in ("im", "jn") for step in (1, 3)],
        "blocks overlap, and each is right",
    ),
}
"""Mutants that are right, by their changed lines, and why: all others were found to differ at some shape."""


def mutants(text):
    """Every text with one change below the line of the function's name, and the changed line."""
    start = text.index("\n", text.index(" matmul("))
    for pattern, others in CHANGES.items():
        for found in re.finditer(pattern, text[start:]):
            first, last = start + found.start(), start + found.end()
            for other in others:
                if other != found[0]:
                    changed = text[:first] + other + text[last:]
                    yield changed, changed[: changed.find("\n", first)].rpartition("\n")[2].strip()


@pytest.mark.parametrize(("ending", "count"), [("c", 12), ("py", 8), ("numba.py", 3)])
def test_a_mutant_that_is_accepted_computes_the_same(ending, count, tmp_path):
    seed = random.randrange(1000)
    for text, line in random.Random(seed).sample(list(mutants(KERNELS[ending])), count):
        (tmp_path / f"mine.{ending}").write_text(text)
        verdict = check(tmp_path / f"mine.{ending}", "matmul", dtype="float32", seconds=0, time_limit=6)
        assert not verdict.accepted or line in SAME, f"seed {seed}: {line}"
