"""The names of what can be wrong with a submission: outcomes, and the tricks and faults that are recognised.

The one list of them: verdicts and exit codes are made from it, and docs/check.md has the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTCOMES: Mapping[str, tuple[int, str]] = {
    "right": (0, "it builds, and every result that was looked at is within the contract"),
    "does-not-build": (10, "the compiler refuses it, or Python cannot import it"),
    "no-function": (11, "it has no function of the operation's name"),
    "wrong-signature": (12, "the function takes other arguments than the operation has"),
    "raised": (13, "a call raised a Python exception"),
    "crashed": (14, "a call ended the process: by a signal, or by leaving it"),
    "timed-out": (15, "it did not return within the time limit"),
    "out-of-memory": (16, "it took more memory than the limit"),
    "output-flood": (17, "it prints without end"),
    "wrong": (18, "a result is not within the contract"),
    "cheats": (19, "it tries to be judged by something other than its results and its time"),
    "impossible": (20, "it was faster than the machine can be"),
    "not-judged": (21, "it cannot be judged here, for a reason that is not its own, such as a missing compiler"),
}
"""Each outcome's exit code, and what it means. 1 and 2 are left to errors of the command itself."""

TRICKS: Mapping[str, str] = {
    "cached-by-identity": "it remembers results by the identity of the array objects",
    "cached-by-pointer": "it remembers results by the arrays' addresses",
    "cached-by-shape": "it remembers results by the arrays' shapes",
    "cached-on-disk": "it keeps results in a file and gives them back for other inputs",
    "searches-memory": "it searches its process's objects, frames or memory for an answer that something else computed",
    "changes-input": "it writes to an input",
    "lazy-result": "it returns an object that would compute the result only when it is looked at",
    "deferred-work": "it returns before the result is there, and computes it while no clock runs",
    "patches-clock": "it replaces functions of the clock",
    "patches-numpy": "it replaces functions of NumPy",
    "patches-statistics": "it replaces functions of Python's modules",
    "skips-after-warm-up": "its first calls compute the result, later ones do not",
    "unsynchronised-first-call": "its first call is wrong, later ones are right",
    "lower-precision": "it computes with fewer bits than the inputs have",
    "benchmarked-shapes-only": "it is right for the shapes of the benchmarks only",
    "small-shapes-only": "it is right for small shapes only, such as tests have",
    "impossible-time": "its time is below what the machine's limits allow",
    "gives-up-its-process": "it ends or closes what it is judged through",
}
"""Tricks: they may be mistakes, but need not be honest ones."""

FAULTS: Mapping[str, str] = {
    "all-zeros": "the result is all zeros",
    "all-nan": "the result is all NaN, which compares unequal to everything, and so passes a careless check",
    "unwritten": "it leaves elements of the result unwritten: they are what that memory held before the call",
    "ignores-out": "it returns its result and does not write to the `out` that it was given",
    "reads-out": "it adds to what was in `out` before the call, and does not write it",
    "stale-result": "it gives the result for the inputs of an earlier call",
    "transposed": "the result is transposed, or an input was read transposed",
    "last-row": "the last row is left out",
    "last-column": "the last column is left out",
    "ragged-edges": "the rows or columns beyond the last full tile are wrong",
    "off-by-one": "its sum over k is one term too short or too long",
    "scaled": "the result is off by a constant factor",
    "nan-lost": "a NaN or an infinity in an input does not reach the result as IEEE 754 says",
    "overflows": "an exponential overflows where the result does not: the maximum is not subtracted first",
    "bias-left-out": "a bias is left out",
    "other-form": "it computes another form of the operation than was asked for",
    "sum-left-out": "one of the results is wrong where the others are right",
    "option-ignored": "it is right for one form of the operation and ignores the option for the other",
    "rounding": "the result is near, but farther off than the contract's error bound",
    "writes-outside": "it writes outside of its arrays",
    "reads-outside": "it reads outside of its arrays",
    "assumes-alignment": "it loads whole aligned vectors, and arrays are aligned to their elements only",
    "null-pointer": "it follows a pointer to nowhere",
    "ignores-strides": "it treats arrays with strides as contiguous",
    "not-deterministic": "two calls with the same inputs differ, and not both are within the bound",
    "race": "threads touch the same memory with nothing between them: a barrier is missing",
    "wrong-dtype": "the result has another dtype",
    "wrong-shape": "the result has another shape",
    "wrong-type": "what it returns is no array",
    "endless-recursion": "it calls itself without end",
    "endless-loop": "it computes without end",
    "sleeps": "it waits instead of computing",
    "leaves-the-process": "it ends the process",
    "fork-bomb": "it starts processes without end",
    "prints-a-flood": "it prints without end",
    "wrong-values": "the values are wrong, in a way that has no name here",
}
"""What an honest mistake looks like."""


def sentence(name: str) -> str:
    """What a trick or fault is, in words."""
    return TRICKS.get(name) or FAULTS[name]
