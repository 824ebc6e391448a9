"""The exercises: what each asks, the cases by which it is checked, and the checking.

A file is judged in three steps. Small cases, in a process of its own, of which the first that is wrong is drawn. Then,
where it is a kernel of one of the lab's operations, the judge of `loopnest check`, which knows more. Then its time,
beside rungs of the ladder.

>>> from loopnest.learn import EXERCISES
>>> EXERCISES[1].file
'exercise_01.py'
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .lessons import folder
from .runner import Answer, Call, Job, cpp_compiler

if TYPE_CHECKING:
    from ..check import Verdict

Array = np.ndarray[Any, Any]
Named = Callable[[str], Callable[..., Any] | None]
Contenders = list[tuple[str, Callable[[], object]]]

PATIENCE = 30.0
"""Seconds that all small cases together may take, imports and a compiler included."""


@dataclass(frozen=True)
class Case:
    """One call with what must come out of it.

    shown      the arguments as they are drawn, by name
    expected   what must come out, by name
    tolerance  that an element may be off by, times the larger of its magnitude and 1
    """

    about: str
    call: Call
    shown: tuple[tuple[str, Any], ...]
    expected: tuple[tuple[str, Any], ...]
    tolerance: float = 1e-9


@dataclass(frozen=True)
class Exercise:
    """One lesson's exercise.

    file       the name of the learner's file
    task       what is to be done, in a sentence
    cases      makes the small cases, the simplest first
    operation  the operation whose kernel it is, which `loopnest check` judges; "" where it is none
    contenders what it is timed beside where it is none: (its functions) -> names and calls, its own first
    requires   says why it cannot be checked on this machine, and the fix, or None
    threads    that the judge gives it
    untimed    why it is not timed, where it is not
    """

    number: int
    suffix: str
    task: str
    cases: Callable[[], Iterator[Case]]
    operation: str = ""
    contenders: Callable[[Named], Contenders] | None = None
    requires: Callable[[], str | None] = lambda: None
    threads: int = 1
    untimed: str = ""

    @property
    def file(self) -> str:
        return f"exercise_{self.number:02}{self.suffix}"

    @property
    def starter(self) -> Path:
        return folder() / "exercises" / f"{self.number:02}_starter{self.suffix}"

    @property
    def solution(self) -> Path:
        return folder() / "exercises" / f"{self.number:02}_solution{self.suffix}"


@dataclass(frozen=True)
class Result:
    """What came out beside what was expected. `wrong` is of the expected's shape, or None where the shapes differ."""

    name: str
    expected: Any
    got: Any
    wrong: Array | None


