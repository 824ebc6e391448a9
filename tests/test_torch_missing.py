"""Without torch: everything imports, and the torch rungs are listed with the reason and refused with the fix."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["torch"] = None  # as Python marks a module that must not be found: `import torch` raises ImportError
import loopnest as ln
import loopnest.parallel
import numpy as np

operations = [value for value in vars(ln).values() if isinstance(value, ln.Operation)]
assert operations
ones = np.ones((2, 2))
for operation in operations:
    rungs = [k for k in operation if k.backend == "torch"]
    assert rungs, operation
    for k in rungs:
        assert not k.available()
        assert k.why_unavailable() == "torch is not installed: pip install 'loopnest[torch]'"
        assert k.lesson and k.source()
        try:
            k(ones)
        except ln.UnavailableError as error:
            assert f"{operation.name}: {k.id} cannot run here" in str(error)
            assert "pip install 'loopnest[torch]'" in str(error)
        else:
            raise AssertionError(f"{k} ran")
    assert operation.fastest().backend != "torch"
try:
    ln.matmul(ones, ones, impl="torch")
except ln.UnavailableError as error:
    assert "pip install 'loopnest[torch]'" in str(error)
else:
    raise AssertionError("torch ran")
assert ln.matmul(ones, ones)[0, 0] == 2
try:
    import loopnest.torch
except ln.UnavailableError as error:
    assert "pip install 'loopnest[torch]'" in str(error) and isinstance(error, ImportError)
else:
    raise AssertionError("loopnest.torch was imported")
try:
    ln.parallel.start().__enter__()
except ln.UnavailableError as error:
    assert "pip install 'loopnest[torch]'" in str(error)
else:
    raise AssertionError("ranks started")
print(len(operations), "operations")
"""


def test_torch_rungs_are_listed_with_the_reason_and_refused_with_the_fix():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "operations" in done.stdout
