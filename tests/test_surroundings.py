"""Processes in unusual surroundings: broken packages, no home, a full disk, a narrow encoding; and rungs that move."""

import copy
import multiprocessing
import os
import pickle
import re
import subprocess
import sys

import loopnest as ln
import numpy as np
import pytest
from loopnest.backends.compiler import cache_directory

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="starts many processes")


def python(code, *arguments, interpreter=(), stdout=subprocess.PIPE, **environment):
    """Run Python in a process of its own, in other surroundings; a variable that is None is taken away."""
    env = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run(
        [sys.executable, *interpreter, "-c", code, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=120,
        env=env,
    )


def broken(folder, package, error="OSError"):
    """A folder with a package whose import fails, as with a missing shared library."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(f"raise {error}('libmissing.so: cannot open shared object file')")
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


LISTED = """
import sys
backend, reason = sys.argv[1:]
import numpy as np, loopnest as ln
for operation in ln.OPERATIONS.values():
    for k in operation:
        assert k.lesson and k.source()
        if k.backend == backend:
            assert reason in k.why_unavailable(), k.why_unavailable()
            try:
                k(np.ones((2, 2)))
            except ln.UnavailableError as error:
                assert reason in str(error)
            else:
                raise AssertionError(f"{k} ran")
    assert operation.fastest().backend == "cpp"
from loopnest.cli import main
main(["list", "gelu"])
"""


@pytest.mark.parametrize(
    ("package", "error"),
    [
        ("numba", "OSError"),
        ("torch", "ImportError"),
        pytest.param("numba", "ImportError", marks=pytest.mark.slow),
        pytest.param("numba", "AttributeError", marks=pytest.mark.slow),
        pytest.param("torch", "OSError", marks=pytest.mark.slow),
        pytest.param("torch", "AttributeError", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_the_rungs_of_a_broken_package_are_listed_with_the_reason(package, error, tmp_path):
    path = broken(tmp_path, package, error)
    run = python(LISTED, package, f"{package} cannot be imported (libmissing.so", PYTHONPATH=path)
    assert run.returncode == 0, run.stderr.decode()
    text = " ".join(run.stdout.decode().split())
    assert f"not here: {package} cannot be imported (libmissing.so" in text
    assert "cpp.simd" in text


@pytest.mark.slow
def test_numba_that_compiles_nothing_is_listed_with_the_reason():
    run = python(LISTED, "numba", "NUMBA_DISABLE_JIT is set", NUMBA_DISABLE_JIT="1")
    assert run.returncode == 0, run.stderr.decode()


# --- no home, no cache, a full disk


def test_a_cache_named_by_no_absolute_path_is_as_if_not_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("", "here", "./here"):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert cache_directory().is_relative_to(tmp_path)


HOMELESS = """
import os, pwd, sys
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown  # as for a user that /etc/passwd does not have
os.chdir(sys.argv[1])
import numpy as np, loopnest as ln
from loopnest.backends.compiler import cache_directory
assert cache_directory().is_absolute()
cache_directory().mkdir(parents=True)
assert ln.matmul(np.ones((3, 3)), np.ones((3, 3)), impl="numba.naive")[0, 0] == 3
print(os.listdir())
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no /etc/passwd")
@pytest.mark.parametrize("named", [None, ""])
@pytest.mark.slow
def test_a_user_without_a_home_works_without_a_cache(named, tmp_path):
    run = python(HOMELESS, str(tmp_path), HOME=None, XDG_CACHE_HOME=named, NUMBA_CACHE_DIR=None)
    assert (run.returncode, run.stdout) == (0, b"[]\n"), run.stderr.decode()


FULL = """
import resource
import numpy as np, loopnest as ln
ln.matmul["numba.naive"]
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as if the disk were full
ones = np.ones((3, 3))
assert ln.matmul(ones, ones, impl="numba.naive")[0, 0] == 3
assert abs(ln.gelu(ones, impl="numba.ufunc")[0, 0] - 0.841192) < 1e-5
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_numba_works_where_its_cache_is_full(tmp_path):
    run = python(FULL, NUMBA_CACHE_DIR=str(tmp_path))
    assert run.returncode == 0, run.stderr.decode()


BOUND = """
import os, warnings
import torch
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import loopnest as ln
print(ln.num_threads(), *(str(w.message) for w in caught))
import loopnest.torch
print(ln.num_threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(ln.num_threads() < 2, reason="needs two processors")
def test_threads_that_openmp_has_bound_to_a_processor_are_not_used_in_silence():
    pytest.importorskip("torch")
    free = python(BOUND, OMP_PROC_BIND=None, OMP_NUM_THREADS=None, LOOPNEST_NUM_THREADS=None)
    bound = python(BOUND, OMP_PROC_BIND="true", OMP_NUM_THREADS=None, LOOPNEST_NUM_THREADS=None)
    first, with_torch = bound.stdout.decode().splitlines()
    if first == free.stdout.decode().splitlines()[0]:
        pytest.skip("this OpenMP binds no thread")
    assert first.startswith("1 OMP_PROC_BIND")
    assert "import loopnest.torch" in first
    assert with_torch == free.stdout.decode().splitlines()[1]
    quiet = python(BOUND, OMP_PROC_BIND="true", LOOPNEST_NUM_THREADS="1")
    assert quiet.stdout.decode().splitlines() == ["1", "1"]


# --- output


COMMANDS = """
from loopnest.cli import main
for command in ["list", "gelu"], ["lesson", "4"], ["layout", "matmul", "cpp.naive"], ["--help"]:
    main(command, standalone_mode=False)
"""


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "cp1252"))]
)
def test_output_has_the_characters_that_its_encoding_has(encoding):
    run = python(COMMANDS, PYTHONIOENCODING=encoding)
    assert run.returncode == 0, run.stderr.decode(encoding)
    run.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # click writes UTF-8 where Python would ASCII