@dataclass(frozen=True)
class Failure:
    """The first case that is wrong: what was given, and what came out, or the message of an error."""

    function: str
    about: str
    shown: tuple[tuple[str, Any], ...]
    results: tuple[Result, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Timed:
    """A contender's best time of one call, in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Attempt:
    """What is said of a learner's file.

    outcome  "right", "wrong", "raised", "missing", "does-not-build", "crashed", "timed-out", "refused" (the small cases
             were right, and the judge found what is not) or "not-here" (it cannot be checked on this machine)
    passed   of how many small cases were right before the first that was not
    reason   why it cannot be checked here, or was not timed
    """

    number: int
    file: str
    outcome: str
    passed: int = 0
    cases: int = 0
    failure: Failure | None = None
    verdict: Verdict | None = None
    times: tuple[Timed, ...] = ()
    reason: str = ""
    starter: bool = field(default=False)

    @property
    def exit_code(self) -> int:
        return {"right": 0, "not-here": 3}.get(self.outcome, 1)

    def to_json(self) -> dict[str, Any]:
        """What json.dumps takes."""
        whole = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "verdict"}
        verdict = self.verdict.to_json() if self.verdict is not None else None
        plain: dict[str, Any] = _plain({**whole, "exit_code": self.exit_code})
        return {**plain, "verdict": verdict}


def _plain(x: Any) -> Any:
    """Arrays as lists, records as dictionaries."""
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return {f.name: _plain(getattr(x, f.name)) for f in dataclasses.fields(x)}
    if isinstance(x, Mapping):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, tuple | list):
        return [_plain(value) for value in x]
    if isinstance(x, np.ndarray | np.generic):
        return x.tolist()
    return x if isinstance(x, str | int | float | bool | None) else repr(x)


def write_starter(number: int, into: Path | str = ".") -> Path:
    """Write an exercise's starter into a folder; its path. Raises ValueError where the file is there already."""
    one = EXERCISES[number]
    path = Path(into) / one.file
    if not path.parent.is_dir():
        raise ValueError(f"exercise: there is no folder {path.parent}")
    try:
        with path.open("x", encoding="utf-8") as written:
            written.write(one.starter.read_text(encoding="utf-8"))
    except FileExistsError:
        raise ValueError(
            f"exercise: {path} is there already, and is left as it is. To check it: loopnest exercise {number} "
            "--check; to begin anew, move it away"
        ) from None
    return path


def check_exercise(
    number: int, file: Path | str | None = None, *, seconds: float = 2.0, dtype: str | None = None
) -> Attempt:
    """Check a learner's file: right, or the first case that is wrong; then how fast it is.

    file     exercise_NN in this folder where it is None
    seconds  of the timing; 0 for none
    dtype    in which the judge calls a kernel, float32 or float64; in both where it is None

    Raises ValueError where there is no such exercise or file.
    """
    if number not in EXERCISES:
        raise ValueError(f"exercise: there is no exercise {number}; expected one of {', '.join(map(str, EXERCISES))}")
    one = EXERCISES[number]
    path = Path(file) if file is not None else Path(one.file)
    if not path.is_file():
        raise ValueError(f"exercise: there is no file {path}; `loopnest exercise {number}` writes it")
    path = path.resolve()
    reason = one.requires()
    if reason is not None:
        return Attempt(number, str(path), "not-here", reason=reason)
    untouched = path.read_text(encoding="utf-8") == one.starter.read_text(encoding="utf-8")
    attempt = dataclasses.replace(_small_cases(one, path), starter=untouched)
    if attempt.outcome != "right":
        return attempt
    if one.operation:
        return _judged(one, path, attempt, seconds, dtype)
    if one.contenders and seconds:
        return dataclasses.replace(attempt, times=_timed(one, path, seconds))
    return dataclasses.replace(attempt, reason=one.untimed)


def _small_cases(one: Exercise, path: Path) -> Attempt:
    cases = list(one.cases())
    answers, how = _in_a_process(Job(str(path), tuple(case.call for case in cases)), PATIENCE)
    for passed, case in enumerate(cases):
        outcome, failure = (how, _ended(case, how)) if passed >= len(answers) else _judge(case, answers[passed])
        if failure is not None:
            return Attempt(one.number, str(path), outcome, passed, len(cases), failure)
    return Attempt(one.number, str(path), "right", len(cases), len(cases))


def _ended(case: Case, how: str) -> Failure:
    message = (
        f"no answer after {PATIENCE:g} seconds: does a loop not end?"
        if how == "timed-out"
        else "the process died: a read or a write outside of an array does that"
    )
    return Failure(case.call.function, case.about, case.shown, message=message)


def _judge(case: Case, answer: Answer) -> tuple[str, Failure | None]:
    """The outcome, and what is wrong where something is."""
    failure = Failure(case.call.function, case.about, case.shown)
    if answer.outcome != "returned":
        return answer.outcome, dataclasses.replace(failure, message=answer.text)
    if answer.value is None:
        message = f"{case.call.function} returned nothing: is a return missing?"
        return "wrong", dataclasses.replace(failure, message=message)
    values = answer.value if len(case.expected) > 1 else (answer.value,)
    if len(case.expected) > 1 and (not isinstance(values, tuple | list) or len(values) != len(case.expected)):
        names = ", ".join(name for name, _ in case.expected)
        message = f"returned {_kind(answer.value)}, expected {len(case.expected)} values: {names}"
        return "wrong", dataclasses.replace(failure, message=message)
    results = tuple(
        _compared(name, expected, got, case.tolerance)
        for (name, expected), got in zip(case.expected, values, strict=True)
    )
    if all(r.wrong is not None and not r.wrong.any() for r in results):
        return "right", None
    return "wrong", dataclasses.replace(failure, results=results)


def _kind(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


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


def _in_a_process(job: Job, patience: float) -> tuple[list[Any], str]:
    """What the runner sent, and how it ended where something is missing: "timed-out" or "crashed"."""
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-c", "from loopnest.learn.runner import main; main()"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=empty
        ) as process:
            try:
                sent, said = process.communicate(pickle.dumps(job), timeout=patience)
                how = "crashed"
            except subprocess.TimeoutExpired:
                process.kill()
                sent, said = process.communicate()
                how = "timed-out"
    answers = []
    stream = memoryview(sent)
    while stream:
        try:
            one, length = _unpickled(stream)
        except (EOFError, pickle.UnpicklingError):
            break
        answers.append(one)
        stream = stream[length:]
    if not answers and how == "crashed" and b"Traceback" in said and b"loopnest/learn/runner" in said:
        raise RuntimeError(f"the runner failed: {said.decode(errors='replace')}")
    return answers, how


def _unpickled(stream: memoryview) -> tuple[Any, int]:
    import io

    file = io.BytesIO(stream)
    return pickle.load(file), file.tell()


def _judged(one: Exercise, path: Path, attempt: Attempt, seconds: float, dtype: str | None) -> Attempt:
    """What `loopnest check` says of it, which also times it."""
    from ..check import check

    verdict = check(path, one.operation, dtype=dtype, seconds=seconds, threads=one.threads)
    outcome = "right" if verdict.accepted else "refused"
    return dataclasses.replace(attempt, outcome=outcome, verdict=verdict)


def _timed(one: Exercise, path: Path, seconds: float) -> tuple[Timed, ...]:
    answers, _ = _in_a_process(Job(str(path), exercise=one.number, seconds=seconds), PATIENCE + 10 * seconds)
    times = answers[0] if answers and isinstance(answers[0], list) else []
    return tuple(Timed(name, best) for name, best in times)


def time_rivals(one: Exercise, named: Named, seconds: float) -> list[tuple[str, float]]:
    """The best time of each contender, all timed in turn; called in the process of its own."""
    from ..timing.turns import Turn, calibrate, run_rounds

    assert one.contenders is not None
    turns = [Turn(name, call) for name, call in one.contenders(named)]
    for turn in turns:
        turn.read()  # compiles and loads
    calibrate(turns, min(0.01, seconds / 50))
    run_rounds(turns, seconds=seconds, least=2)
    return [(turn.name, turn.best) for turn in turns]


def no_compiler() -> str | None:
    """Why C++ cannot be compiled here, or None."""
    if cpp_compiler():
        return None
    named = os.environ.get("CXX")
    lacking = f"no compiler {named}" if named else "no C++ compiler"
    return f"it is C++, and there is {lacking}: install g++ or clang++, or set CXX"


# --- the cases


def _rng() -> np.random.Generator:
    return np.random.default_rng(20)


def _small(*shape: int) -> Array:
    """Small whole numbers, which are easy to check by hand."""
    return _rng().integers(-3, 4, shape).astype(float)


def _vectors() -> Iterator[Case]:
    def case(about: str, function: str, x: Sequence[float], y: Sequence[float], expected: float) -> Case:
        a, b = np.asarray(x, float), np.asarray(y, float)
        return Case(about, Call(function, (a, b)), (("x", a), ("y", b)), ((f"{function}(x, y)", expected),))

    def dot(x: Sequence[float], y: Sequence[float], about: str) -> Case:
        return case(about, "dot", x, y, float(sum(p * q for p, q in zip(x, y, strict=True))))

    def cosine(x: Sequence[float], y: Sequence[float], expected: float, about: str) -> Case:
        return case(about, "cosine", x, y, expected)

    yield dot([1, 2, 3], [4, 5, 6], "three elements")
    yield dot([2], [-3], "one element")
    yield dot([1, 0, 2, 0, 3], [0, 5, 1, 5, -1], "five elements, with zeros")
    yield dot([], [], "no element: an empty sum is 0")
    yield cosine([1, 0], [0, 1], 0.0, "a right angle")
    yield cosine([1, 2], [2, 4], 1.0, "one direction, two lengths")
    yield cosine([1, 2], [-1, -2], -1.0, "opposite directions")
    yield cosine([3, 4], [4, 3], 24 / 25, "two vectors of length 5")


ORDERS = ("ijk", "ikj", "jik", "jki", "kij", "kji")


def _loop_orders() -> Iterator[Case]:
    m, k, n = 2, 3, 4
    a = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    b = [[1.0, 0.0, 2.0, -1.0], [0.0, 1.0, -1.0, 2.0], [1.0, 1.0, 0.0, 0.0]]
    product = np.array(a) @ np.array(b)
    sizes = {"i": m, "j": n, "k": k}
    for order in ORDERS:
        touches = {x: np.full(shape, -1) for x, shape in (("a", (m, k)), ("b", (k, n)), ("c", (m, n)))}
        for at in np.ndindex(*(sizes[letter] for letter in order)):
            i, j, p = (at[order.index(letter)] for letter in "ijk")
            for x, place in (("a", (i, p)), ("b", (p, j)), ("c", (i, j))):
                if touches[x][place] < 0:
                    touches[x][place] = touches[x].max() + 1
        yield Case(
            f"2 x 3 by 3 x 4, loops in the order {', '.join(order)}",
            Call(order, (a, b, np.zeros((m, n)).tolist()), "touches"),
            (("a", np.array(a)), ("b", np.array(b))),
            (
                ("c", product),
                ("order in which a's elements are first touched", touches["a"]),
                ("order in which b's elements are first touched", touches["b"]),
                ("order in which c's elements are first touched", touches["c"]),
            ),
        )


def _loop_order_contenders(named: Named) -> Contenders:
    import loopnest as ln

    n = 64
    a, b = (np.random.default_rng(seed).standard_normal((n, n)) for seed in (0, 1))
    rows_a, rows_b = a.tolist(), b.tolist()

    def own(order: str) -> Callable[[], object]:
        function = named(order)
        assert function is not None
        return lambda: function(rows_a, rows_b, [[0.0] * n for _ in range(n)])

    rungs = ("python.naive", "python.reordered", "numpy.naive", "cpp.naive", "cpp.reordered", "numpy.matmul")
    return [
        *((f"your {order}", own(order)) for order in ORDERS),
        *((id, lambda k=ln.matmul[id]: k(a, b)) for id in rungs),
    ]


def _strides() -> Iterator[Case]:
    def of(function: str, arguments: dict[str, Any], expected: Any, about: str) -> Case:
        shown = tuple(arguments.items())
        return Case(about, Call(function, tuple(arguments.values())), shown, ((f"{function}(…)", np.array(expected)),))

    yield of("strides_of", {"shape": (3, 4), "order": "C"}, (4, 1), "rows one after another")
    yield of("strides_of", {"shape": (3, 4), "order": "F"}, (1, 3), "columns one after another")
    yield of("strides_of", {"shape": (2, 3, 4), "order": "C"}, (12, 4, 1), "three axes")
    yield of("strides_of", {"shape": (5,), "order": "F"}, (1,), "one axis")
    yield of("offset", {"index": (2, 1), "strides": (4, 1)}, 9, "row 2, column 1 of a 3 x 4 matrix")
    yield of("offset", {"index": (2, 1), "strides": (1, 3)}, 5, "the same in the other order")
    yield of("offset", {"index": (1, 2, 3), "strides": (12, 4, 1)}, 23, "the last of three axes' elements")
    b = "broadcast_strides"
    yield of(b, {"shape": (1, 4), "strides": (4, 1), "to": (3, 4)}, (0, 1), "one row, read for every row")
    yield of(b, {"shape": (3, 1), "strides": (1, 1), "to": (3, 4)}, (1, 0), "one column, read for every column")
    yield of(b, {"shape": (4,), "strides": (1,), "to": (3, 4)}, (0, 1), "a missing axis is put in front")
    yield of(b, {"shape": (3, 4), "strides": (4, 1), "to": (3, 4)}, (4, 1), "nothing to broadcast")
    for shape in ((2, 3), (1, 4), (5, 2)):
        a = np.arange(float(np.prod(shape))).reshape(shape)
        call = Call("transpose", (a, np.full(shape[::-1], np.nan)), "writes", (1,))
        yield Case(f"{shape[0]} x {shape[1]}", call, (("a", a),), (("out", a.T.copy()),))


def _matmul_case(m: int, k: int, n: int, about: str = "") -> Case:
    """A product in float64, written to a third argument: Python."""
    a, b = _small(m, k), _small(k, n)
    call = Call("matmul", (a, b, np.full((m, n), np.nan)), "writes", (2,))
    return Case(about or f"{m} x {k} by {k} x {n}", call, (("a", a), ("b", b)), (("out", a @ b),))


def _c_matmul_case(m: int, k: int, n: int, about: str = "") -> Case:
    """A product in float32, written to a third argument, with the sizes after it: C++ and CUDA C++. Sums of small whole
    numbers are exact in any order."""
    a, b = _small(m, k).astype(np.float32), _small(k, n).astype(np.float32)
    call = Call("matmul", (a, b, np.full((m, n), np.nan, np.float32), m, n, k), "writes", (2,))
    return Case(about or f"{m} x {k} by {k} x {n}", call, (("a", a), ("b", b)), (("c", a @ b),))


def _blocked() -> Iterator[Case]:
    yield _matmul_case(64, 64, 64, "64 x 64 by 64 x 64: whole blocks")
    yield _matmul_case(40, 32, 38, "40 x 32 by 32 x 38: blocks at the edges that are not whole")
    yield _matmul_case(3, 2, 4)
    yield _matmul_case(1, 1, 1)
    yield _matmul_case(33, 70, 31)


def _many_sums() -> Iterator[Case]:
    for n, about in (
        (3, "3 elements"),
        (64, "64 elements"),
        (1, "1 element"),
        (0, "no element"),
        (100, "100 elements"),
        (1000, "1000 elements"),
    ):
        x, y = _small(n).astype(np.float32), _small(n)[::-1].astype(np.float32)
        call = Call("dot", (x, y, np.full(1, np.nan, np.float32), n), "writes", (2,))
        yield Case(about, call, (("x", x), ("y", y)), (("out", np.array([x @ y])),))


def _tiles() -> Iterator[Case]:
    yield _c_matmul_case(4, 3, 32, "4 x 3 by 3 x 32: one whole tile")
    yield _c_matmul_case(8, 5, 64, "8 x 5 by 5 x 64: four whole tiles")
    yield _c_matmul_case(6, 4, 40, "6 x 4 by 4 x 40: a tile, and edges")
    yield _c_matmul_case(1, 1, 1)
    yield _c_matmul_case(3, 7, 5)
    yield _c_matmul_case(35, 33, 70)


def _shares() -> Iterator[Case]:
    yield _matmul_case(12, 8, 8, "12 rows")
    yield _matmul_case(13, 8, 8, "13 rows, which 2 threads or 4 cannot share equally")
    yield _matmul_case(1, 3, 2, "one row")
    yield _matmul_case(5, 2, 3)
    yield _matmul_case(101, 40, 30)


def _gpu_tiles() -> Iterator[Case]:
    yield _c_matmul_case(16, 16, 16, "16 x 16 by 16 x 16: one tile")
    yield _c_matmul_case(16, 40, 16, "16 x 40 by 40 x 16: three tiles along k")
    yield _c_matmul_case(19, 17, 21, "19 x 17 by 17 x 21: edges")
    yield _c_matmul_case(1, 33, 2)


def _neurons() -> Iterator[Case]:
    z = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    yield Case("from −2 to 2", Call("sigmoid", (z,)), (("z", z),), (("sigmoid(z)", 1 / (1 + np.exp(-z))),))
    x, w, b = (
        np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 1.0]]),
        np.array([[1.0, -1.0], [0.0, 2.0]]),
        np.array([0.5, -1.0]),
    )
    expected = 1 / (1 + np.exp(-(x @ w + b)))
    yield Case(
        "3 examples, 2 neurons",
        Call("layer", (x, w, b)),
        (("x", x), ("w", w), ("b", b)),
        (("layer(x, w, b)", expected),),
    )
    rows = (
        ([[0.0, 0.0]], [0], np.log(2), "two equal logits: log 2"),
        ([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]], [0, 1], None, "two examples, three classes"),
        ([[1000.0, 0.0]], [0], 0.0, "large logits"),
        ([[-1000.0, -1001.0]], [1], np.log(1 + np.e), "logits far below 0"),
    )
    for logits, labels, known, about in rows:
        z, t = np.array(logits), np.array(labels)
        loss = known if known is not None else float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(t)), t]))
        yield Case(about, Call("cross_entropy", (z, t)), (("logits", z), ("labels", t)), (("cross_entropy", loss),))


