"""The exercises, and how a learner's file is checked.

First come small cases, in a process of its own; the first wrong one is drawn. Then, for a kernel of one of the
operations, the judge of `loopnest check`, which tries more and times it.

>>> from loopnest.learn import EXERCISES
>>> EXERCISES[1].file
'exercise_01.py'
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..backends import user_file
from ..backends.compiler import NoCompilerError, find
from ..backends.cuda_on_cpu import why_not_here
from ..output.files import save_new
from . import cases
from .cases import Case
from .in_child import MissingFunctionError, call
from .lessons import folder

if TYPE_CHECKING:
    from ..check import Verdict
    from ..process.session import Session

PATIENCE = 30.0
"""Seconds for all small cases together, imports included."""

MEMORY = 2 << 30
"""Bytes of memory for a learner's file."""

FLAGS = "-std=c++20 -O2 -Wall"


@dataclass(frozen=True)
class Exercise:
    """One lesson's exercise.

    task       in a sentence
    cases      makes the small cases, the simplest first
    operation  the operation whose kernel the file holds, for the judge; "" for any other file
    threads    for the judge
    """

    number: int
    suffix: str
    task: str
    cases: Callable[[], Iterator[Case]]
    operation: str = ""
    threads: int = 1

    @property
    def file(self) -> str:
        """The name of the learner's file."""
        return f"exercise_{self.number:02}{self.suffix}"

    @property
    def starter(self) -> Path:
        return folder() / "exercises" / f"{self.number:02}_starter{self.suffix}"

    @property
    def solution(self) -> Path:
        return folder() / "exercises" / f"{self.number:02}_solution{self.suffix}"

    @property
    def hints(self) -> tuple[str, ...]:
        """Ideas on the way to the solution: each says a little more than the one before."""
        text = Path(__file__).with_name("hints.toml").read_text(encoding="utf-8")
        return tuple(tomllib.loads(text)[str(self.number)])

    def why_not_here(self) -> str | None:
        """Why it cannot be checked on this machine, with the fix, or None where it can."""
        try:
            if self.suffix == ".cpp":
                find("c++")
        except NoCompilerError as error:
            return str(error)
        return why_not_here() if self.suffix == ".cu" else None


_BLOCKED = cases.products((3, 2, 4), (1, 1, 1), (64, 64, 64), (40, 32, 38), (33, 70, 31))
_TILES = cases.products((4, 3, 32), (8, 5, 64), (6, 4, 40), (1, 1, 1), (3, 7, 5), (35, 33, 70), c=True)
_SHARES = cases.products((12, 8, 8), (13, 8, 8), (1, 3, 2), (5, 2, 3), (101, 40, 30))
_GPU_TILES = cases.products((16, 16, 16), (16, 40, 16), (19, 17, 21), (1, 33, 2), c=True)

EXERCISES: dict[int, Exercise] = {
    exercise.number: exercise
    for exercise in (
        Exercise(1, ".py", "Write the dot product of two vectors, and the cosine of the angle between them.",
                 cases.vectors, "dot"),
        Exercise(2, ".py", "Write the product of two matrices, lists of rows, in all six orders of its three loops.",
                 cases.loop_orders),
        Exercise(3, ".py", "Compute strides, offsets and broadcasts by hand, and write a transposed copy.",
                 cases.strides, "transpose"),
        Exercise(4, ".py", "Block the product's loops; every size must be right, also where no block divides it.",
                 _BLOCKED, "matmul"),
        Exercise(5, ".cpp", "Write a dot product with many independent sums, in C++: it becomes vector instructions.",
                 cases.many_sums, "dot"),
        Exercise(6, ".cpp", "Keep a tile of the product in registers, and compute the edges too, in C++.",
                 _TILES, "matmul"),
        Exercise(7, ".py", "Divide the product's rows among threads, so that no row is left out.",
                 _SHARES, "matmul", threads=2),
        Exercise(8, ".cu", "Load tiles into shared memory along all of k, in CUDA C++, simulated without a GPU.",
                 _GPU_TILES),
        Exercise(9, ".py", "Write a layer of neurons, and a cross-entropy that is right for large logits.",
                 cases.neurons, "cross_entropy"),
        Exercise(10, ".py", "Go back through a two-layer network, and return the gradients of all its parameters.",
                 cases.gradients),
        Exercise(11, ".py", "Write a step of Adam with its bias correction, in place.", cases.adam_steps),
        Exercise(12, ".py", "Compose attention from loopnest's matmul and softmax.", cases.attention),
        Exercise(13, ".py", "Turn floats into bytes and scales, and multiply these exactly.", cases.bytes_and_scales),
    )
}  # fmt: skip
"""By number; each belongs to the lesson of its number."""


@dataclass(frozen=True)
class Result:
    """One result of a call, and the expected one. wrong: of the expected's shape; None where the shapes differ."""

    name: str
    expected: Any
    got: Any
    wrong: Array | None


