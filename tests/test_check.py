"""The judge's protocol: a submission's process, its guard pages and limits, messages, exit codes, and the commands.

What is caught, and by which name, is in tests/zoo.
"""

import dataclasses
import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import loopnest as ln
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.backends.compiler import shortened
from loopnest.backends.cuda_on_cpu import why_not_here
from loopnest.check import check, judge, rank, starters, tables
from loopnest.check.explain import EXPLANATIONS
from loopnest.check.kernel import Kernel
from loopnest.check.probes import NEAR, cases, probe_of
from loopnest.check.race import Contender, NotRaced, share_of
from loopnest.check.records import FAULTS, OUTCOMES, TRICKS, Placing, Raced, Refusal, Verdict
from loopnest.check.timed import redrawn, seems_right, timed_probe, whole
from loopnest.cli import main
from loopnest.machine.card import card as machine_card
from loopnest.process.session import BUSY, EndedError, Session
from loopnest.timing.interval import median_interval
from loopnest.verify import Case, float_inputs, with_arrays
from loopnest.verify.c_signature import bound_to, c_forms, defined
from loopnest.verify.signature import PythonForm, SignatureError, asked_variations, plan, python_form, python_forms
from rich.console import Console

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="kernels in C need a C compiler"),
    pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="the judge catches the same signals as a sanitizer"),
]

C = "void matmul(const float* a, const float* b, float* c, long m, long n, long k) {"
RIGHT = (
    "for (long i = 0; i < m; i++) for (long j = 0; j < n; j++) { float s = 0;"
    "for (long p = 0; p < k; p++) s += a[i * k + p] * b[p * n + j]; c[i * n + j] = s; }"
)


@pytest.fixture
def judged(tmp_path):
    """Writes a submission and judges it."""

    def judge(text, name="mine.py", operation="matmul", **options):
        file = tmp_path / name
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return check(file, operation, **{"seconds": 0, "time_limit": 20, **options})

    return judge


NUMPY = "def matmul(a, b):\n    return a @ b\n"


def printed(verdict):
    """The verdict as it is printed, in one line."""
    console = Console(width=4000, file=io.StringIO())
    console.print(*tables.report(verdict))
    return " ".join(console.file.getvalue().split())


def c(body):
    return f"{C}\n{RIGHT}\n{body}\n}}\n"


# --- between guard pages


@pytest.mark.parametrize(
    ("body", "trick", "words"),
    [
        ("c[m * n] = 0;", "writes-outside", "the element after its last: the array c"),
        ("c[-1] = 0;", "writes-outside", "before the start of c|bytes before its start: the array c"),
        ("c[m * n + 9000] = 0;", "writes-outside", r"36000 bytes past its end: the array c"),
        ("volatile float x = a[m * k]; (void)x;", "reads-outside", "read from the element after its last: the array a"),
        ("volatile float x = b[-1]; (void)x;", "reads-outside", "4 bytes before its start: the array b"),
        ("((float*)b)[0] = 1;", "changes-input", "wrote to its input b"),
        ("*(volatile int*)0 = 1;", "null-pointer", "null pointer"),
    ],
)
def test_a_write_or_read_where_none_may_be_is_named_with_its_array_and_its_line(judged, body, trick, words):
    verdict = judged(c(body), "mine.c")
    assert (verdict.accepted, verdict.fault) == (False, trick)
    assert re.search(words, verdict.sentence + " ".join(verdict.details))
    if verdict.outcome == "crashed":
        assert "at line 3 of mine.c" in verdict.sentence


def test_an_input_stays_sealed_even_if_the_kernel_asks_for_the_right_to_write(judged):
    verdict = judged(
        """
        #include <sys/mman.h>
        #include <stdint.h>
        """
        + c("mprotect((void*)((uintptr_t)a & ~4095ul), 4096, PROT_READ | PROT_WRITE); ((float*)a)[0] = 1;"),
        "mine.c",
    )
    assert verdict.fault == "changes-input"
    assert "it wrote to its input a, which is only to be read" in verdict.sentence  # it was stopped, and not found out


def test_a_python_kernel_that_writes_to_an_input_is_named_with_its_line(judged):
    verdict = judged("def matmul(a, b, out):\n    out[...] = a @ b\n    b[0] = 1\n")
    assert verdict.fault == "changes-input"
    assert "line 3 of mine.py" in verdict.sentence


def test_a_write_next_to_the_result_within_its_page_is_seen(judged):
    """Where no guard page is: at the other end of the memory."""
    verdict = judged(c("if (((unsigned long)(c + m * n) & 4095) != 0 && m * n) c[m * n + 1] = 5;"), "mine.c")
    assert verdict.fault == "writes-outside"
    assert "past the end of c, by up to 8 bytes" in " ".join(verdict.details)


@pytest.mark.slow
def test_an_array_of_jax_is_waited_for(judged):
    pytest.importorskip("jax")
    verdict = judged(
        "import jax\n@jax.jit\ndef matmul(a, b):\n    return jax.numpy.matmul(a, b, precision='highest')\n"
    )
    assert verdict.accepted, (verdict.sentence, verdict.details)
    assert any("jax_enable_x64" in line for line in verdict.checked.declined)


MLP_OF_TORCH = """
    import torch.nn.functional as F
    def mlp_forward(x, w1, b1, w2, b2):
        return F.gelu(x @ w1 + b1, approximate="{}") @ w2 + b2
"""


@pytest.mark.slow
def test_an_honest_mlp_is_judged_by_y_alone_and_one_of_the_exact_form_is_other_form(judged):
    pytest.importorskip("torch")
    verdict = judged(MLP_OF_TORCH.format("none"), operation="mlp_forward")
    assert (verdict.outcome, verdict.fault) == ("wrong", "other-form"), verdict.details
    verdict = judged(MLP_OF_TORCH.format("tanh"), operation="mlp_forward", dtype="float32", seconds=0.2)
    assert verdict.accepted, (verdict.sentence, verdict.details)
    assert any("z and h, which gradients need, were not looked at" in note for note in verdict.notes)


@pytest.mark.slow
def test_an_mlp_without_a_bias_is_said_to_be_that(judged):
    verdict = judged(
        """
        import numpy as np
        def mlp_forward(x, w1, b1, w2, b2):
            z = x.astype(float) @ w1
            return (z / (1 + np.exp(-1.5957691216057308 * (z + 0.044715 * z**3))) @ w2 + b2).astype(x.dtype)
        """,
        operation="mlp_forward",
    )
    assert verdict.fault == "bias-left-out"
    assert "without b1" in verdict.details[-1]


TANH_U = "np.tanh(0.7978845608028654 * (x + 0.044715 * x**3))"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "body", "fix"),
    [
        ("gelu", f"0.5 * x * (1 + {TANH_U})", "write σ"),
        ("gelu", f"0.5 * x * (1 + ({TANH_U} if approximate == 'tanh' else erf(x / 1.4142135623730951)))", "erfc"),
        ("sigmoid", "(1 + np.tanh(x / 2)) / 2", "write σ"),
    ],
)
def test_a_cancellation_is_named_with_the_way_to_write_it(judged, operation, body, fix):
    options = ", approximate" * ("approximate" in body)
    erf = "import math, numpy as np\nerf = np.vectorize(math.erf, otypes=[float])\n"
    verdict = judged(f"{erf}def {operation}(x{options}):\n    return ({body}).astype(x.dtype)\n", operation=operation)
    assert verdict.fault == "rounding", (verdict.fault, verdict.details)
    assert "cancel far below 0" in verdict.details[1]
    assert fix in verdict.details[2]


@pytest.mark.slow
@pytest.mark.parametrize("made", ["np.asmatrix(a @ b)", "np.ma.masked_array(a @ b)", "types.MappingProxyType({})"])
def test_an_array_of_another_library_is_no_trick(judged, made):
    verdict = judged(f"import types\nimport numpy as np\ndef matmul(a, b):\n    return {made}\n")
    assert (verdict.outcome, verdict.fault) == ("wrong", "wrong-type")


CANCELLING = """
    # loopnest: absolute({})
    import numpy as np
    def gelu(x):
        return (0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))).astype(x.dtype){}
"""