def _network(examples: int, inputs: int, hidden: int, outputs: int) -> tuple[Array, ...]:
    """x, t, w1, b1, w2, b2, in tenths."""
    rng = _rng()
    shapes = ((examples, inputs), (examples, outputs), (inputs, hidden), (hidden,), (hidden, outputs), (outputs,))
    return tuple(rng.integers(-9, 10, shape) / 10 for shape in shapes)


def _by_differences(x: Array, t: Array, *parameters: Array) -> tuple[Array, ...]:
    """The gradients of the mean square error by central differences: no formula of the chain rule is in them."""

    def loss() -> float:
        w1, b1, w2, b2 = parameters
        return float(np.mean((np.tanh(x @ w1 + b1) @ w2 + b2 - t) ** 2))

    found = []
    for parameter in parameters:
        slope = np.empty_like(parameter)
        for at in np.ndindex(*parameter.shape):
            kept, h = parameter[at], 1e-5
            parameter[at] = kept + h
            above = loss()
            parameter[at] = kept - h
            slope[at] = (above - loss()) / (2 * h)
            parameter[at] = kept
        found.append(slope)
    return tuple(found)


def _gradients() -> Iterator[Case]:
    for sizes in ((1, 1, 1, 1), (3, 2, 4, 2), (5, 4, 3, 1)):
        arguments = _network(*sizes)
        expected = _by_differences(*(np.array(x) for x in arguments))
        examples, inputs, hidden, outputs = sizes
        yield Case(
            "one of everything"
            if max(sizes) == 1
            else f"{examples} examples, {inputs} inputs, {hidden} hidden, {outputs} outputs",
            Call("gradients", arguments),
            tuple(zip(("x", "t", "w1", "b1", "w2", "b2"), arguments, strict=True)),
            tuple(zip(("dw1", "db1", "dw2", "db2"), expected, strict=True)),
            tolerance=1e-7,
        )


