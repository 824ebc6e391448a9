"""The zoo: kernels that pretend to be right, kernels that are wrong, kernels that crash, and honest ones.

The head of each file of tests/zoo/ says what it is:

    operation: matmul       what it claims to compute; matmul where the line is missing
    dtype: bfloat16         what it is judged in; float32 and float64 where the line is missing
    verdict: all-zeros      what `loopnest check` must say of it; honest kernels have none

tests/test_zoo.py holds the judge to that. scripts/make_zoo.py makes docs/zoo.md of it, with what plain checks would
have said; they are here, as `plain_checks`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ZOO = Path(__file__).with_name("zoo")
KINDS = ("tricks", "vain", "faults", "crashes", "honest")


@dataclass(frozen=True)
class Submission:
    """A file of the zoo, and what its head says."""

    file: Path
    kind: str
    operation: str
    verdict: str | None
    says: str
    dtype: str | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.file.name}"


def zoo(*kinds: str) -> list[Submission]:
    """The submissions of these kinds, or all."""
    files = (file for kind in kinds or KINDS for file in sorted((ZOO / kind).iterdir()) if file.is_file())
    return [_submission(file) for file in files if file.suffix in (".py", ".c", ".cpp", ".cu")]


def _submission(file: Path) -> Submission:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        head = text.split('"""')[1]
    else:
        head = "\n".join(line[2:].strip() for line in re.match(r"(//[^\n]*\n)*", text)[0].splitlines())
    facts = dict(re.findall(r"^(operation|verdict|dtype): (\S+)$", head, re.MULTILINE))
    says = re.sub(r"^(operation|verdict|dtype|launch): .*$", "", head, flags=re.MULTILINE).strip()
    says = re.sub(r"\n{2,}", "\n\n", says)
    known = facts.get("operation", "matmul"), facts.get("verdict"), says, facts.get("dtype")
    return Submission(file, file.parent.name, *known)


PLAIN = {
    "allclose": "np.allclose(out, expected)",
    "rtol 1e-2": "np.allclose(out, expected, rtol=1e-2, atol=1e-2)",
    "rtol 1e-4": "np.allclose(out, expected, rtol=1e-4, atol=1e-4)",
    "difference": "not np.max(np.abs(out - expected)) > 1e-2",
}
"""Plain checks, by their names in docs/zoo.md."""


def plain_checks(submission: Submission, seconds: float = 20) -> dict[str, bool] | str:
    """Whether each of PLAIN lets it pass, in a process of its own; or in a word how that process ended.

    The process does what public benchmarks do: it times the reference, warms the kernel up, times it, and then compares
    its result with that of the reference, all with one set of inputs.
    """
    if submission.file.suffix == ".cu":
        return "needs a GPU"
    command = [sys.executable, __file__, str(submission.file), submission.operation, submission.dtype or ""]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return "hangs"
    last = run.stdout.splitlines()[-1:] or [""]
    return json.loads(last[0]) if last[0].startswith("{") else "crashes"


def _benchmark(file: Path, name: str, reduced: str) -> dict[str, bool]:
    """The plain benchmark: the reference timed, the kernel warmed up and timed, one result compared."""
    from loopnest import OPERATIONS
    from loopnest.arrays import dtype_called
    from loopnest.operation import Workload
    from loopnest.verify.problem import Problem, places_of

    operation = OPERATIONS[name]
    sizes = dict.fromkeys(operation.contract.workloads[0].shape, 128)
    in_doubles = file.suffix == ".cpp" and "const double*" in file.read_text(encoding="utf-8")
    dtype = dtype_called(reduced or ("float64" if in_doubles else "float32"))
    problem = Problem.sample(operation, Workload("plain", sizes), None, {}, dtype=dtype)
    args, results = problem.kernel_arguments()
    updates, places = operation.contract.updates, places_of(results, args)
    before = [x.copy() if isinstance(x, np.ndarray) else x for x in args]

    def reference() -> list[np.ndarray]:
        """In the inputs' dtype, from the inputs as they are now."""
        if name == "matmul" and not reduced:
            return [args[0] @ args[1]]
        return [np.asarray(x, problem.dtype) for x in operation.contract.reference(*problem.inputs, **problem.options)]

    if file.suffix == ".py":
        kernel = _python_kernel(file, name, args, places)
    else:
        kernel = _c_kernel(file, name, args)
    wanted = reference()
    expected = wanted[0]
    answers = {"expected": expected}  # a benchmark keeps it for its table
    for _ in range(3):
        reference()  # timed, and its result freed
    for place in places:
        args[place][...] = 0
    for _ in range(3 + 20):
        for place in updates:
            args[place][...] = before[place]
        returned = kernel()
    found = list(results) if returned is None else list(returned) if isinstance(returned, tuple) else [returned]
    wanted = wanted if updates else reference()
    if reduced:
        found, wanted = ([x.astype(np.float64) for x in several] for several in (found, wanted))
    del expected, answers
    return {
        check: all(
            bool(eval(question, {"np": np, "out": x, "expected": y.reshape(np.shape(x))}))
            for x, y in zip(found, wanted, strict=True)
        )
        for check, question in PLAIN.items()
    }


def _python_kernel(file: Path, name: str, args: Sequence[Any], places: Sequence[int]) -> Callable[[], Any]:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name)
    given = len(inspect.signature(getattr(function, "py_func", function)).parameters)
    if given == len(args) - len(places) and places:
        args = [x for i, x in enumerate(args) if i not in places]
    return lambda: function(*args)


def _c_kernel(file: Path, name: str, args: Sequence[Any]) -> Callable[[], None]:
    """The compiled function, with the pointers, the strides where it takes them, and the sizes."""
    library = Path(tempfile.mkdtemp()) / "kernel.so"
    compiler = "g++" if file.suffix == ".cpp" else "gcc"
    flags = ["-O3", "-march=native", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *flags, "-o", library, file, "-lm"], check=True)
    function = getattr(ctypes.CDLL(str(library)), name)
    values: list[Any] = []
    for x in args:
        values.append(ctypes.c_void_p(x.ctypes.data))
        if "a_row_stride" in file.read_text(encoding="utf-8"):
            values += [ctypes.c_long(stride // x.itemsize) for stride in x.strides]
    sizes = (len(args[0]), args[1].shape[1], len(args[1])) if name == "matmul" else (args[0].size,)
    values += map(ctypes.c_long, sizes)

    def call() -> None:
        function(*values)

    return call


if __name__ == "__main__":
    print(json.dumps(_benchmark(Path(sys.argv[1]), *sys.argv[2:])))