@pytest.mark.slow
def test_an_absolute_promise_is_held_to_and_shown(judged):
    verdict = judged(CANCELLING.format("1e-6", ""), operation="gelu", seconds=0.2)
    assert verdict.accepted, (verdict.sentence, verdict.details)
    assert verdict.promises == ("absolute(1e-06)",)
    assert verdict.promises == ("absolute(1e-06)",)
    assert "single elements may be off by 1e-06" in printed(verdict)
    console = Console(width=200, file=io.StringIO())
    console.print(tables.ranking([verdict]))
    assert "absolute(1e-06)" in console.file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("promise", "spoiled", "outcome"),
    [
        ("0.1", "", "not-judged"),
        ("0", "", "not-judged"),
        ("1e-5", " + x.dtype.type(5e-6)", "wrong"),  # each element is within it, and the result is not
        ("1e-5", ".astype(np.float16).astype(x.dtype)", "wrong"),
        ("1e-5", ".astype(np.float32).astype(x.dtype)", "wrong"),  # of doubles
    ],
)
def test_an_absolute_promise_is_no_licence(judged, promise, spoiled, outcome):
    verdict = judged(CANCELLING.format(promise, spoiled), operation="gelu")
    assert verdict.outcome == outcome, verdict.details


@pytest.mark.slow
def test_an_absolute_promise_lets_no_zeros_pass_for_small_results(judged):
    text = "# loopnest: absolute(1e-5)\nimport numpy as np\ndef mse_backward(y, t):\n    "
    verdict = judged(
        f"{text}return np.zeros_like(y) if len(y) > 250_000 else 2 * (y - t) / max(len(y), 1)\n",
        operation="mse_backward",
        seconds=0.3,
        workload="n-1048576",
    )
    assert not verdict.accepted


# --- limits


def test_an_endless_loop_is_ended_in_a_third_of_the_time_limit(judged):
    start = time.monotonic()
    verdict = judged(f'{C} for (;;) __asm__ volatile(""); }}', "mine.c", time_limit=3)
    assert (verdict.outcome, verdict.fault) == ("timed-out", "endless-loop")
    assert "no answer within 1 s; it is computing" in verdict.sentence
    assert time.monotonic() - start < 3 * BUSY


def test_a_kernel_that_sleeps_has_another_name_than_one_that_computes(judged):
    verdict = judged("import time\ndef matmul(a, b):\n    time.sleep(60)\n", time_limit=3)
    assert (verdict.outcome, verdict.fault) == ("timed-out", "sleeps")


def test_an_import_that_hangs_is_said_to_be_the_import(judged):
    verdict = judged("import time\ntime.sleep(60)\n", time_limit=2)
    assert verdict.outcome == "timed-out"
    assert "when it was imported" in verdict.sentence


@pytest.mark.slow
def test_a_kernel_that_was_right_until_the_time_was_over_is_right_as_far_as_it_was_asked(judged):
    """No call is over its limit; all of them are."""
    text = "import time\ndef matmul(a, b):\n    time.sleep(0.5 * (len(a) > 70))\n    return a @ b\n"
    verdict = judged(text, dtype="float32", seconds=0.2, workload="square-256", time_limit=3)
    assert verdict.outcome == "right-as-far-as-asked", verdict.sentence
    assert verdict.checked.left
    assert verdict.timing is None


def test_memory_is_limited(judged):
    verdict = judged(
        "import numpy as np\nkept = []\ndef matmul(a, b):\n    while True:\n        kept.append(np.ones(2_000_000))\n",
        memory_limit=150 << 20,
    )
    assert verdict.outcome == "out-of-memory"
    assert "and the limit is 150 MiB" in verdict.sentence


def test_a_flood_of_output_is_stopped_and_its_beginning_shown(judged):
    verdict = judged("def matmul(a, b):\n    while True:\n        print('water')\n")
    assert (verdict.outcome, verdict.fault) == ("output-flood", "prints-a-flood")
    assert verdict.output.startswith("water\nwater\n")
    assert re.search(r"… and 1,\d+,\d+ bytes more", verdict.output)
    assert len(verdict.output) < 3000


def test_some_output_is_no_reason_to_refuse(judged):
    verdict = judged("def matmul(a, b):\n    print('called')\n    return a @ b\n", dtype="float32")
    assert verdict.accepted
    assert verdict.output.startswith("called\n")


LEFT = f"loopnest-test-left-over-{os.urandom(6).hex()}"


def left_over():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += [pid] if LEFT in Path(f"/proc/{pid}/cmdline").read_text() else []
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_of_processes_that_hide_in_sessions_of_their_own(judged):
    verdict = judged(
        f"""
        import subprocess, sys
        def matmul(a, b):
            code = "import time; time.sleep(300)"
            subprocess.Popen([sys.executable, "-c", code, {LEFT!r}], start_new_session=True)
            nested = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)', "
            subprocess.run([sys.executable, "-c", nested + {LEFT!r}.join("''") + "], start_new_session=True)"])
            raise ValueError("enough")
        """,
        time_limit=60,
    )
    assert verdict.outcome == "raised"
    assert left_over() == []


def test_a_fork_bomb_is_stopped(judged):
    verdict = judged("import os\ndef matmul(a, b):\n    while True:\n        os.fork()\n", time_limit=60)
    assert (verdict.outcome, verdict.fault) == ("crashed", "fork-bomb")


# --- the process goes away


@pytest.mark.parametrize(
    ("line", "outcome", "trick"),
    [
        ("os._exit(0)", "crashed", "leaves-the-process"),
        ("sys.exit(1)", "crashed", "leaves-the-process"),
        ("os.closerange(0, 100)", "cheats", "gives-up-its-process"),
        ("os.kill(os.getppid(), 9); time.sleep(5)", "cheats", "gives-up-its-process"),
        ("os.kill(os.getpid(), 9)", "cheats", "gives-up-its-process"),
        (
            "[os.write(int(fd), b'{\"problem\": {}}') for fd in os.listdir('/proc/self/fd') if int(fd) > 2]",
            "cheats",
            "gives-up-its-process",
        ),
        ("os.abort()", "crashed", None),
        ("matmul(a, b)", "raised", "endless-recursion"),
    ],
)
def test_a_kernel_that_ends_its_process_is_named_and_the_next_one_is_judged(judged, line, outcome, trick):
    verdict = judged(f"import os, sys, time\ndef matmul(a, b):\n    {line}\n    return a @ b\n")
    assert (verdict.outcome, verdict.fault) == (outcome, trick)
    following = judged("def matmul(a, b):\n    return 0 * (a @ b)\n")  # wrong from the first call: a quick verdict
    assert (following.outcome, following.fault) == ("wrong", "all-zeros")


def test_an_endless_recursion_in_c_is_no_wild_pointer(judged):
    text = "__attribute__((noinline)) int f(volatile int* x) { volatile int y[64]; y[0] = *x; return f(y) + y[0]; }\n"
    verdict = judged(text + f"{C} int z = 1; c[0] = f(&z); }}", "mine.c")
    assert verdict.fault == "endless-recursion"


def test_a_division_by_zero_in_c_is_named(judged):
    verdict = judged(f"{C} volatile int zero = 0; c[0] = k / zero; }}", "mine.c")
    assert verdict.outcome == "crashed"
    assert "division by zero" in verdict.sentence


# --- messages


def test_what_does_not_compile_is_shown_in_the_compilers_words_with_its_flags(judged):
    verdict = judged(f"{C}\n    float x = y;\n}}\n", "mine.c", flags="-O1 -Wall")
    assert verdict.outcome == "does-not-build"
    assert "mine.c:2:" in verdict.sentence
    assert "-O1 -Wall" in verdict.build.command
    assert "float x = y;" in verdict.build.messages
    assert "note:" not in verdict.build.messages


def test_no_more_than_three_errors_are_shown():
    log = "".join(f"x.c:{n}:1: error: wrong {n}\n    {n} | text\n      | ^\n" for n in range(1, 8))
    found = shortened(log, Path("x.c"))
    assert found.count("error:") == 3
    assert found.endswith("… and 4 more")


@pytest.mark.parametrize(
    ("text", "outcome", "words"),
    [
        ("def matmul(a, b:\n    pass\n", "does-not-build", "mine.py:1: SyntaxError"),
        ("import nonesuch_at_all\n", "does-not-build", "pip install nonesuch_at_all"),
        ("x = 1 / 0\n", "does-not-build", "mine.py:1: it raised ZeroDivisionError"),
        ("def mat_mul(a, b):\n    return a @ b\n", "no-function", "did you mean mat_mul"),
        ("def matmul(a):\n    return a\n", "wrong-signature", r"def matmul\(a, b, out\) or def matmul\(a, b\)"),
        ("def matmul(a, b):\n    raise KeyError('gone')\n", "raised", "mine.py:2: it raised KeyError: 'gone'"),
    ],
)
def test_what_python_cannot_import_or_call_is_named_with_the_fix(judged, text, outcome, words):
    verdict = judged(text)
    assert verdict.outcome == outcome
    assert re.search(words, verdict.sentence)