def _gradient_contenders(named: Named) -> Contenders:
    import loopnest as ln

    rng = np.random.default_rng(0)
    shapes = ((64, 64), (64, 10), (64, 128), (128,), (128, 10), (10,))
    x, t, w1, b1, w2, b2 = (rng.standard_normal(shape) for shape in shapes)

    def composed(backend: str) -> None:
        def product(a: Array, b: Array) -> Array:
            result: Array = ln.matmul(a, b, impl=backend)
            return result

        z = ln.linear(x, w1, b1, impl=backend)
        h = ln.tanh(z, impl=backend)
        dy = ln.mse_backward(ln.linear(h, w2, b2, impl=backend), t, impl=backend)
        dz = ln.tanh_backward(z, product(dy, w2.T), impl=backend)
        product(h.T, dy), dy.sum(axis=0), product(x.T, dz), dz.sum(axis=0)

    own = named("gradients")
    assert own is not None
    return [
        ("yours", lambda: own(x, t, w1, b1, w2, b2)),
        *((f"the lab's, in {b}", lambda b=b: composed(b)) for b in ("python", "numpy", "numba", "cpp")),
    ]


def _adam_steps() -> Iterator[Case]:
    options = (0.1, 0.9, 0.999, 1e-8)
    start = np.array([1.0, -2.0, 3.0]), np.zeros(3), np.zeros(3)
    for step, about in (
        (1, "the first step: each parameter moves by lr"),
        (2, "the second step"),
        (10, "the tenth step"),
    ):
        param, m, v = (x.copy() for x in start)
        grad = np.array([0.5, -4.0, 0.001])
        arguments = (param.copy(), grad, m.copy(), v.copy(), step, *options)
        lr, beta1, beta2, eps = options
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        param = param - lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
        names = ("param", "grad", "m", "v", "step", "lr", "beta1", "beta2", "eps")
        yield Case(
            about,
            Call("adam", arguments, "writes", (0, 2, 3)),
            tuple(zip(names, arguments, strict=True)),
            (("param", param), ("m", m), ("v", v)),
        )
        start = param, m, v