LOOPNEST = "from loopnest.cli import main; main()"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [["list", "gelu"], ["show", "gelu", "cpp.simd"], ["lesson", "4"], ["--help"]])
@pytest.mark.slow
def test_output_that_goes_nowhere_is_one_line(command):
    with open("/dev/full", "wb") as full:
        run = python(LOOPNEST, *command, stdout=full)
    assert run.stderr.decode().splitlines()[-1:] == ["Error: No space left on device"]
    assert b"Traceback" not in run.stderr
    assert run.returncode
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:  # as where `head` has read enough
        assert python(LOOPNEST, *command, stdout=pipe).stderr == b""


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["0", "1", "100000"])
def test_any_width_of_a_terminal_will_do(columns):
    run = python(LOOPNEST, "list", "gelu", COLUMNS=columns)
    assert (run.returncode, run.stderr) == (0, b"")
    assert columns == "1" or b"Phi(x)" in run.stdout or "Φ(x)" in run.stdout.decode()


# --- little memory, few files, odd files


LIMITED = """
import os, resource, sys
import numpy as np
import loopnest.cli
import loopnest.check
np.ones((500, 500)) @ np.ones((500, 500))  # OpenBLAS ends a process that has no memory for its buffers
kind, amount, *command = sys.argv[1:]
if kind == "RLIMIT_AS":  # more than there is already
    amount = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (int(amount) << 20)
else:
    amount = len(os.listdir("/proc/self/fd")) + int(amount)
resource.setrlimit(getattr(resource, kind), (amount, amount))
loopnest.cli.main(command)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits")
@pytest.mark.parametrize(
    ("kind", "amount", "said"),
    [
        ("RLIMIT_NOFILE", 0, "Too many open files"),
        ("RLIMIT_NOFILE", 4, "Too many open files"),
        ("RLIMIT_NOFILE", 9, "Too many open files"),
        ("RLIMIT_AS", 4, "not enough memory|Cannot allocate memory"),
        ("RLIMIT_AS", 12, "not enough memory|Cannot allocate memory"),
    ],
)
@pytest.mark.slow
def test_a_check_with_too_little_of_something_says_so_in_a_line(kind, amount, said, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def matmul(a, b, c):\n    c[...] = a @ b\n")
    run = python(LIMITED, kind, str(amount), "check", str(file), "--op", "matmul", "--seconds", "0")
    text = run.stdout.decode() + run.stderr.decode()
    assert "Traceback" not in text
    assert re.search(said, " ".join(text.split())), text
    assert run.returncode not in (0, 3)


FEW_FILES = """
import os, resource
import numpy as np, loopnest as ln
a = np.ones((300, 300), np.float32)
ln.matmul(a, a, impl="numba.parallel")
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")),) * 2)
for rung in ("cpp.parallel", "numba.parallel", "cpp.packed", "numpy.matmul"):
    assert (ln.matmul(a, a, impl=rung) == 300).all()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits")
def test_kernels_need_no_file_handle():
    run = python(FEW_FILES)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("command", ["check FILE", "train xor --resume FILE", "inspect FILE", "duel FILE cpp.naive"])