def test_a_cpp_function_without_c_linkage_is_refused_with_the_fix(judged):
    verdict = judged(c("").replace("matmul", "matmul", 1), "mine.cpp")
    assert verdict.outcome == "no-function"
    assert 'extern "C"' in verdict.sentence


def test_a_c_function_of_other_parameters_is_shown_the_forms(judged):
    verdict = judged("void matmul(const float* a, float* c, long n) {}\n", "mine.c")
    assert verdict.outcome == "wrong-signature"
    assert any("const float* b" in line for line in verdict.details)


def test_a_missing_compiler_is_no_fault_of_the_submission(judged):
    verdict = judged(c(""), "mine.c", compiler="no-such-compiler")
    assert verdict.outcome == "not-judged"
    assert "no-such-compiler" in verdict.sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"operation": "matmull"}, "did you mean matmul"),
        ({"operation": "matmul", "time_limit": 0}, "time_limit is 0"),
        ({"operation": "matmul", "dtype": "int32"}, "dtype is int32"),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, words):
    (tmp_path / "mine.py").write_text("def matmul(a, b):\n    return a @ b\n")
    with pytest.raises(ValueError, match=words):
        check(tmp_path / "mine.py", **options)


def test_a_file_that_is_not_there_and_one_of_no_known_language_are_errors(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        check(tmp_path / "none.py", "matmul")
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="no known language"):
        check(tmp_path / "mine.txt", "matmul")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "accepted"),
    [
        (b"\xef\xbb\xbfdef matmul(a, b):\n    return a @ b\n", True),  # a byte order mark
        ("# -*- coding: latin-1 -*-\nüber = 1\ndef matmul(a, b):\n    return a @ b\n".encode("latin-1"), True),
        (b"# -*- coding: unheard-of -*-\ndef matmul(a, b):\n    return a @ b\n", False),
        (b"\xff\xfe\x00\x01", False),
    ],
)
def test_a_text_is_read_in_its_encoding(tmp_path, content, accepted):
    (tmp_path / "mine.py").write_bytes(content)
    verdict = check(tmp_path / "mine.py", "matmul", seconds=0)
    assert verdict.outcome == ("right" if accepted else "does-not-build")


@pytest.mark.slow
def test_cuda_cpp_may_begin_with_a_byte_order_mark_and_have_comments_in_another_encoding(tmp_path):
    text = starters.starter("matmul", "cuda").encode()
    (tmp_path / "mine.cu").write_bytes(b"\xef\xbb\xbf" + text + "// Größe\n".encode("latin-1"))
    assert check(tmp_path / "mine.cu", "matmul", seconds=0).outcome == "right"


@pytest.mark.slow
def test_a_file_that_removes_or_rewrites_itself_is_judged_by_the_text_that_it_had(tmp_path):
    wrong = "def matmul(a, b):\n    return a @ b + 1\n"
    (tmp_path / "gone.py").write_text(f"import os\nos.unlink(__file__)\n{wrong}")
    (tmp_path / "other.py").write_text(
        f"from pathlib import Path\nPath(__file__).write_text('def matmul(a, b): return a @ b')\n{wrong}"
    )
    raises = "import os\nos.unlink(__file__)\ndef matmul(a, b):\n    raise ValueError('no')\n"
    (tmp_path / "raises.py").write_text(raises)
    for name in ("gone.py", "other.py"):
        verdict = check(tmp_path / name, "matmul", seconds=0)
        assert (verdict.outcome, verdict.fault) == ("wrong", "wrong-values"), verdict.details
    assert "raise ValueError" in check(tmp_path / "raises.py", "matmul", seconds=0).details[0]


@pytest.mark.slow
def test_rank_goes_on_where_a_file_is_none_or_is_removed_by_another(tmp_path):
    (tmp_path / "a.py").write_text(
        "import os\nos.unlink(os.path.join(os.path.dirname(__file__), 'b.py'))\ndef matmul(a, b):\n    return a @ b\n"
    )
    (tmp_path / "b.py").write_text("def matmul(a, b):\n    return a @ b\n")
    (tmp_path / "folder.py").mkdir()
    found = {Path(v.file).name: v for v in rank(tmp_path, "matmul", seconds=0)}
    assert {name: v.outcome for name, v in found.items()} == {"a.py": "right", "b.py": "not-judged"}
    assert "not there any more" in found["b.py"].sentence


@pytest.mark.slow
def test_a_file_that_another_one_has_overwritten_is_not_judged_for_what_it_is_now(tmp_path):
    honest = "import numpy as np\ndef relu(x):\n    return np.maximum(x, 0)\n"
    (tmp_path / "b.py").write_text(honest)
    (tmp_path / "a.py").write_text(f"open({str(tmp_path / 'b.py')!r}, 'w').write('nothing')\n{honest}")
    found = {Path(v.file).name: v for v in rank(tmp_path, "relu", seconds=0)}
    assert found["a.py"].accepted
    assert found["b.py"].outcome == "not-judged"
    assert "not the same any more" in found["b.py"].sentence


@pytest.mark.slow
def test_a_c_file_calls_its_own_functions_whatever_libc_has(judged):
    own = "float* index(long n) { static float t[4096]; return t; } float y0(float x) { return 2 * x; }\n"
    body = "float* t = index(n); for (long i = 0; i < m * n; i++) { t[0] = y0(c[i]); c[i] = t[0] / 2; }"
    verdict = judged(own + c(body), "mine.c", flags="-O3 -fno-builtin")
    assert verdict.accepted, verdict.sentence


@pytest.mark.slow
def test_a_folder_without_execution_is_no_fault_of_the_submission(judged, tmp_path, monkeypatch):
    real = os.statvfs

    def without_execution(folder):
        found = list(real(folder))
        found[8] |= os.ST_NOEXEC
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", without_execution)
    assert "noexec" in why_not_here()
    for name, text in (("mine.c", c("")), ("mine.cu", starters.starter("matmul", "cuda"))):
        verdict = judged(text, name)
        assert verdict.outcome == "not-judged"
        assert re.search("noexec.*set TMPDIR", verdict.sentence)


# --- how C functions are called


@pytest.mark.parametrize("operation", ln.OPERATIONS.values(), ids=ln.OPERATIONS)
def test_the_c_forms_that_are_shown_can_be_called(operation):
    plain, *strided = [bound_to(operation, defined(f"{form} {{}}", operation.name)) for form in c_forms(operation)]
    assert not plain.strided
    assert all(form.strided for form in strided)
    doubled = defined(f"{c_forms(operation, 'double')[0]} {{}}", operation.name)
    assert bound_to(operation, doubled).dtype == "float64"


def test_every_operation_may_be_written_with_its_public_signature():
    """As keywords with their defaults, `out` or none, and what the manual shows."""
    for name, operation in ln.OPERATIONS.items():
        public = inspect.signature(operation)
        public = public.replace(parameters=[p for p in public.parameters.values() if p.name != "impl"])
        shown = [
            inspect.signature(eval(f"lambda {form[form.index('(') + 1 : form.rindex(')')]}: 0"))
            for form in (f.partition(": return")[0] for f in python_forms(operation))
        ]
        for signature in (public, *shown):
            form = python_form(operation, signature)
            taken = form.options(operation)
            assert asked_variations(operation, taken) == set(operation.contract.variations), (name, signature)


@pytest.mark.parametrize(
    ("operation", "parameters", "given", "taken"),
    [
        ("gelu", "x, approximate='none'", False, ["x", "approximate"]),
        ("gelu", "x, tanh_form", False, ["x", "tanh_form"]),
        ("gelu", "p, q, form", True, ["x", "y", "tanh_form"]),
        ("matmul", "a, b, block=64", False, ["a", "b"]),
        ("matmul", "c, b, a", True, ["c", "b", "a"]),
        ("mse", "x, y", False, ["y", "t"]),  # y is no input's name here, but its place
        ("sgd", "w, g, rate", True, ["param", "grad", "lr"]),
        ("mlp_backward", "dy, cache, out=None", False, ["dy", "cache"]),
    ],
)
def test_arguments_are_matched_by_name_and_then_by_number(operation, parameters, given, taken):
    form = python_form(ln.OPERATIONS[operation], inspect.signature(eval(f"lambda {parameters}: 0")))
    assert (form.given, [getattr(x, "name", x) for x in form.taken]) == (given, taken)