@dataclass(frozen=True)
class Failure:
    """The first wrong case: its arguments to be drawn, and its results or the message of an error."""

    function: str
    about: str
    shown: Mapping[str, Any]
    results: tuple[Result, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Attempt:
    """What the check found.

    outcome  "right", "wrong", "raised", "missing" (the function), "does-not-build", "crashed", "timed-out", "refused"
             (the small cases are right, and the judge found an error) or "not-here" (this machine cannot check it)
    passed   small cases that were right before the first wrong one
    cases    small cases in all
    reason   why it cannot be checked here
    starter  whether the file is the starter, unchanged
    """

    number: int
    file: str
    outcome: str
    passed: int = 0
    cases: int = 0
    failure: Failure | None = None
    verdict: Verdict | None = None
    reason: str = ""
    starter: bool = False

    @property
    def exit_code(self) -> int:
        return {"right": 0, "not-here": 3}.get(self.outcome, 1)


def write_starter(number: int, into: Path | str = ".") -> Path:
    """Write an exercise's starter into a folder; its path. Raises ValueError where the file exists."""
    exercise = EXERCISES[number]
    path = Path(into) / exercise.file
    try:
        save_new(exercise.starter.read_text(encoding="utf-8"), path)
    except ValueError as error:
        hint = f". To check it: loopnest exercise {number} --check" if path.exists() else ""
        raise ValueError(f"exercise: {error}{hint}") from None
    return path


def check_exercise(
    number: int, file: Path | str | None = None, *, seconds: float = 2.0, dtype: str | None = None
) -> Attempt:
    """Check a learner's file: right, or the first wrong case; then how fast it is.

    file     exercise_NN in this folder where it is None
    seconds  for the timing; 0 for none
    dtype    float32 or float64, for the judge of a kernel; both where it is None

    Raises ValueError where there is no such exercise or file.
    """
    if number not in EXERCISES:
        raise ValueError(f"exercise: there is no exercise {number}; expected one of {', '.join(map(str, EXERCISES))}")
    exercise = EXERCISES[number]
    path = Path(file) if file is not None else Path(exercise.file)
    if not path.is_file():
        raise ValueError(f"exercise: there is no file {path}; `loopnest exercise {number}` writes it")
    path = path.resolve()
    reason = exercise.why_not_here()
    if reason is not None:
        return Attempt(number, str(path), "not-here", reason=reason)
    unchanged = path.read_bytes() == exercise.starter.read_bytes()
    attempt = replace(_tried(exercise, path), starter=unchanged)
    if attempt.outcome == "right" and exercise.operation:
        from ..check import check

        verdict = check(path, exercise.operation, dtype=dtype, seconds=seconds, threads=exercise.threads)
        return replace(attempt, outcome="right" if verdict.accepted else "refused", verdict=verdict)
    return attempt


def _tried(exercise: Exercise, path: Path) -> Attempt:
    """The small cases, in a process of their own."""
    from ..process.session import Session

    small = list(exercise.cases())
    attempt = Attempt(exercise.number, str(path), "right", len(small), len(small))
    try:
        built = user_file.build(path, flags=FLAGS)
    except user_file.UserFileError as error:
        failure = Failure(small[0].function, small[0].about, small[0].shown, message=str(error))
        return replace(attempt, outcome="does-not-build", passed=0, failure=failure)
    end = time.monotonic() + PATIENCE
    with Session(path, end + PATIENCE, call=PATIENCE, memory=MEMORY) as child:
        for passed, case in enumerate(small):
            outcome, message, results = _case(child, path, built, case, max(end - time.monotonic(), 0.1))
            if outcome != "right":
                failure = Failure(case.function, case.about, case.shown, results, message)
                return replace(attempt, outcome=outcome, passed=passed, failure=failure)
    return attempt


def _case(
    child: Session, path: Path, built: user_file.Built, case: Case, limit: float
) -> tuple[str, str, tuple[Result, ...]]:
    """Run one case: the outcome, a message, the results."""
    from ..process.session import EndedError, FailedInChildError

    try:
        returned, after = child.run(call, path, built, case.function, case.arguments, case.by_element, limit=limit)
    except FailedInChildError as error:
        if error.kind == MissingFunctionError.__name__:
            return "missing", str(error), ()
        if error.kind == user_file.UserFileError.__name__:
            return "does-not-build", str(error), ()
        where = f"{path.name}, line {error.line}: " if error.line else ""
        return "raised", f"{where}{error.kind}: {error}" + (f", in `{error.code}`" if error.code else ""), ()
    except EndedError as error:
        if error.why in ("timed-out", "sleeps"):
            return "timed-out", f"no answer after {PATIENCE:g} seconds: does a loop not end?", ()
        return "crashed", f"the process died ({error.text}). A read or a write outside of an array does that", ()
    names = [name for name in case.expected if name not in after]
    if names and returned is None:
        return "wrong", f"{case.function} returned nothing: is a return missing?", ()
    values = returned if len(names) > 1 else (returned,)
    if len(names) > 1 and (not isinstance(values, tuple | list) or len(values) != len(names)):
        was = f"an array of shape {values.shape}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        return "wrong", f"returned {was}, expected {len(names)} values: {', '.join(names)}", ()
    found = {**after, **dict(zip(names, values, strict=False))}
    results = tuple(_compared(name, x, found[name], case.tolerance) for name, x in case.expected.items())
    right = all(result.wrong is not None and not result.wrong.any() for result in results)
    return "right" if right else "wrong", "", results


def _compared(name: str, expected: Any, got: Any, tolerance: float) -> Result:
    right = np.asarray(expected)
    try:
        given = np.asarray(got, dtype=right.dtype if right.dtype.kind in "fi" else None)
    except (TypeError, ValueError):
        return Result(name, right, got, None)
    if given.shape != right.shape or given.dtype == object:
        return Result(name, right, got, None)
    if right.dtype.kind != "f":
        return Result(name, right, given, np.asarray(given != right))
    with np.errstate(invalid="ignore"):
        near = np.abs(given - right) <= tolerance * np.maximum(np.abs(right), 1)
    return Result(name, right, given, ~near)
