"""The judge: does it build, is it right, how fast is it, what to try next. It stops at the first no."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FLOATS
from ..backends.compiler import FLAGS, Build, BuildError, Library, NoCompilerError, compile_library, exported
from ..backends.user_file import LANGUAGES, language
from ..machine.records import MachineCard
from ..operation import Operation, Workload
from ..verify import Case, _as_large_as, _uneven, layout_cases, size_cases, special_cases
from .diagnose import Failure, Named, crash_named, named, patch_trick, remembers
from .faults import sentence
from .form import (
    CForm,
    CFunction,
    SignatureError,
    bound_to,
    c_forms,
    defined,
    python_form,
    python_forms,
)
from .records import Checked, Pace, Step, Verdict
from .session import EndedError, Limits
from .subject import Run, Subject, names_of, stated_cutoff, states_finite, trial_of_case

OnEvent = Callable[[str, Any], None]

CALL_SHARE, COMPILING_SHARE = 1 / 3, 0.8
"""The part of the time limit that a call, or the import, may take; and a call of what is compiled at its first."""

COMPILERS = frozenset(("numba", "torch", "triton", "jax"))

SLOW_CASE = 0.25
"""Seconds of a call that is predicted to be too long for a case that is no necessity."""

LEGIBLE = 1e-3
"""Seconds that a call is taken to have lasted at least, where the next one is predicted from it."""

NECESSARY = 40
"""The lengths of axes up to which cases are judged however slow the submission is."""

TELLING = ((19, 17, 22, 13), (32, 32, 32, 32), (35, 33, 34, 31))
"""The lengths of the first cases: what is wrong is easier to name where sizes are uneven and beyond a tile's."""

AGAIN = 5
"""Calls on the same arrays with new values, by which what remembers is found out."""

MOST_BYTES = 1 << 25
"""Of the arrays of a large case: in higher precision, with what is exact and its bound, that is ten times as much."""

LARGEST = {4: 1 << 28, 8: 1 << 24}
"""Operations, or bytes, of the large case, by the bytes of an element: the exact result of doubles takes long doubles,
and longer. With more seconds it is larger."""

LONG_CASE = 10e-3
"""Seconds of a call after which no larger case is needed."""


def check(
    file: Path | str,
    operation: str | Operation,
    *,
    against: str | None = None,
    dtype: Any = None,
    flags: str = FLAGS,
    compiler: str | None = None,
    time_limit: float = 60.0,
    memory_limit: int = 2 << 30,
    seconds: float = 4.0,
    workload: str | None = None,
    threads: int = 1,
    card: MachineCard | None = None,
    on_event: OnEvent = lambda kind, content: None,
) -> Verdict:
    """Judge a kernel in a file: does it build, is it right, how fast is it, what to try next.

    file          Python with a function of the operation's name, C, C++ or CUDA C++: docs/check.md has the forms
    operation     its name, or the operation
    against       the id of a rung that it is to be compared with, besides those that it lies between
    dtype         float32 or float64; both where it is None, as far as the file takes both
    flags         of the compiler
    compiler      its name or path; one that is here where it is None
    time_limit    seconds of the whole; a call, the import and the compiler may each take a third of it
    memory_limit  bytes that the submission may take
    seconds       of the timing; 0 for none
    workload      on which it is timed: its name; those that fit the time where it is None
    threads       that libraries are told to use, and rungs
    card          the machine's limits; the kept machine card where it is None

    Returns the Verdict. Raises ValueError for arguments that cannot be: a file that is not there, an operation or a
    rung that is unknown.
    """
    checked = _operation(operation)
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"check: there is no file {path}")
    kind = language(path)
    if kind is None:
        known = ", ".join(LANGUAGES)
        raise ValueError(f"check: {path} is of no known language: expected a name that ends in one of {known}")
    for name, value in (("time_limit", time_limit), ("memory_limit", memory_limit)):
        if value <= 0:
            raise ValueError(f"check: {name} is {value}, expected more than 0")
    if seconds < 0:
        raise ValueError(f"check: seconds is {seconds}, expected 0 or more")
    dtypes = FLOATS if dtype is None else (np.dtype(dtype),)
    if not set(dtypes) <= set(FLOATS):
        raise ValueError(f"check: dtype is {dtypes[0]}, expected float32 or float64")
    if against is not None:
        checked[against]  # raises UnknownImplementationError, a LookupError
    workloads = {w.name: w for w in checked.contract.workloads}
    if workload is not None and workload not in workloads:
        raise ValueError(f"check: {checked.name} has no workload {workload!r}. Known: {', '.join(workloads)}")
    limits = Limits(time_limit * CALL_SHARE, memory_limit)
    subject = Subject(checked, path, kind, limits, time.monotonic() + time_limit, threads)
    trial = _Trial(subject, tuple(dtypes), seconds, against, card, on_event)
    trial.workload = workloads[workload] if workload else None
    return trial.verdict(flags, compiler)