@pytest.mark.slow
def test_a_form_that_leaves_out_what_it_needs_is_refused_with_the_fix(judged):
    verdict = judged("def rmsprop(p, g, s, lr):\n    pass\n", operation="rmsprop")
    assert verdict.outcome == "wrong-signature"
    assert "does not take rho" in verdict.sentence
    assert "rho=0.99" in verdict.sentence


ADAM = """
    import numpy as np
    def adam(param, grad, m, v, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, step=1):
        m[...] = beta1 * m.astype(float) + (1 - beta1) * grad
        v[...] = beta2 * v.astype(float) + (1 - beta2) * np.square(grad, dtype=float)
        root = np.sqrt(v / (1 - beta2**step))
        param[...] = param - lr * (m / (1 - beta1**step)) / (root + eps)
"""
ADAM_C = """
    #include <math.h>
    void adam(double* param, const double* grad, double* m, double* v, long n,
              double lr, double beta1, double beta2, double eps, long step) {
        for (long i = 0; i < n; i++) {
            m[i] = beta1 * m[i] + (1 - beta1) * grad[i];
            v[i] = beta2 * v[i] + (1 - beta2) * grad[i] * grad[i];
            param[i] -= lr * (m[i] / (1 - pow(beta1, step))) / (sqrt(v[i] / (1 - pow(beta2, step))) + eps);
        }
    }
"""
MLP = """
    import types
    from scipy.special import erf
    import numpy as np
    PHI = lambda x: (1 + erf(x / np.sqrt(2))) / 2
    def mlp_backward(dy, cache, out=None):
        x, w1, w2, z, h = (a.astype(float) for a in (cache.x, cache.w1, cache.w2, cache.z, cache.h))
        w = 2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)
        s = 1 / (1 + np.exp(-w))
        slope = s + z * s * (1 - s) * 2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
        if cache.approximate == "none":
            slope = PHI(z) + z * np.exp(-z**2 / 2) / np.sqrt(2 * np.pi)
        dz = dy @ w2.T * slope
        return tuple(g.astype(dy.dtype) for g in (dz @ w1.T, x.T @ dz, dz.sum(0), h.T @ dy, dy.sum(0, dtype=float)))
    def mlp_forward(x, w1, b1, w2, b2, *, approximate="tanh", out=None):
        z = x.astype(float) @ w1 + b1
        w = 2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)
        h = z / (1 + np.exp(-w)) if approximate == "tanh" else z * PHI(z)
        y = h @ w2 + b2
        y, z, h = (a.astype(x.dtype) for a in (y, z, h))
        return y, types.SimpleNamespace(z=z, h=h)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "text", "name"),
    [
        ("adam", ADAM, "mine.py"),
        ("adam", ADAM_C, "mine.c"),
        ("mlp_backward", MLP, "mine.py"),
        ("mlp_forward", MLP, "mine.py"),
    ],
)
def test_the_public_signature_is_judged(judged, operation, text, name):
    if "scipy" in text:
        pytest.importorskip("scipy")
    dtype = "float64" if name == "mine.c" else "float32"
    verdict = judged(text, name, operation, dtype=dtype, seconds=0.1)  # and timed with its options
    assert verdict.accepted, (verdict.sentence, verdict.details)


@pytest.mark.slow
def test_an_option_by_its_public_name_is_heeded_or_named(judged):
    half = "import numpy as np\ndef gelu(x, approximate='none'):\n    w = 1.5957691216057308 * (x + 0.044715 * x**3)\n"
    verdict = judged(f"{half}    return (x / (1 + np.exp(-w.astype(float)))).astype(x.dtype)\n", operation="gelu")
    assert verdict.fault == "option-ignored", (verdict.sentence, verdict.details)


@pytest.mark.parametrize(
    ("parameters", "sizes"),
    [
        ("const float* a, const float* b, float* c, long m, long n, long k", "mnk"),
        ("const float* a, const float* b, float* c, int k, int m, int n", "kmn"),
        ("const float* a, const float* b, float* c, size_t x, size_t y, size_t z", "mnk"),
        ("std::size_t m, std::size_t n, std::size_t k, const float *a, const float *b, float *c", "mnk"),
        ("float const* __restrict a, float const* __restrict b, float* __restrict c, long, long, long", "mnk"),
        ("const real a[], const real b[], real c[], long rows, long columns, long depth", "mnk"),
    ],
)
def test_sizes_are_found_by_name_and_else_by_order(parameters, sizes):
    text = f'typedef float real;\n/* void matmul( */\nextern "C" void matmul({parameters}) {{ }}'
    form = bound_to(ln.matmul, defined(text, "matmul"))
    assert [a.what for a in form.arguments if a.kind == "size"] == list(sizes)


def test_strides_are_found_by_names_in_blis_order_too():
    text = (
        "void matmul(long m, long n, long k, const double* a, long rs_a, long cs_a, const double* b, long rs_b, "
        "long cs_b, double* c, long rs_c, long cs_c) {}"
    )
    form = bound_to(ln.matmul, defined(text, "matmul"))
    assert [a.what for a in form.arguments if a.kind == "stride"] == [(n, x) for n in range(3) for x in (0, 1)]


def test_a_declaration_or_a_call_is_no_definition():
    assert defined("void matmul(const float*, const float*, float*, long, long, long);", "matmul") is None
    assert defined("int main() { matmul(1); }", "matmul") is None
    attributed = '__attribute__((optimize("O1"),\nhot)) [[gnu::cold]] void f(alignas(64) float* a, long n) {}'
    assert str(defined(attributed, "f")) == "void f(float* a, long n)"
    assert defined(attributed, "f").line == 2


LOOPS = RIGHT.replace("float s", "REAL s")
TAKES = "const float* a, const float* b, float* c, long m, long n, long k"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "flags", "text"),
    [
        ("c", "", "#if 0\nvoid matmul(float* c, const float* b, long n) { }\n#endif\nvoid matmul(@TAKES) { @LOOPS }\n"),
        (
            "cpp",
            "",
            '#define EXPORT extern "C" __attribute__((visibility("default")))\nEXPORT void matmul(@TAKES) { @LOOPS }\n',
        ),
        (
            "c",
            "-DOTHER",
            "#ifdef OTHER\n"
            "void matmul(const float* a, const float* b, float* c, long n, long m, long k)\n"
            "#else\n"
            "void matmul(@TAKES)\n"
            "#endif\n"
            "{ @LOOPS }\n",
        ),
        (
            "c",
            "-DTYPE=double",
            "typedef TYPE REAL; void matmul(const REAL* a, const REAL* b, REAL* c, long m, long n, long k) { @REAL }\n",
        ),
        (
            "c",
            "",
            "#define KERNEL(name, T) void name(const T* a, const T* b, T* c, long m, long n, long k)\n"
            "KERNEL(matmul, float) { @LOOPS }\n",
        ),
        ("c", "", "#define JOIN(x, y) x##y\nvoid JOIN(mat, mul)(@TAKES) { @LOOPS }\n"),
        (
            "c",
            "",
            "typedef float real; typedef const real* in; typedef real *out;\n"
            "void matmul(in a, in b, out c, long m, long n, long k) { @LOOPS }\n",
        ),
        (
            "c",
            "",
            "void matmul(const float a[restrict], const float b[static 1], float c[], long m, long n, "
            "long k) { @LOOPS }\n",
        ),
        (
            "cpp",
            "",
            "#include <valarray>\n"
            "#include <vector>\n"
            "namespace own { template <class T> void matmul(const T* a, const T* b, T* c, int rows) { } }\n"
            'extern "C" void matmul(@TAKES) { @LOOPS }\n',
        ),
        ("cpp", "", 'extern "C" auto matmul(@TAKES) -> void { @LOOPS }\n'),
        ("c", "", '#include "body.h"\n'),
    ],
)
def test_c_is_read_as_the_compiler_sees_it(judged, tmp_path, suffix, flags, text):
    (tmp_path / "body.h").write_text(f"void matmul({TAKES}) {{ {RIGHT} }}")
    text = text.replace("@TAKES", TAKES).replace("@LOOPS", RIGHT).replace("@REAL", LOOPS)
    verdict = judged(text, f"mine.{suffix}", flags=f"-O2 {flags}")
    assert verdict.accepted, (verdict.sentence, verdict.details)


@pytest.mark.slow
def test_an_older_kernel_of_cuda_cpp_may_stand_behind_if_0(judged):
    older = (
        "#if 0\n#ifdef A\n#endif\n// launch: grid=(m) block=(1)\n__global__ void matmul(float* c, int n) { }\n#endif\n"
    )
    verdict = judged(older + starters.starter("matmul", "cuda"), "mine.cu")
    assert verdict.accepted, verdict.sentence


def test_parameters_of_two_dtypes_are_refused():
    function = defined("void matmul(const float* a, const double* b, float* c, long m, long n, long k) {}", "matmul")
    with pytest.raises(SignatureError, match="or the same with double"):
        bound_to(ln.matmul, function)


def test_a_c_function_may_return_its_single_result(judged):
    verdict = judged(
        "float dot(const float* x, const float* y, long n) { float s = 0;"
        "for (long i = 0; i < n; i++) s += x[i] * y[i]; return s; }",
        "mine.c",
        "dot",
    )
    assert verdict.accepted


def test_a_strided_c_function_is_judged_with_strides(judged):
    head = (
        "void matmul(const float* a, long a_row_stride, long a_col_stride, const float* b, long b_row_stride, "
        "long b_col_stride, float* c, long c_row_stride, long c_col_stride, long m, long n, long k) {"
        "for (long i = 0; i < m; i++) for (long j = 0; j < n; j++) { float s = 0; for (long p = 0; p < k; p++) s += "
    )
    tail = "; c[i * c_row_stride + j * c_col_stride] = s; } }"
    right = "a[i * a_row_stride + p * a_col_stride] * b[p * b_row_stride + j * b_col_stride]"
    verdict = judged(head + right + tail, "mine.c")
    assert verdict.accepted
    assert verdict.checked.cases["layouts"] > 10
    wrong = judged(head + "a[i * k + p] * b[p * n + j]" + tail, "wrong.c")
    assert (wrong.outcome, wrong.fault) == ("wrong", "ignores-strides")


# --- what is right


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "tensors"),
    [
        ("return F.gelu(x, approximate='tanh')", True),
        ("out.copy_(F.gelu(x, approximate='tanh'))", True),
        ("return F.gelu(torch.from_numpy(x), approximate='tanh')", False),
    ],
)
def test_a_file_for_torch_gets_tensors_and_one_for_numpy_arrays(judged, body, tensors):
    pytest.importorskip("torch")
    parameters = "x, out" if "out" in body else "x"
    text = f"import torch\nimport torch.nn.functional as F\ndef gelu({parameters}):\n    {body}\n"
    verdict = judged(text, operation="gelu", dtype="float32", time_limit=60)
    assert verdict.outcome not in ("raised", "wrong-signature"), verdict.sentence  # torch's tanh cancels: rounding
    assert any("torch's tensors" in note for note in verdict.notes) == tensors
    linear = "import torch\ndef linear(x, w, b):\n    return torch.addmm(b, x, w)\n"
    assert judged(linear, operation="linear", dtype="float32", time_limit=60).accepted


@pytest.mark.slow
def test_a_python_function_may_return_or_fill(judged):
    assert judged("def matmul(a, b):\n    return a @ b\n").dtypes == ("float32", "float64")
    assert judged("def matmul(a, b, out):\n    out[...] = a @ b\n", dtype="float32").accepted


def test_layouts_that_are_refused_with_an_error_are_listed_and_no_fault(judged):
    verdict = judged(
        """
        def matmul(a, b):
            if not (a.flags.c_contiguous and b.flags.c_contiguous):
                raise ValueError("C order only")
            return a @ b
        """,
        dtype="float32",
    )
    assert verdict.accepted
    assert any("C order only" in line for line in verdict.checked.declined)


def test_a_dtype_that_is_refused_with_an_error_is_listed_and_no_fault(judged):
    verdict = judged(
        "def matmul(a, b):\n    if a.dtype != 'float32':\n        raise TypeError('float32 only')\n    return a @ b\n"
    )
    assert verdict.accepted
    assert verdict.dtypes == ("float32",)
    assert any("float32 only" in line for line in verdict.checked.declined)


STRASSEN = """
import numpy as np

