"""The C and C++ compiler of this machine: found, called, and its messages shortened."""

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FLAGS = "-O3 -march=native"
"""Flags for a user's file where none are given."""

COMMANDS = {"c": ("gcc", "clang", "cc"), "c++": ("g++", "clang++", "c++")}
"""The commands that are tried, in order, where neither CC nor CXX names one."""

BINDING = ("-fno-semantic-interposition", *(("-Wl,-Bsymbolic",) if sys.platform == "linux" else ()))
"""A library's own functions call each other, inlined, also where libc has one of that name, such as `index`."""

MEMORY = 3 << 30
"""Bytes of memory that each of a compiler's processes may take."""

SHOWN = 3
"""Errors that are shown; the first one usually causes the others."""


@dataclass(frozen=True)
class Build:
    """How a source file was made ready to run.

    language  "python", "c", "c++" or "cuda"
    command   the compiler's command line; "" for Python
    messages  the compiler's errors or warnings, shortened
    seconds   of compiling, or of importing
    files     that it was made of: the source, and the headers or modules of its own that it includes
    """

    language: str
    command: str = ""
    messages: str = ""
    seconds: float = 0.0
    files: tuple[str, ...] = ()


class BuildError(RuntimeError):
    """A source file that does not compile, and the build that failed."""

    def __init__(self, message: str, build: Build) -> None:
        super().__init__(message)
        self.build = build


class NoCompilerError(BuildError):
    """There is no compiler; the message says which commands were tried, and what to install."""


class NoExecutionError(BuildError):
    """Compiled libraries would lie where nothing can be executed; the message names the folder, and the fix."""


def why_not_loaded_from(folder: Path) -> str | None:
    """Why a library in this folder cannot be loaded, with the fix, or None where it can."""
    if not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        return None
    return f"{folder.parent} is mounted noexec, and compiled libraries lie there: set TMPDIR to another folder"


@dataclass(frozen=True)
class Compiler:
    """A compiler of this machine: its command, "GNU" or "Clang", and the first line of `--version`."""

    command: tuple[str, ...]
    kind: str
    version: str

    def __call__(self, arguments: Sequence[str], limit: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run it with its messages in English, in at most MEMORY bytes. Raises subprocess.TimeoutExpired after `limit`
        seconds; then none of its processes is left."""
        command, env = [*self.command, *arguments], {**os.environ, "LC_ALL": "C"}
        if sys.platform != "win32":
            command = ["sh", "-c", f'ulimit -v {MEMORY >> 10} 2>&-; exec "$@"', "sh", *command]
        with subprocess.Popen(
            command, stdout=-1, stderr=-1, text=True, errors="replace", env=env, start_new_session=True
        ) as process:
            try:
                printed, messages = process.communicate(timeout=limit)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, printed, messages)


def find(language: str = "c++", command: str | None = None) -> Compiler:
    """The compiler for "c" or "c++": `command`, else what CC or CXX names, else the first one installed of COMMANDS.

    Raises NoCompilerError where there is none.
    """
    variable = {"c": "CC", "c++": "CXX"}[language]
    named = command or os.environ.get(variable)
    candidates = [named] if named else COMMANDS[language]
    for candidate in candidates:
        words = tuple(words_of(candidate, "the compiler"))
        path = shutil.which(words[0])
        if path is not None:
            version = _printed(path, "--version").partition("\n")[0]
            return Compiler((path, *words[1:]), "Clang" if "clang" in version else "GNU", version)
    tried = " or ".join(candidates) if command or not named else f"{named}, which {variable} names"
    fix = f"install one (Debian: apt install g++), or name one in {variable}"
    raise NoCompilerError(f"no compiler for {language}: there is no command {tried}: {fix}", Build(language))


def words_of(text: str, name: str) -> list[str]:
    """The words of a command line. Raises ValueError where a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}, expected words as on a command line: {str(error).lower()}") from None


@dataclass(frozen=True)
class Library:
    """A shared library, and how it was built."""

    file: Path
    build: Build


def compile_library(
    file: Path, language: str, flags: str = FLAGS, compiler: str | None = None, limit: float = 60.0
) -> Library:
    """Compile one file of C or C++ to a shared library, which is kept until the process ends.

    language  "c" or "c++"
    flags     as on a command line
    compiler  a command; see `find` where it is None
    limit     seconds for the compiler

    Raises BuildError where the file does not compile, NoCompilerError where there is no compiler, NoExecutionError
    where no library can be loaded.
    """
    found = find(language, compiler)
    folder = temporary_folder()
    if reason := why_not_loaded_from(folder):
        raise NoExecutionError(reason, Build(language))
    arguments = [*words_of(flags, "flags"), "-g1", "-shared", "-fPIC", *BINDING]
    shown = shlex.join([Path(found.command[0]).name, *found.command[1:], *arguments, file.name])
    source = str(file.resolve())
    files = (source, *included(found, [*words_of(flags, "flags"), source], limit))
    ingredients = [*arguments, *map(_content, files)]
    build = Build(language, shown, files=files)
    return build_once(found, [*arguments, source], ingredients, file, folder, ".so", build, limit)


def included(compiler: Compiler, arguments: Sequence[str], limit: float | None = None) -> list[str]:
    """The headers that a compilation reads, those that are missing too, without the system's; from the compiler."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        rule = compiler(["-MM", "-MG", *arguments], limit).stdout.replace("\\\n", " ").partition(": ")[2]
        names = [re.sub(r"\\(.)", r"\1", name).replace("$$", "$") for name in re.findall(r"(?:\\.|\S)+", rule)]
        folder = Path(arguments[-1]).parent
        return [str(Path(n) if Path(n).exists() else folder / n) for n in names if n != arguments[-1]]
    return []


def _content(file: str) -> str:
    """The file's path and its bytes, as one text; the path alone where there is no such file."""
    with contextlib.suppress(OSError):
        return f"{file} {Path(file).read_bytes()!r}"
    return file


