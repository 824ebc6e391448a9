"""What `import loopnest` costs, and what it loads."""

import subprocess
import sys


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_import_loads_neither_numba_nor_torch_nor_matplotlib():
    program = "import sys, loopnest; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run(program).split())
    assert "loopnest" in loaded
    assert not loaded & {"numba", "torch", "matplotlib", "click", "rich", "llvmlite", "cuda"}


def test_check_duel_and_inspect_are_at_the_top_and_loaded_at_the_first_use():
    program = """
import sys, loopnest as ln
print(*(room for room in ("check", "inspect", "bench") if f"loopnest.{room}" in sys.modules))
print(type(ln.inspect(ln.matmul["cpp.naive"], "remarks")).__name__)
for call in (lambda: ln.check("nowhere.py", "matmul"), lambda: ln.duel("matmull", "cpp", "numpy")):
    try: call()
    except ValueError as error: print(error)
import inspect, loopnest.check, loopnest.inspect
arguments = list(inspect.signature(ln.check).parameters)
print(callable(ln.check), callable(ln.inspect), *arguments[:2], ln.check.rank.__name__)
"""
    before, view, no_file, no_operation, after = run(program).splitlines()
    assert before == ""
    assert view == "View"
    assert no_file.startswith("check: there is no file nowhere.py; with --new")
    assert no_operation.startswith("duel: no operation is called 'matmull'; did you mean matmul?")
    assert after == "True True file operation rank"


def test_import_takes_less_than_a_seventh_of_a_second_beyond_numpys():
    program = """
import time
import numpy
start = time.perf_counter()
import loopnest
print(time.perf_counter() - start)
"""
    assert min(float(run(program)) for _ in range(5)) < 0.15


def test_a_tree_that_is_not_built_says_how_to_build_it():
    program = "import sys; sys.modules['loopnest._core'] = None; import loopnest"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: loopnest's C++ extension is not built: run scripts/build.sh" in run.stderr