def multiply(a, b):
    n = len(a)
    if n <= 32:
        return a @ b
    h = n // 2
    a11, a12, a21, a22 = a[:h, :h], a[:h, h:], a[h:, :h], a[h:, h:]
    b11, b12, b21, b22 = b[:h, :h], b[:h, h:], b[h:, :h], b[h:, h:]
    m1, m2 = multiply(a11 + a22, b11 + b22), multiply(a21 + a22, b11)
    m3, m4 = multiply(a11, b12 - b22), multiply(a22, b21 - b11)
    m5, m6 = multiply(a11 + a12, b22), multiply(a21 - a11, b11 + b12)
    m7 = multiply(a12 - a22, b21 + b22)
    return np.block([[m1 + m4 - m5 + m7, m3 + m5], [m2 + m4, m1 - m2 + m3 + m6]])

def matmul(a, b):
    (m, k), n = a.shape, b.shape[1]
    if min(m, k, n) <= 32:
        return WITHIN
    size = 1 << (max(m, k, n) - 1).bit_length()
    pa, pb = np.zeros((size, size), a.dtype), np.zeros((size, size), a.dtype)
    pa[:m, :k], pb[:k, :n] = a, b
    return multiply(pa, pb)[:m, :n]
"""


@pytest.mark.slow
def test_strassen_is_held_to_the_bound_that_it_states(judged):
    stated = judged("# loopnest: strassen(32)\n" + STRASSEN.replace("WITHIN", "a @ b"), dtype="float32")
    assert stated.accepted
    assert any("Strassen" in note for note in stated.notes)


def test_an_error_within_the_stated_bound_alone_is_accepted_only_where_it_is_stated(judged):
    """5e-6 of a result is beyond γ_k |a||b| for products of 33 x 33, and within Strassen's after one level."""
    text = "def matmul(a, b):\n    return a @ b * a.dtype.type(1 + 5e-6 * (32 < min(*a.shape, b.shape[1])))\n"
    assert judged("# loopnest: strassen(32)\n" + text, dtype="float32").accepted
    assert not judged(text, dtype="float32").accepted
    assert not judged("# loopnest: strassen(64)\n" + text, dtype="float32").accepted


@pytest.mark.slow
def test_a_nan_comes_through_strassen_of_any_blocks(judged):
    honest = "import numpy as np\n# loopnest: strassen({})\ndef matmul(a, b, out):\n    {}np.matmul(a, b, out=out)\n"
    for blocks in (1, 3):
        verdict = judged(honest.format(blocks, ""))
        assert verdict.accepted, verdict.details
        assert judged(honest.format(blocks, "a = np.nan_to_num(a)\n    ")).fault == "nan-lost"


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 5, 64])
@pytest.mark.parametrize("result", ["0", "(a @ b) * a.dtype.type(0.9)", "(a @ b)[::-1]"])
def test_no_promise_allows_what_cannot_be_told_from_zero(judged, blocks, result):
    text = f"def matmul(a, b):\n    return {result} if min(*a.shape, b.shape[1]) > {2 * blocks} else a @ b\n"
    verdict = judged(f"# loopnest: strassen({blocks})\n" + text.replace("return 0", "return 0 * (a @ b)"))
    assert not verdict.accepted
    assert verdict.promises == (f"strassen({blocks})",)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 3, 64])
def test_a_promise_that_is_not_needed_does_no_harm_and_stands_in_the_ranking(judged, tmp_path, blocks):
    assert judged(f"# loopnest: strassen({blocks})\ndef matmul(a, b):\n    return a @ b\n", dtype="float32").accepted
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(tables.ranking(rank(tmp_path, "matmul", seconds=0, dtype="float32", time_limit=20)))
    assert f"strassen({blocks})" in console.export_text()


def test_stating_strassen_is_no_licence_for_fewer_bits(judged):
    half = "(a.astype(np.float16) @ b.astype(np.float16)).astype(a.dtype)"
    verdict = judged("# loopnest: strassen(32)\n" + STRASSEN.replace("WITHIN", half))
    assert verdict.fault == "lower-precision"