def _operation(operation: str | Operation) -> Operation:
    from ..operations import OPERATIONS

    if isinstance(operation, Operation):
        return operation
    if operation not in OPERATIONS:
        near = difflib.get_close_matches(operation, OPERATIONS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"check: no operation is called {operation!r}{hint} Known: {', '.join(OPERATIONS)}")
    return OPERATIONS[operation]


class Refusal(Exception):
    """The judgement ends here."""

    def __init__(
        self,
        outcome: str,
        text: str,
        trick: str | None = None,
        details: Sequence[str] = (),
        *,
        build: Build | None = None,
    ) -> None:
        super().__init__(text)
        self.outcome, self.text, self.trick, self.details, self.build = outcome, text, trick, tuple(details), build


class _Trial:
    """A judgement that is going on."""

    def __init__(
        self,
        subject: Subject,
        dtypes: tuple[np.dtype[Any], ...],
        seconds: float,
        against: str | None,
        card: MachineCard | None,
        on_event: OnEvent,
    ) -> None:
        self.subject, self.dtypes, self.seconds = subject, dtypes, seconds
        self.against, self.card, self.on_event = against, card, on_event
        self.operation = subject.operation
        self.start = time.monotonic()
        self.build: Build | None = None
        self.notes: list[str] = []
        self.declined: list[str] = []
        self.skipped: list[str] = []
        self.cases: dict[str, int] = {}
        self.rate = 0.0  # work a second, of the slowest call so far that was long enough to tell
        self.slowest = 0.0
        self.finite = False
        self.workload: Workload | None = None
        self.pace: Pace | None = None
        self.steps: tuple[Step, ...] = ()

    def verdict(self, flags: str, compiler: str | None) -> Verdict:
        """The whole judgement."""
        try:
            self.make_ready(flags, compiler)
            self.judge()
            self.time()
            end = Refusal("right", self._right())
        except Refusal as refusal:
            end = refusal
        except EndedError as error:
            end = self.refusal_of(error)
        finally:
            self.subject.close()
        accepted = end.outcome == "right"
        printed = self.subject.output
        checked = Checked(
            self.subject.calls, dict(self.cases), tuple(self.skipped), tuple(dict.fromkeys(self.declined))
        )
        return Verdict(
            self.operation.name,
            str(self.subject.file),
            end.outcome,
            accepted,
            end.trick,
            end.text,
            end.details,
            end.build or self.build,
            checked,
            self.pace if accepted else None,
            self.steps,
            tuple(dict.fromkeys(self.notes)),
            _shown(*printed),
            tuple(str(d) for d in self.dtypes),
            time.monotonic() - self.start,
        )

    def _right(self) -> str:
        if self.pace is None:
            return f"{self.operation.name} in {self.subject.file.name} is right"
        return self.pace.sentence

    # 1. does it build

    def make_ready(self, flags: str, compiler: str | None) -> None:
        """Compile or import it, find the function, and how it is to be called."""
        self.on_event("at", "building" if self.subject.language != "python" else "importing")
        source = self.subject.file.read_text(encoding="utf-8", errors="replace")
        self.finite = states_finite(source)
        if self.finite:
            self.notes.append("it says that it is for finite numbers: what it makes of infinities was not looked at")
        if self.operation.name == "matmul":
            self.subject.stated = stated_cutoff(source)
            if self.subject.stated:
                self.notes.append(
                    f"it says that it is Strassen's algorithm on blocks above {self.subject.stated}: held to that "
                    f"algorithm's bound there (Higham, §23.2.2), which is wider than the contract's"
                )
        if self.subject.language == "python":
            self._import()
        elif self.subject.language == "cuda":
            self._simulate(source)
        else:
            self._compile(source, flags, compiler)

    def _compile(self, source: str, flags: str, compiler: str | None) -> None:
        subject = self.subject
        try:
            library = compile_library(subject.file, subject.language, flags, compiler, subject.limits.call)
        except NoCompilerError as error:
            raise Refusal("not-judged", str(error)) from None
        except BuildError as error:
            text = f"it does not compile: {error.first}"
            raise Refusal("does-not-build", text, None, error.build.messages.splitlines(), build=error.build) from None
        self.build = library.build
        subject.library = library
        function = next(filter(None, (defined(source, known) for known in names_of(self.operation))), None)
        if function is None:
            raise Refusal("no-function", self._no_function(exported(library.file)))
        subject.symbol = function.name
        symbols = exported(library.file)
        if subject.language == "c++" and symbols and function.name not in symbols:
            raise Refusal(
                "no-function",
                f"{function.name} has the linkage of C++, so that its name in the library is another one: write "
                f'extern "C" before it (line {function.line})',
            )
        self._bind(function)
        told = subject.start()
        if "problem" in told:
            raise Refusal("does-not-build", f"the library cannot be loaded: {told['problem']['text']}")
        if not told.get("found"):
            raise Refusal("no-function", self._no_function(symbols))

    def _bind(self, function: CFunction) -> None:
        """Find out how a C function is called."""
        subject = self.subject
        try:
            form = bound_to(self.operation, function)
        except SignatureError as error:
            first, *rest = str(error).splitlines()
            raise Refusal("wrong-signature", f"{first} {rest[0] if rest else ''}".strip(), None, rest[1:]) from None
        subject.form = form
        subject.parameter_names = tuple(name for _, name in function.parameters)
        subject.names = {
            what: name
            for (kind, what, _), (_, name) in zip(form.arguments, function.parameters, strict=True)
            if kind == "array" and name
        }
        if len(self.dtypes) == 1 and str(self.dtypes[0]) != form.dtype:
            raise Refusal("wrong-signature", f"it takes {form.dtype}, and was to be judged in {self.dtypes[0]}")
        self.dtypes = (np.dtype(form.dtype),)

    def _simulate(self, source: str) -> None:
        """CUDA C++ runs on the CPU, right and slowly: it is judged so, and never timed."""
        from ..backends.cuda_on_cpu import build_simulated
        from ..backends.cuda_source import CudaSourceError

        subject = self.subject
        start = time.monotonic()
        build = Build("cuda", "loopnest's simulator of CUDA on the CPU")
        try:
            subject.simulated = build_simulated(subject.file)
        except BuildError as error:
            text = f"it does not compile: {error.first}"
            raise Refusal("does-not-build", text, None, error.build.messages.splitlines(), build=build) from None
        except CudaSourceError as error:
            raise Refusal("no-function", str(error)) from None
        self.build = dataclasses.replace(build, seconds=time.monotonic() - start)
        subject.library = Library(subject.simulated.library, self.build)
        names = [k.name for k in subject.simulated.kernels]
        function = next(filter(None, (defined(source, known) for known in names_of(self.operation))), None)
        if function is None:
            raise Refusal("no-function", self._no_function(names))
        subject.symbol = function.name
        if subject.simulated.kernel(function.name).launch is None:
            raise Refusal(
                "wrong-signature",
                f"how {function.name} is launched is not said: write it on a line above the kernel, such as "
                "// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)",
            )
        self._bind(function)
        self.notes.append("simulated: the kernel ran on the CPU, by loopnest's simulator; it is not timed")
        self.seconds = 0.0
        told = subject.start()
        if "problem" in told:
            raise Refusal("does-not-build", f"the library cannot be loaded: {told['problem']['text']}")

    def _import(self) -> None:
        subject = self.subject
        start = time.monotonic()
        told = subject.start()
        self.build = Build("python", seconds=time.monotonic() - start)
        if "problem" in told:
            raise self._import_refusal(told["problem"])
        if not told.get("found"):
            raise Refusal("no-function", self._no_function(told["functions"]))
        try:
            subject.form = python_form(self.operation, told["signature"])
        except SignatureError as error:
            raise Refusal("wrong-signature", str(error)) from None
        if COMPILERS & set(subject.uses):
            subject.limits = dataclasses.replace(
                subject.limits, call=subject.limits.call * COMPILING_SHARE / CALL_SHARE
            )
            assert subject.session is not None
            subject.session.limits = subject.limits
        self._call_for_the_first_time()

    def _call_for_the_first_time(self) -> None:
        """Whether it wants NumPy's arrays or torch's tensors, and whether it takes each dtype."""
        subject = self.subject
        case = self._first_case(self.dtypes[0])
        assert subject.session is not None
        subject.session.ask({"do": "watch"})
        run = subject.run(trial_of_case(self.operation, case, True, "sizes"), phase="its first call")
        problem = run.answer.problem
        if problem is None:
            self._refuse_if_wrong(run)
        wants = problem and problem.get("kind") in ("TypeError", "AttributeError", "RuntimeError", "type")
        if wants and "torch" in subject.uses:
            subject.arrive_as_tensors()
            again = subject.run(trial_of_case(self.operation, case, True, "sizes"), phase="its first call")
            if again.answer.problem is None or again.answer.problem.get("returned"):
                self.notes.append("it is called with torch's tensors, on the same memory")
            else:
                subject.tensors = False
                assert subject.session is not None
                subject.session.ask({"do": "arrive", "tensors": False})
        if len(self.dtypes) > 1:
            other = subject.run(trial_of_case(self.operation, self._first_case(self.dtypes[1]), True, "sizes"))
            if other.answer.problem is not None and not other.answer.problem.get("returned"):
                first = subject.run(trial_of_case(self.operation, case, True, "sizes"))
                if first.answer.problem is None:
                    self.declined.append(f"{self.dtypes[1]}: {other.answer.problem['text'].splitlines()[0][:120]}")
                    self.dtypes = self.dtypes[:1]
                    return

    def _first_case(self, dtype: np.dtype[Any]) -> Case:
        return Case(self.operation, dtype, _uneven(self.operation, TELLING[0]))

    def _no_function(self, functions: Sequence[str]) -> str:
        name = self.operation.name
        near = difflib.get_close_matches(name, functions, n=1)
        others = [f for f in functions if not f.startswith("_")][:8]
        has = f"; it has {', '.join(others)}" if others else ""
        hint = f". Is it {near[0]}? Call it {name}" if near else ""
        forms = (python_forms if self.subject.language == "python" else c_forms)(self.operation)
        return f"{self.subject.file.name} has no function {name}{has}{hint}. Expected {forms[0]}"

    def _import_refusal(self, problem: Mapping[str, Any]) -> Refusal:
        kind, text, line = problem["kind"], problem["text"], problem.get("line")
        where = f"{self.subject.file.name}:{line}" if line else self.subject.file.name
        code = [f"  {problem['code']}"] if problem.get("code") else []
        if kind in ("SyntaxError", "IndentationError", "TabError"):
            return Refusal("does-not-build", f"{where}: {kind}: {text}", None, code)
        if kind in ("ImportError", "ModuleNotFoundError"):
            module = (problem.get("module") or "").partition(".")[0]
            fix = f": pip install {module}" if kind == "ModuleNotFoundError" and module else ""
            return Refusal("does-not-build", f"{where}: {text}{fix}", None, code)
        if kind == "MemoryError":
            return Refusal("out-of-memory", f"{where}: it took more memory than the limit when it was imported")
        if kind == "SystemExit":
            return Refusal("crashed", f"{where}: it ended its process when it was imported", "leaves-the-process", code)
        return Refusal("does-not-build", f"{where}: it raised {kind} when it was imported: {text}", None, code)

    # 2. is it right

    def judge(self) -> None:
        """Raises Refusal where it is not."""
        for dtype in self.dtypes:
            self.budget_end = time.monotonic() + max(0.7, self.seconds / 2) * (3 if "numba" in self.subject.uses else 1)
            self._judge_sizes(dtype)
            self._judge_again(dtype)
            self._judge_layouts(dtype)
            self._judge_special(dtype)
            self._judge_determinism(dtype)
            self._judge_large(dtype)
        self._refuse_races()
        self._look_at_what_else_happened()

    def _judge_sizes(self, dtype: np.dtype[Any]) -> None:
        self.on_event("at", f"{dtype}: sizes")
        cases = sorted(self._varied(size_cases, dtype), key=lambda case: case.work())
        telling = [Case(self.operation, dtype, _uneven(self.operation, lengths)) for lengths in TELLING]
        for case in (*telling, *cases):
            for at_end in (True, False):
                self._hold(case, at_end, "sizes")

    def _judge_again(self, dtype: np.dtype[Any]) -> None:
        """Several calls in a row on the same arrays, with new values each time."""
        self.on_event("at", f"{dtype}: new values in the same arrays")
        axes = self.operation.contract.workloads[0].shape
        for size in (16, 33, 64):
            case = Case(self.operation, dtype, tuple((axis, size) for axis in axes))
            for _ in range(AGAIN):
                self._hold(case, True, "again")

    def _judge_layouts(self, dtype: np.dtype[Any]) -> None:
        form = self.subject.form
        if isinstance(form, CForm) and not form.strided:
            self.skipped.append("strides: its form takes contiguous arrays")
            return
        self.on_event("at", f"{dtype}: layouts")
        refused: dict[str, str] = {}
        for case in self._varied(layout_cases, dtype):
            if any(layout in refused for layout in case.layouts):
                continue
            run = self._hold(case, True, "layouts", may_raise=True)
            if run is not None and run.answer.problem is not None:
                layout = next(name for name in case.layouts if name != "in C order")
                refused[layout] = run.answer.problem["text"].splitlines()[0][:100]
        if refused:
            reasons = sorted(set(refused.values()))
            self.declined.append(f"arrays {', '.join(refused)}: {reasons[0]}")

    def _judge_special(self, dtype: np.dtype[Any]) -> None:
        self.on_event("at", f"{dtype}: NaN and infinity")
        for case in self._varied(special_cases, dtype):
            if self.finite and case.special is not None and np.isinf(case.special):
                continue
            self._hold(case, True, "special")

    def _judge_determinism(self, dtype: np.dtype[Any]) -> None:
        self.on_event("at", f"{dtype}: the same inputs twice")
        axes = self.operation.contract.workloads[0].shape
        trial = trial_of_case(
            self.operation, Case(self.operation, dtype, tuple((axis, 65) for axis in axes)), True, "deterministic"
        )
        if not self._affordable(trial.case):
            return
        seen = []
        for _ in range(3):
            run = self.subject.run(trial)
            self._refuse_if_wrong(run)
            seen.append([r.tobytes() for r in self.subject.results(trial)])
        self._count("deterministic", 3)
        if any(s != seen[0] for s in seen):
            self.notes.append("two calls with the same inputs differ, within the error bound")

    def _judge_large(self, dtype: np.dtype[Any]) -> None:
        """Larger and larger, until a call's work takes far longer than the judge needs to look what is left of it."""
        self.on_event("at", f"{dtype}: large cases")
        self.budget_end = time.monotonic() + max(0.7, self.seconds / 2)
        largest = LARGEST[dtype.itemsize] * (5 if self.seconds >= 2 else 1)
        for work in (largest >> 9, largest >> 6, largest >> 3, largest):
            case = self._large_case(work, dtype)
            run = self._hold(case, True, "large")
            if run is None or self._late(0.0):
                return
            if run.answer.counted > LONG_CASE:
                break
        self._hold(case, False, "large")

    def _large_case(self, work: int, dtype: np.dtype[Any]) -> Case:
        """Of so much work, or of less where that is done on more bytes than the judge can look at in a moment."""
        case = _as_large_as(work, self.operation, dtype)
        nbytes = self.operation.contract.traffic(dtype.itemsize, **dict(case.sizes))
        return case if nbytes <= MOST_BYTES else _as_large_as(work * MOST_BYTES / nbytes, self.operation, dtype)

    def _varied(self, cases: Callable[..., Iterator[Case]], dtype: np.dtype[Any]) -> Iterator[Case]:
        """Cases of verify.py, those of the operation's other forms only if the submission takes the options."""
        form = self.subject.form
        for case in cases(next(iter(self.operation)), dtype):
            if case.variation and not (form and form.all_options):
                continue
            if case.give_out:
                continue
            yield case

    def _affordable(self, case: Case | None) -> bool:
        """Whether a case is predicted to be short, or has to be judged anyhow."""
        if case is None:
            return True
        if max(size for _, size in case.sizes) <= NECESSARY and not self._late(2.0):
            return True
        if not self.rate:
            return True
        return case.work() / self.rate <= SLOW_CASE and not self._late(0.0)

    def _late(self, grace: float) -> bool:
        return time.monotonic() > self.budget_end + grace

    budget_end = 0.0

    def _hold(self, case: Case, at_end: bool, kind: str, *, may_raise: bool = False) -> Run | None:
        """Judge one case, unless it would take too long."""
        if not self._affordable(case):
            self.skipped.append(f"sizes above {NECESSARY}, in part: it is too slow for all of them in this time")
            self.skipped = list(dict.fromkeys(self.skipped))
            return None
        if not self._has_kernel_call(case):
            return None
        run = self.subject.run(trial_of_case(self.operation, case, at_end, kind))
        self._count(kind)
        self.rate = max(self.rate, case.work() / max(run.answer.counted, LEGIBLE))
        if may_raise and run.answer.problem is not None and not run.answer.problem.get("returned"):
            return run
        self._refuse_if_wrong(run)
        return run

    def _has_kernel_call(self, case: Case) -> bool:
        """cross_entropy answers for an empty batch itself, and no GPU takes a launch without blocks."""
        empty = 0 in dict(case.sizes).values()
        return not (empty and (self.subject.simulated is not None or self.operation.name.startswith("cross_entropy")))

    def _count(self, kind: str, calls: int = 1) -> None:
        self.cases[kind] = self.cases.get(kind, 0) + calls

    def _refuse_if_wrong(self, run: Run) -> None:
        if run.right:
            return
        raise self.refusal_of_run(run)

    def refusal_of_run(self, run: Run) -> Refusal:
        """Name what is wrong with a call."""
        problem = run.answer.problem
        if problem is not None:
            return self._refusal_of_problem(problem, run)
        self.on_event("at", "finding out what is wrong")
        try:
            self._refuse_races((f"{run.trial}: {run.problems[0]}",))
            found = named(Failure(self.subject, run, self._varied))
        except EndedError as error:
            found = Named("wrong-values", "wrong", (f"then {error}",))
        first = f"{run.trial}: {run.problems[0]}"
        details = (first, *(line for line in found.details if line not in first))
        return Refusal(found.outcome, f"{self.operation.name} is wrong: {found.text}", found.trick, details)

    def _refusal_of_problem(self, problem: Mapping[str, Any], run: Run) -> Refusal:
        kind, text, line = problem["kind"], problem["text"], problem.get("line")
        where = f"{self.subject.file.name}:{line}: " if line else ""
        details = [f"in the call {run.trial}"]
        if problem.get("code"):
            details.insert(0, f"  {problem['code']}")
        tricks = {
            "lazy": ("wrong", "lazy-result"),
            "dtype": ("wrong", "wrong-dtype"),
            "shape": ("wrong", "wrong-shape"),
            "type": ("wrong", "wrong-type"),
            "nothing": ("wrong", "wrong-type"),
            "results": ("wrong", "wrong-type"),
        }
        if kind in ("shape", "dtype"):
            remembered = remembers(Failure(self.subject, run, self._varied))
            if remembered:
                return Refusal(
                    remembered.outcome,
                    f"{self.operation.name} is wrong: {remembered.text}",
                    remembered.trick,
                    (*details, *remembered.details),
                )
        if problem.get("returned") and kind in tricks:
            outcome, trick = tricks[kind]
            outcome = "cheats" if trick == "lazy-result" else outcome
            return Refusal(outcome, f"{self.operation.name} {text}: {sentence(trick)}", trick, details)
        if kind == "launch":
            return Refusal("wrong", f"the kernel cannot end its launch: {text}", None, details)
        if kind == "RecursionError":
            return Refusal("raised", f"{where}an endless recursion: {text}", "endless-recursion", details)
        if kind == "MemoryError":
            return Refusal("out-of-memory", f"{where}it took more memory than the limit allows", None, details)
        if kind in ("SystemExit", "KeyboardInterrupt"):
            return Refusal("crashed", f"{where}it ended its process (sys.exit)", "leaves-the-process", details)
        if "read-only" in text:
            return Refusal("wrong", f"{where}{kind}: {text}: {sentence('changes-input')}", "changes-input", details)
        return Refusal("raised", f"{where}it raised {kind}: {text}", None, details)

    def refusal_of(self, error: EndedError) -> Refusal:
        """Say how its process ended."""
        text = error.text
        if error.why == "timed-out":
            return Refusal("timed-out", text, "endless-loop")
        if error.why == "sleeps":
            return Refusal("timed-out", text, "sleeps")
        if error.why == "out-of-memory":
            return Refusal("out-of-memory", text)
        if error.why == "output-flood":
            return Refusal("output-flood", text, "prints-a-flood")
        if error.why == "fork-bomb":
            return Refusal("crashed", text, "fork-bomb")
        if error.why == "exited":
            return Refusal("crashed", text, "leaves-the-process")
        if error.why in ("killed", "talks-back", "killed-its-parent"):
            return Refusal("cheats", text, "gives-up-its-process")
        assert error.crash is not None
        found = crash_named(self.subject, error.crash, text)
        return Refusal(found.outcome, found.text, found.trick, found.details)

    def _look_at_what_else_happened(self) -> None:
        """What it replaced in Python, and what else it did."""
        if self.subject.language != "python" or self.subject.session is None:
            return
        seen = self.subject.seen()
        if seen["patched"]:
            trick = patch_trick(seen["patched"])
            raise Refusal("cheats", f"{sentence(trick)}: {', '.join(seen['patched'][:5])}", trick)
        if "loopnest" in seen.get("modules", ()):
            self.notes.append("it imports loopnest, and may be calling one of its rungs")
        line = library_product(self.subject.file.read_text(encoding="utf-8", errors="replace"))
        if line and self.operation.name in ("matmul", "linear"):
            self.notes.append(f"the product is a library's (line {line})")

    def _refuse_races(self, details: Sequence[str] = ()) -> None:
        """Raises Refusal where threads of a CUDA kernel touch the same memory with nothing between them, whether or not
        that changed a result here."""
        if self.subject.simulated is None:
            return
        from ..backends.cuda_source import CudaSourceError
        from .racecheck import racecheck

        self.on_event("at", "looking for races")
        try:
            found = racecheck(
                self.subject.file,
                kernel=self.subject.symbol,
                operation=self.operation.name if self.operation.name == "matmul" else None,
                time_limit=self.subject.limits.call,
            ).findings
        except (BuildError, CudaSourceError) as error:
            self.skipped.append(f"races: {str(error).splitlines()[0]}")
            return
        races = [f for f in found if f.kind in ("race", "blocks", "divergent", "unreached")]
        if races:
            text = f"{self.operation.name} is wrong: {races[0].sentence}"
            raise Refusal("wrong", text, "race", (*details, *(f.sentence for f in races[1:])))

    # 3. and 4. how fast, and what next

    def time(self) -> None:
        """Race it against the ladder."""
        if not self.seconds:
            return
        from .pace import NotRaced, next_steps, race

        self.on_event("at", "timing")
        try:
            self.pace = race(self)
            self.steps = next_steps(self)
        except NotRaced as reason:
            self.notes.append(f"not timed: {reason}")


PRODUCTS = frozenset(("matmul", "dot", "einsum", "tensordot", "inner", "vdot", "mm", "bmm", "addmm", "multi_dot"))


def library_product(source: str) -> int:
    """The line of a Python text in which a library multiplies matrices; 0 where there is none.

    >>> library_product("def matmul(a, b):\\n    return a @ b"), library_product("def matmul(a, b): pass")
    (2, 0)
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PRODUCTS:
            return node.lineno
    return 0


def _shown(output: bytes, printed: int) -> str:
    """What it printed: the first lines, and how much more there was."""
    text = output.decode("utf-8", "replace")
    text = re.sub(r"[^\n\t -~\u00a0-\uffff]", "?", text)
    lines = text.splitlines()[:8]
    shown = "\n".join(line[:200] for line in lines)
    more = printed - len(shown.encode())
    return f"{shown}\n… and {more:,} bytes more" if more > 1 and printed > len(shown.encode()) + len(lines) else shown