@pytest.mark.parametrize("kind", ["pipe", "loop", "long"])
def test_a_file_that_is_none_is_one_line(command, kind, tmp_path):
    """A pipe that nobody writes to would be waited for, for ever."""
    file = tmp_path / ("x" * 300 + ".py" if kind == "long" else "mine.py")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "loop":
        file.symlink_to(file)
    run = python(LOOPNEST, *command.replace("FILE", str(file)).split())
    assert run.returncode
    assert b"Traceback" not in run.stderr
    assert b"Error: " in run.stderr


needs_mounts = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="mounts a disk of its own, which needs root",
)

READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && ! touch "$1/x" 2>/dev/null && shift && exec "$@"
"""


@needs_mounts
def test_an_installation_that_cannot_be_written_works():
    code = "import numpy as np, loopnest as ln; print(ln.matmul(np.eye(3), np.eye(3), impl='numba.naive').sum())"
    words = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", os.path.dirname(ln.__file__), sys.executable, "-c", code]
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"HOME": "/nowhere", "XDG_CACHE_HOME": ""}
    run = subprocess.run(words, capture_output=True, timeout=120, env=env)
    assert run.stdout == b"3.0\n", run.stderr.decode()


FULL_DISK = """
mount -t tmpfs -o size=64k none "$1" && cd "$1" && { head -c 1000000 /dev/zero >fill 2>/dev/null || true; }
shift && TMPDIR=$PWD exec "$@"
"""


@pytest.mark.slow
@needs_mounts
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("check FILE --op matmul --seconds 0", "not-judged"),
        ("train xor --epochs 1 --checkpoint mine.npz", "No space left on device"),
        ("inspect matmul cpp.naive --svg walk.svg", "Error: "),
        ("list gelu", "cpp.simd"),
    ],
)
def test_a_full_disk_is_said_and_not_held_against_a_file(command, said, tmp_path):
    file = tmp_path / "mine.c"
    file.write_text("void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}")
    (tmp_path / "disk").mkdir()
    words = [sys.executable, "-c", LOOPNEST, *command.replace("FILE", str(file)).split()]
    words = ["unshare", "-m", "sh", "-c", FULL_DISK, "sh", str(tmp_path / "disk"), *words]
    run = subprocess.run(words, capture_output=True, timeout=120)
    text = (run.stdout + run.stderr).decode()
    assert said in text, text
    assert "Traceback" not in text


TEXTS = """
import loopnest as ln
print([(o.__doc__, [k.lesson for k in o]) for o in ln.OPERATIONS.values()])
"""


@pytest.mark.slow
def test_python_without_docstrings_has_all_texts_and_results():
    """-OO drops docstrings and asserts. They are lessons and summaries here, read from the sources then."""
    assert python(TEXTS, interpreter=["-OO"]).stdout == python(TEXTS).stdout != b""
    run = python("from loopnest.cli import main; main()", "train", "xor", "--epochs", "2", interpreter=["-OO"])
    assert run.returncode == 0, run.stderr.decode()


# --- rungs that are copied, sent to other processes, and registered again


@pytest.mark.parametrize("id", ["cpp.naive", "numba.naive", "numpy.matmul", "torch.eager", "cuda_cpp.naive"])
def test_a_rung_is_copied_and_pickled_as_the_rung_of_its_id(id):
    rung = ln.matmul[id]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(rung, protocol)) is rung
    assert copy.copy(rung) is copy.deepcopy([rung])[0] is rung


def test_a_rung_works_in_a_spawned_process():
    ones = np.ones((3, 3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        results = pool.starmap(ln.matmul["cpp.blocked"], [(ones, ones)] * 2)
    np.testing.assert_array_equal(results, np.full((2, 3, 3), 3.0))


CELL = """
@ln.matmul.register("mine.rows")
def rows(a, b, c):
    c[...] = a @ b + {}
"""


def test_a_cell_that_runs_again_replaces_its_rung():
    ones = np.ones((2, 2))
    try:
        for number in (0, 1):
            exec(compile(CELL.format(number), f"<cell {number}>", "exec"), {"ln": ln, "__name__": "__main__"})
            assert ln.matmul(ones, ones, impl="mine.rows")[0, 0] == 2 + number
        assert [k.id for k in ln.matmul].count("mine.rows") == 1
        with pytest.raises(ValueError, match=r"'mine.rows' is taken by another function; choose another"):
            ln.matmul.register("mine.rows")(lambda a, b, c: None)
        with pytest.raises(ValueError, match=r"'cpp.naive' is taken; choose another"):
            ln.matmul.register("cpp.naive")
    finally:
        ln.matmul.unregister("mine.rows")