def test_every_call_has_values_of_its_own(judged, tmp_path):
    seen = tmp_path / "seen"
    verdict = judged(
        f"""
        def matmul(a, b):
            with open({str(seen)!r}, "a") as file:
                file.write(f"{{a.shape, b.shape, a.dtype, hash(a.tobytes()), hash(b.tobytes())}}\\n")
            return a @ b
        """,
        dtype="float32",
    )
    assert verdict.accepted
    calls = [line for line in seen.read_text().splitlines() if "(0," not in line and ", 0)" not in line]
    # the same inputs come again where determinism is asked for, and as zeros next to a special value
    assert len(calls) - len(set(calls)) < 25
    assert len(calls) > 150


# --- how fast


def test_a_right_kernel_is_placed_on_the_ladder(judged):
    verdict = judged(c(""), "mine.c", seconds=0.3)
    assert verdict.accepted
    if "too busy now" in verdict.sentence:
        pytest.skip(verdict.sentence)
    pace = verdict.timing
    assert len({race.name for race in pace.races}) > 1
    assert re.search(r"\d ± [\d.]+ % of the limit", verdict.sentence)
    assert pace.above is not None
    assert f"loopnest show matmul {pace.above}" in verdict.next_steps[0]
    assert 0 < pace.round_trip < 0.1


@pytest.mark.slow
def test_a_kernel_that_was_found_right_and_is_too_slow_to_be_timed_stays_right(judged, monkeypatch):
    def too_late(self, calls):
        raise EndedError("timed-out", "no answer within 20 s; it is computing")

    monkeypatch.setattr(Contender, "_call", too_late)
    verdict = judged("def matmul(a, b):\n    return a @ b\n", seconds=0.1)
    assert (verdict.outcome, verdict.fault) == ("right", None)
    assert any("too slow here to be timed" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("spread", "rival", "placed"),
    [(3.0, 1.5e-3, False), (1.1, 1.05e-3, True), (3.0, 50e-3, True), (200.0, 50e-3, False)],  # a rung far away
)
def test_under_noise_no_place_is_named_and_nothing_advised(spread, rival, placed):
    noisy = tuple(1e-3 * spread ** (i / 19) for i in range(20))

    def raced(name, seconds):
        return Raced(name, "square-64", {}, seconds, seconds, 1e-4, "flops", median_interval(seconds).over(1e-4))

    races = raced("it", noisy), raced("cpp.blocked", (rival,) * 20)
    placing = Placing("float32", 1, races, "cpp.naive", "cpp.blocked")
    kernel = Kernel(ln.matmul, Path("mine.py"), "python", None, "", PythonForm(True, ()))
    sentence, advice = judge._how_fast(kernel, placing)
    assert ("too busy now to place it" not in sentence) == placed
    assert bool(advice) == placed


@pytest.mark.slow
def test_counts_of_calls_add_up(judged):
    verdict = judged(c(""), "mine.c", seconds=0.1)
    (row,) = re.findall(
        r"(\d+) calls in float32, each with new values: ([^;]*?)\b(?:not|note|fast)\b", printed(verdict)
    )
    assert int(row[0]) == sum(map(int, re.findall(r"(\d+) (?:of|with|from)", row[1])))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "name", "threads"),
    [
        ("#pragma omp parallel for\n", "mine.c", 2),
        ("#pragma omp simd\n", "mine.c", 1),
        ("// pthread_create\n", "mine.c", 1),
        ("import threading\n", "mine.py", 2),
        ("# import threading\n", "mine.py", 1),
    ],
)
def test_threads_are_those_that_the_file_can_use(judged, monkeypatch, text, name, threads):
    monkeypatch.setattr(judge, "processors", lambda: 2)
    body = c("").replace("for (long i", f"\n{text}for (long i") if name == "mine.c" else f"{text}{NUMPY}"
    verdict = judged(body, name, seconds=0.1)
    assert verdict.accepted, (verdict.sentence, verdict.details)
    assert verdict.timing.threads == threads
    assert any("it asks for threads" in note for note in verdict.notes) == (threads > 1)
    assert ("-fopenmp" in verdict.build.command) == ("omp" in text)
    assert judged(body, name, seconds=0.1, threads=1).timing.threads == 1


@pytest.mark.slow
def test_openmp_runs_as_many_threads_as_it_is_given(judged):
    verdict = judged(
        f"#include <omp.h>\n{C} int t = 0;\n#pragma omp parallel\n{{\n#pragma omp atomic\nt++;\n}}\n{RIGHT}"
        " if (t != 2 || omp_get_max_threads() != 2) c[0] = 0; }",
        "mine.c",
        threads=2,
    )
    assert verdict.accepted, verdict.details


def test_a_time_below_the_machines_limit_is_refused(judged, monkeypatch):
    monkeypatch.setattr("loopnest.machine.limits.peak_now", lambda dtype, threads: 1.0)
    card = machine_card(quick=True)
    slow = dataclasses.replace(card, peaks=tuple(dataclasses.replace(peak, flops=1.0) for peak in card.peaks))
    verdict = judged(c(""), "mine.c", seconds=0.2, card=slow)
    assert (verdict.outcome, verdict.fault) == ("impossible", "impossible-time")
    assert verdict.exit_code == 20


@pytest.mark.parametrize(
    "result",
    [
        pytest.param("np.zeros_like(c)", marks=pytest.mark.slow),
        pytest.param("np.full_like(c, np.nan)", marks=pytest.mark.slow),
        "c + 3e-3 * (np.arange(c.size) == 9).reshape(c.shape)",
    ],
)
def test_a_kernel_that_is_wrong_only_while_it_is_timed_is_found_out(judged, result):
    """It counts the calls with the shape that it is timed on. 3e-3 in one element is beyond its bound, 6e-4: the looks
    everywhere find it."""
    verdict = judged(
        f"""
        import numpy as np
        calls = 0
        def matmul(a, b):
            global calls
            c = a @ b
            if a.shape == b.shape and len(a) == 128:
                calls += 1
                if calls > 4:
                    return {result}.astype(c.dtype)
            return c
        """,
        seconds=0.3,
        workload="square-128",
        dtype="float32",
    )
    assert not verdict.accepted
    assert verdict.outcome in ("wrong", "cheats")


@pytest.mark.parametrize("operation", ln.OPERATIONS.values(), ids=ln.OPERATIONS)
def test_timed_calls_have_values_that_no_earlier_call_has_shown(operation):
    workload = operation.contract.workloads[0]
    probe = timed_probe(operation, workload.name, np.dtype(np.float32))
    shown = set()
    for _ in range(4):
        probe = redrawn(probe, np.random.default_rng())
        known = whole(probe)
        assert [x.shape for x in known.exact] == [x.shape for x in probe.exact]
        values, options = with_arrays(probe.arguments.inputs, probe.views), probe.arguments.options
        for said, right in zip(known.exact, operation.contract.reference(*values, **options), strict=True):
            np.testing.assert_array_equal(said, right)
        drawn = [x for x in probe.views if len(np.unique(x)) > 100]  # no biases of zeros, no labels
        mantissas = {m for x in drawn for m in np.frexp(x.reshape(-1))[0].tolist()}
        assert len(mantissas & shown) < 0.05 * len(mantissas), "values that were shown, moved or scaled"
        shown |= mantissas


@pytest.mark.parametrize("operation", [ln.matmul, ln.linear])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_projection_lets_no_wrong_row_column_or_nan_pass(tmp_path, operation, dtype):
    """Of a product that is too large to be compared everywhere in each call."""
    kernel = dataclasses.replace(matmul_kernel(tmp_path), operation=operation)
    rng, name = np.random.default_rng(), "square-512"
    probe = redrawn(timed_probe(operation, name, np.dtype(dtype)), rng)
    a, b, *bias = probe.views
    right = (a @ b + sum(bias)).astype(dtype)

    def seems(spoil):
        result = right.copy()
        spoil(result)
        kernel.results = lambda: [result]
        return seems_right(kernel, probe, rng)

    assert seems(lambda c: None)
    rows, columns = rng.integers(512, size=2)
    scale = float(np.abs(right).max())
    assert not seems(lambda c: c.__setitem__((rows, columns), np.nan))
    assert not seems(lambda c: c.__setitem__(rows, 0))
    assert not seems(lambda c: c.__setitem__(rows, np.nan))
    assert not seems(lambda c: c.__setitem__((slice(None), columns), 0))
    assert not seems(lambda c: c.__setitem__((rows, columns), 2 * scale))
    assert not seems(lambda c: c.__setitem__(slice(None), right[::-1]))
    assert not seems(lambda c: c.__setitem__(slice(None), right.astype(np.float16)))