def preprocessed(
    file: Path, language: str, flags: str = FLAGS, compiler: str | None = None, limit: float = 60.0
) -> tuple[str, list[int]]:
    """A file of C or C++ as the compiler sees it, without the system's headers; and the number of each line in the
    file, 0 for lines of the headers that it includes.

    Takes what `compile_library` takes. Nothing where the compiler cannot say. Raises BuildError where it takes longer.
    """
    command = [*words_of(flags, "flags"), "-E", str(file.resolve())]
    try:
        lines, numbers, number, own, system = [], list[int](), 1, True, False
        for line in find(language, compiler)(command, limit).stdout.splitlines():
            if marker := re.match(r'#(?:line)? (\d+) "(.*?)"((?: \d)*)', line):
                number, system = int(marker[1]), " 3" in marker[3]
                own = Path(marker[2]).name == file.name
                continue
            if not system:
                lines.append(line)
                numbers.append(number if own else 0)
            number += 1
        return "\n".join(lines), numbers
    except subprocess.TimeoutExpired:
        message = f"the compiler did not finish within {limit:.3g} s"
        raise BuildError(message, Build(language, messages=message, seconds=limit)) from None


def build_once(
    compiler: Compiler,
    arguments: Sequence[str],
    ingredients: Sequence[str],
    source: Path,
    folder: Path,
    suffix: str,
    build: Build,
    limit: float | None = None,
) -> Library:
    """The compiler's output for these arguments, from the folder where the same ingredients were compiled before."""
    hashed = hashlib.sha256(repr((compiler, *ingredients)).encode()).hexdigest()[:24]
    built = folder / f"{re.sub('[^A-Za-z0-9_]', '_', source.stem)}-{hashed}{suffix}"
    if built.exists():
        return Library(built, build)
    handle, made = tempfile.mkstemp(dir=folder)  # and moved in one step: another process may build the same
    os.close(handle)
    start = time.perf_counter()
    try:
        result = compiler([*arguments, "-o", made], limit)
    except subprocess.TimeoutExpired:
        message = f"the compiler did not finish within {limit:.3g} s"
        raise BuildError(message, dataclasses.replace(build, messages=message, seconds=limit or 0)) from None
    messages, seconds = shortened(result.stderr, source), time.perf_counter() - start
    if result.returncode:
        Path(made).unlink(missing_ok=True)
        messages = messages or "\n".join(result.stderr.strip().splitlines()[:6])
    build = dataclasses.replace(build, messages=messages, seconds=seconds)
    if result.returncode:
        raise BuildError(f"{source.name} does not compile:\n{messages}", build)
    Path(made).chmod(0o755)
    shutil.move(made, built)
    return Library(built, build)


def cache_directory() -> Path:
    """The folder for what loopnest can make again: below XDG_CACHE_HOME, or the system's own place.

    A user without a home gets a folder that is removed when this process ends.
    """
    return user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches") or temporary_folder() / "loopnest"


def user_folder(variable: str, on_linux: str, on_mac: str) -> Path | None:
    """loopnest's folder below the one that an XDG variable names, or below the system's own place in the user's home;
    None for a user without a home.

    A variable that is empty or relative counts as not set, as the XDG base directory specification demands.
    """
    named = os.environ.get(variable, "")
    if os.path.isabs(named):
        return Path(named) / "loopnest"
    home = os.path.expanduser("~")
    return Path(home) / (on_mac if sys.platform == "darwin" else on_linux) / "loopnest" if os.path.isabs(home) else None


@functools.cache
def temporary_folder() -> Path:
    """A folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="loopnest-build-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def shortened(messages: str, file: Path) -> str:
    """The compiler's first errors, or its first warnings where there is no error: each with its line of source, without
    notes and without the stacks of includes and templates.

    >>> print(shortened('''/tmp/x.c: In function 'f':
    ... /tmp/x.c:3:5: error: expected ';' before '}' token
    ...     3 | a = 1 }
    ...       |      ^
    ... /tmp/x.c:1:1: note: something else
    ... ''', Path("/tmp/x.c")))
    x.c:3:5: error: expected ';' before '}' token
        3 | a = 1 }
          |      ^
    """

    def starting(what: str) -> list[str]:
        """The messages of this kind, each with its lines of source."""
        pattern = rf"^(?!note: )\S.*?(?:{what}).*\n(?:[ \t].*\n)*"
        return re.findall(pattern, f"{messages}\n", re.MULTILINE)

    chosen = starting("error: |undefined reference|undefined symbol") or starting("warning: ")
    kept = ["\n".join(block.splitlines()[:4]) for block in chosen[:SHOWN]]
    if len(chosen) > SHOWN:
        kept.append(f"… and {len(chosen) - SHOWN} more")
    return "\n".join(kept).replace(str(file.resolve()), file.name).replace(str(file), file.name)


def line_of(library: Path, offset: int) -> int:
    """The line of source that an instruction came from; 0 where that is not known."""
    found = re.search(r":(\d+)", _printed("addr2line", "-e", str(library), hex(offset)))
    return int(found[1]) if found else 0


def exported(library: Path) -> Sequence[str]:
    """The functions that a library exports, by their names for the linker; empty where nm is missing."""
    rows = [line.split() for line in _printed("nm", "-D", "--defined-only", str(library)).splitlines()]
    return [row[2] for row in rows if len(row) == 3 and row[1] in "TW"]


@functools.cache
def _printed(*command: str) -> str:
    """What a tool prints; nothing where it is missing or takes long."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    return ""