def _adam_contenders(named: Named) -> Contenders:
    import loopnest as ln

    rng = np.random.default_rng(0)
    n = 100_000
    own = named("adam")
    assert own is not None

    def arrays() -> tuple[Array, ...]:
        return rng.standard_normal(n), rng.standard_normal(n), np.zeros(n), np.zeros(n)

    mine = arrays()
    contenders: Contenders = [("yours", lambda: own(*mine, 3, 0.001, 0.9, 0.999, 1e-8))]
    for backend in ("python", "numpy", "numba", "cpp"):
        k, others = ln.adam[backend], arrays()
        contenders.append((k.id, lambda k=k, others=others: k(*others, step=3)))  # type: ignore[misc]
    return contenders


def _attention() -> Iterator[Case]:
    for tokens, d in ((2, 2), (3, 4), (7, 5)):
        rng = _rng()
        q, k, v = (rng.integers(-2, 3, (tokens, d)).astype(float) for _ in range(3))
        scores = q @ k.T / np.sqrt(d)
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        shown = (("q", q), ("k", k), ("v", v))
        yield Case(f"{tokens} tokens of {d} numbers", Call("attention", (q, k, v)), shown, (("attention", p @ v),))


def _attention_contenders(named: Named) -> Contenders:
    import loopnest as ln

    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((128, 64)).astype(np.float32) for _ in range(3))
    own = named("attention")
    assert own is not None

    def composed(backend: str) -> None:
        scores = ln.matmul(q * np.float32(1 / 8), k.T, impl=backend)
        ln.matmul(ln.softmax(scores, impl=backend), v, impl=backend)

    return [
        ("yours", lambda: own(q, k, v)),
        *((f"the lab's, in {b}", lambda b=b: composed(b)) for b in ("python", "numpy", "numba", "cpp")),
    ]