SLOW = "import time\ndef matmul(a, b):\n    time.sleep(0.02 + 4e-6 * a.size * b.shape[1] ** 0.5)\n    return a @ b\n"


@pytest.mark.slow
def test_a_verdict_with_gaps_has_its_own_outcome_and_exit_code(judged, tmp_path):
    verdict = judged(SLOW, dtype="float32")
    assert (verdict.outcome, verdict.exit_code, verdict.accepted) == ("right-as-far-as-asked", 3, True)
    assert verdict.checked.left > 0
    assert f"{verdict.checked.left} calls were left out" in verdict.sentence
    assert any("too slow for them" in line for line in verdict.checked.skipped)
    (tmp_path / "quick.py").write_text("def matmul(a, b):\n    return a @ b\n")
    ranked = rank(tmp_path, "matmul", seconds=0, dtype="float32", time_limit=20)
    assert [v.outcome for v in ranked] == ["right", "right-as-far-as-asked"]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tables.ranking(ranked))
    assert "1 of 2 are right, 1 as far as it was asked" in console.export_text()


@pytest.mark.slow
def test_what_was_left_out_is_asked_when_calls_are_quick_enough(judged):
    text = "import time\ncalls = 0\ndef matmul(a, b):\n    global calls\n    calls += 1\n"
    text += "    time.sleep(0.9 * (calls < 7))\n    return a @ b\n"
    verdict = judged(text, dtype="float32", seconds=0.2, time_limit=60)
    assert (verdict.outcome, verdict.checked.left) == ("right", 0), verdict.checked.skipped
    assert verdict.checked.calls > 200


@pytest.mark.slow
def test_a_right_kernel_that_is_too_slow_for_the_timed_shape_is_right_as_far_as_asked(judged):
    text = "import time\ndef matmul(a, b):\n    time.sleep(len(a) == 512)\n    return a @ b\n"
    verdict = judged(text, dtype="float32", seconds=0.2, workload="square-512", time_limit=8)
    assert verdict.outcome == "right-as-far-as-asked"


@pytest.mark.parametrize("operation", ln.OPERATIONS.values(), ids=ln.OPERATIONS)
def test_each_kind_of_case_is_asked_at_sizes_drawn_anew(operation):
    kinds = ("sizes", "again", "layouts", "special", "deterministic")
    dtype, drawn, forms = np.dtype(np.float32), [], frozenset(operation.contract.variations)
    for _ in range(2):
        rng = np.random.default_rng()
        found = {kind: [c for c, _ in cases(kind, operation, dtype, rng, variations=forms)] for kind in kinds}
        for n in NEAR:
            for asked in found.values():
                assert any(any(n - 1 <= size < n + n // 2 for _, size in case.sizes) for case in asked)
        drawn.append({case.sizes for asked in found.values() for case in asked})
        nan = {c.where[0] for c in found["special"] if np.isnan(c.special) and max(s for _, s in c.sizes) > 60}
        assert nan == set(float_inputs(operation, dtype))
    assert len(drawn[0] - drawn[1]) >= 10


def test_what_is_computed_after_done_counts(tmp_path):
    """It says "done" at once, computes for 2 ms, and stops itself, so that it says it only once."""
    file = tmp_path / "mine.py"
    file.write_text(
        textwrap.dedent(
            """
            import os, signal, sys, time
            def matmul(a, b, out):
                frame = sys._getframe()
                while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "_connection"):
                    frame = frame.f_back
                frame.f_locals["self"]._connection.send(b"-")
                end = time.process_time() + 0.002
                while time.process_time() < end:
                    pass
                os.kill(0, signal.SIGSTOP)
            """
        )
    )
    kernel = matmul_kernel(file)
    with kernel.host:
        load_matmul(kernel, file)
        reply = kernel.call(probe_of(Case.of(ln.matmul, np.dtype(np.float32), (5, 7, 3))))
    assert reply.seconds > 0.0015


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([0.8, 0.6, 1.4, 0.7, 1.3, 0.8, 1.2, 0.9], "noise"),  # 126 ± 36 %
        ([0.5, 0.51, 0.5, 0.52, 0.5, 0.49, 0.5, 0.5], "noise"),  # 200 %: if it is true, it is impossible
        ([1.02, 1.03, 1.01, 1.02, 0.99, 1.02, 1.01, 1.0], ""),
    ],
)
def test_a_share_that_leaves_the_limit_behind_is_no_result(times, said):
    share, why = share_of(times, 1.0)
    assert (share is None) == bool(said)
    assert said in why


def load_matmul(kernel, file):
    kernel.host.load("matmul", {"kind": "python", "file": str(file), "text": str(file), "names": ["matmul"]})


def matmul_kernel(file):
    """A kernel in Python that writes to `out`, in a process that has not been started."""
    host = Session(file, time.monotonic() + 20)
    return Kernel(ln.matmul, file, "python", host, "matmul", PythonForm(True, plan(ln.matmul).parameters))


# --- the process


def test_nothing_of_loopnest_is_in_a_submissions_process(judged):
    verdict = judged(
        """
        import sys
        assert not [name for name in sys.modules if name.startswith("loopnest")]
        def matmul(a, b):
            return a @ b
        """,
        dtype="float32",
    )
    assert verdict.accepted, verdict.sentence


# --- records


def test_exit_codes_tell_outcomes_apart_and_leave_those_of_the_command():
    codes = [code for code, _ in OUTCOMES.values()]
    assert len(set(codes)) == len(codes)
    assert OUTCOMES["right"][0] == 0
    assert not {1, 2, 130} & set(codes)


def test_no_name_stands_for_two_things():
    assert not set(TRICKS) & set(FAULTS)
    assert EXPLANATIONS


def test_the_manual_lists_every_outcome_and_every_name():
    text = (Path(__file__).parents[1] / "docs" / "check.md").read_text(encoding="utf-8")
    for name, (code, meaning) in OUTCOMES.items():
        assert f"| {code} | `{name}` | {meaning} |\n" in text
    for name, meaning in (TRICKS | FAULTS).items():
        assert f"| `{name}` | {meaning} |\n" in text
    assert len(re.findall(r"^\| .*`[a-z-]+` \|", text, re.MULTILINE)) == len(OUTCOMES | TRICKS | FAULTS)


# --- the commands


STARTERS = sorted(file.stem for file in starters.TEMPLATES.glob("*.cpp"))
QUICK = ("matmul", "softmax")
"""A product, and a function by rows; the others are slow tests."""


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_commands_exit_code_says_what_happened(tmp_path):
    (tmp_path / "right.py").write_text("def matmul(a, b):\n    return a @ b\n")
    (tmp_path / "wrong.py").write_text("def matmul(a, b):\n    return 0 * (a @ b)\n")
    right = run("check", tmp_path / "right.py", "--seconds", 0, "--dtype", "float32")
    assert right.exit_code == 0, right.output
    wrong = run("check", tmp_path / "wrong.py", "--seconds", 0)
    assert wrong.exit_code == OUTCOMES["wrong"][0]
    assert "wrong (all-zeros)" in wrong.output
    assert run("check", tmp_path / "none.py").exit_code == 2
    as_json = run("check", tmp_path / "right.py", "--seconds", 0, "--dtype", "float32", "--json")
    assert json.loads(as_json.stdout)["accepted"] is True


def test_options_reach_the_judge(tmp_path, monkeypatch):
    given = {}

    def judge(file, on_event, **options):
        given.update(options)
        raise ValueError("enough")

    monkeypatch.setattr("loopnest.check.check", judge)
    options = {"flags": "-O1", "compiler": "gcc", "dtype": "float64", "workload": "square-16"}
    numbers = {"time_limit": 3.0, "memory_limit": 64 << 20, "seconds": 0.0, "threads": 2}
    typed = {**options, **numbers, "memory_limit": 64}
    arguments = [x for name, value in typed.items() for x in (f"--{name.replace('_', '-')}", value)]
    assert "enough" in run("check", tmp_path / "mine.c", *arguments).output
    assert given == {"operation": "matmul", **options, **numbers}