EXERCISES: dict[int, Exercise] = {
    one.number: one
    for one in (
        Exercise(
            1,
            ".py",
            "Write the dot product of two vectors, and the cosine of the angle between them.",
            _vectors,
            operation="dot",
        ),
        Exercise(
            2,
            ".py",
            "Write the product of two matrices, lists of rows, in all six orders of its three loops.",
            _loop_orders,
            contenders=_loop_order_contenders,
        ),
        Exercise(
            3,
            ".py",
            "Compute strides, offsets and broadcasts by hand, and write a transposed copy.",
            _strides,
            operation="transpose",
        ),
        Exercise(
            4,
            ".py",
            "Block the product's loops so that any size is right, those that no block divides too.",
            _blocked,
            operation="matmul",
        ),
        Exercise(
            5,
            ".cpp",
            "Write a dot product with many sums side by side, in C++, which becomes vector instructions.",
            _many_sums,
            operation="dot",
            requires=no_compiler,
        ),
        Exercise(
            6,
            ".cpp",
            "Keep a tile of the product in registers, and compute the edges too, in C++.",
            _tiles,
            operation="matmul",
            requires=no_compiler,
        ),
        Exercise(
            7,
            ".py",
            "Share the product's rows out among threads, so that none is forgotten.",
            _shares,
            operation="matmul",
            threads=2,
        ),
        Exercise(
            8,
            ".cu",
            "Bring tiles into shared memory along all of k, in CUDA C++, which runs simulated without a GPU.",
            _gpu_tiles,
            requires=no_compiler,
            untimed="Not timed: what runs simulated says nothing about a GPU's speed.",
        ),
        Exercise(
            9,
            ".py",
            "Write a layer of neurons, and a cross-entropy that large logits do not break.",
            _neurons,
            operation="cross_entropy",
        ),
        Exercise(
            10,
            ".py",
            "Go back through a two-layer network, and return the gradients of all its parameters.",
            _gradients,
            contenders=_gradient_contenders,
        ),
        Exercise(
            11,
            ".py",
            "Write a step of Adam with its bias correction, in place.",
            _adam_steps,
            contenders=_adam_contenders,
        ),
        Exercise(
            12,
            ".py",
            "Compose attention from the lab's matmul and softmax.",
            _attention,
            contenders=_attention_contenders,
        ),
    )
}
"""By number; each belongs to the lesson of its number."""