def test_a_folder_is_ranked_and_a_crash_spoils_nothing(tmp_path):
    (tmp_path / "fast.py").write_text("def matmul(a, b):\n    return a @ b\n")
    (tmp_path / "slow.py").write_text(
        "import numpy as np\ndef matmul(a, b):\n    return np.einsum('ik,kj->ij', np.repeat(a, 3, 0)[::3], b)\n"
    )
    (tmp_path / "crash.py").write_text("import os\ndef matmul(a, b):\n    os.abort()\n")
    (tmp_path / "_left_out.py").write_text("raise ValueError\n")
    verdicts = rank(tmp_path, "matmul", seconds=0.2, time_limit=20, workload="square-128", dtype="float32")
    assert [Path(v.file).name for v in verdicts] == ["fast.py", "slow.py", "crash.py"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(tables.ranking(verdicts))
    assert "2 of 3 are right" in console.export_text()
    (tmp_path / "slow.py").unlink()
    found = run("check", tmp_path, "--seconds", 0, "--dtype", "float32", "--json")
    assert found.exit_code == 0
    assert [v["outcome"] for v in json.loads(found.stdout)] == ["right", "crashed"]


def test_a_ranking_over_several_workloads_says_how_to_have_one():
    def ranked(*workloads):
        found = []
        for name in workloads:
            race = Raced("it", name, ln.matmul.workload(name).shape, (1e-3,), (1e-3,), 1e-4, "flops", None)
            verdict = Verdict("matmul", f"{name}.py", "right", True, None, "it is right")
            found.append(dataclasses.replace(verdict, timing=Placing("float32", 1, (race,), None, None)))
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(tables.ranking(found))
        return console.export_text()

    assert "ranks are rough: add --workload square-128" in ranked("square-512", "square-128")
    assert "rough" not in ranked("square-128", "square-128")


def test_an_empty_folder_is_an_error(tmp_path):
    assert "has no submissions" in run("check", tmp_path).output


@pytest.mark.parametrize(
    ("operation", "lang"),
    [
        *(pytest.param(name, "cpp", marks=[] if name in QUICK else pytest.mark.slow) for name in STARTERS),
        *(pytest.param(name, "python", marks=pytest.mark.slow) for name in STARTERS),
        *(("matmul", "c"), ("tanh", "c"), ("gelu", "python"), ("matmul", "cuda")),
        pytest.param("gelu", "cuda", marks=pytest.mark.slow),
    ],
)
def test_a_new_file_is_right(tmp_path, operation, lang):
    file = tmp_path / f"mine{starters.SUFFIXES[lang]}"
    file.write_text(starters.starter(operation, lang))
    verdict = check(file, operation, seconds=0, dtype=None if lang != "python" else "float32", time_limit=60)
    assert verdict.accepted, (verdict.sentence, file.read_text())


@pytest.mark.slow
def test_a_new_file_for_numba_and_one_in_double_are_right(tmp_path):
    numba, double = tmp_path / "a.py", tmp_path / "b.cpp"
    numba.write_text(starters.starter("matmul", "numba"))
    double.write_text(starters.starter("matmul", "cpp", "float64"))
    assert check(numba, "matmul", seconds=0, dtype="float32", time_limit=120).accepted
    assert check(double, "matmul", seconds=0).dtypes == ("float64",)


def test_a_new_python_file_may_be_for_numba(tmp_path):
    file = tmp_path / "mine.py"
    assert run("check", file, "--new", "--lang", "numba").exit_code == 0
    assert "@njit" in file.read_text()


def test_a_new_file_overwrites_nothing(tmp_path):
    file = tmp_path / "mine.cpp"
    assert run("check", file, "--op", "matmul", "--new").exit_code == 0
    file.write_text("my own work")
    again = run("check", file, "--op", "matmul", "--new")
    assert again.exit_code == 2
    assert "exists and is left as it is" in again.output
    assert file.read_text() == "my own work"


@pytest.mark.skipif(sys.platform != "linux", reason="ends it by Ctrl-C's signal")
def test_watching_judges_again_when_the_file_is_saved_and_ends_with_ctrl_c(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from tile import F\ndef matmul(a, b):\n    return F * (a @ b)\n")
    (tmp_path / "tile.py").write_text("F = 0\n")
    command = [
        sys.executable,
        "-c",
        "from loopnest.cli import main; main()",
        "check",
        file,
        "--watch",
        "--seconds",
        "0",
        "--dtype",
        "float32",
    ]
    watching = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        _read_until(watching, "judged again when it is saved", first := [])
        assert "all-zeros" in "".join(first)
        (tmp_path / "tile.py").write_text("F = 1.0\n")
        _read_until(watching, "judged again when it is saved", second := [])
        assert "all-zeros" not in "".join(second)
        assert "right" in "".join(second)
        file.write_text("def matmul(a, b):\n    return 0 * (a @ b)\n")
        _read_until(watching, "judged again when it is saved", third := [])
        assert "all-zeros" in "".join(third)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


def _read_until(process, words, lines):
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return
    raise AssertionError("".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "other", "line"),
    [
        ("mine.c", f'#include "tile.h"\n{C}\n{RIGHT}\nif (m * n) c[0] += WRONG; }}\n', "tile.h", "#define WRONG {}\n"),
        ("mine.py", "from tile import WRONG\ndef matmul(a, b):\n    return a @ b + WRONG\n", "tile.py", "WRONG = {}\n"),
    ],
)
def test_what_is_included_is_part_of_what_is_judged(judged, tmp_path, name, text, other, line):
    right, wrong = line.format(0), line.format(1)
    (tmp_path / other).write_text(right)
    verdict = judged(text, name, dtype="float32")
    assert verdict.accepted
    assert str(tmp_path / other) in verdict.build.files
    (tmp_path / other).write_text(wrong)
    assert not judged(text, name, dtype="float32").accepted
    (tmp_path / other).unlink()
    missing = judged(text, name, dtype="float32")
    assert missing.outcome == "does-not-build"
    if name == "mine.c":
        assert str(tmp_path / other) in missing.build.files  # so that it is waited for


def test_a_contender_that_is_wrong_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def matmul(a, b, out):\n    out[...] = a @ b\n    out[0, 0] += 1\n")
    kernel = matmul_kernel(file)
    with kernel.host:
        load_matmul(kernel, file)
        with pytest.raises(Refusal, match="matmul is wrong"):
            Contender("it", kernel, ln.matmul.contract.workloads[0], np.dtype(np.float32)).once()


def test_a_rung_that_ends_its_process_is_not_held_against_the_kernel(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import os\ndef matmul(a, b, out):\n    os._exit(1)\n")
    rung = matmul_kernel(file)
    with rung.host:
        rung.language = "rung"
        load_matmul(rung, file)
        with pytest.raises(NotRaced, match="the rung numpy failed"):
            Contender("numpy", rung, ln.matmul.contract.workloads[0], np.dtype(np.float32)).once()


def test_a_probe_knows_what_is_right():
    probe = probe_of(Case.of(ln.matmul, np.dtype(np.float32), (5, 7, 3)))
    a, b = probe.arguments.inputs
    np.testing.assert_allclose(probe.exact[0], a.astype(float) @ b, rtol=1e-12)


def test_a_kernel_that_waits_is_right_and_noted_to_wait(judged):
    text = "import time\ndef matmul(a, b):\n    time.sleep(0.002 * (len(a) == 64))\n    return a @ b\n"
    verdict = judged(text, seconds=0.2, workload="square-64", dtype="float32")
    assert verdict.accepted
    assert any("it waits" in note for note in verdict.notes)


def test_a_result_that_is_returned_and_not_put_into_out_is_refused(judged):
    verdict = judged("def matmul(a, b, out):\n    return a @ b\n")
    assert verdict.fault == "ignores-out"


def test_the_result_of_the_call_before_is_known(judged):
    verdict = judged(
        """
        import numpy as np
        kept = {}
        def matmul(a, b):
            key = a.shape, b.shape, a.dtype
            before = kept.get(key, np.zeros((a.shape[0], b.shape[1]), a.dtype))
            kept[key] = a @ b
            return before
        """
    )
    assert verdict.fault == "stale-result"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_where_the_judge_itself_is_killed(tmp_path):
    (tmp_path / "mine.py").write_text("import os\nopen(PID, 'w').write(str(os.getpid()))\nwhile True: pass\n".replace(
        "PID", repr(str(tmp_path / "pid"))))  # fmt: skip
    folders = tmp_path / "folders"
    folders.mkdir()
    code = f"from loopnest.check import check; check({str(tmp_path / 'mine.py')!r}, 'matmul', time_limit=300)"
    judge = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(folders)})
    try:
        _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    finally:
        judge.kill()
        judge.wait()
    pid = (tmp_path / "pid").read_text()
    _until(lambda: not Path(f"/proc/{pid}").exists() and not list(folders.glob("loopnest-check-*")))


def _until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
