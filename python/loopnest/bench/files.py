"""Where a run's files lie, and reading them back.

Without a word about it a run's results go to a new folder below loopnest-results/ in the current one, named after the
time: results.json, report.html and, while it runs or when it was cut off, results.json.journal. No file that is there
already is touched, unless it is named.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from . import journal
from .records import Results

FOLDER = Path("loopnest-results")
RESULTS, REPORT = "results.json", "report.html"


class BadFileError(ValueError):
    """A file or folder that cannot be used; the message says which, why, and what is expected."""


@dataclass(frozen=True)
class Files:
    """The files that a run writes; None for one that is not wanted."""

    journal: Path
    json: Path | None
    report: Path | None

    @classmethod
    def of(cls, json: Path | None, report: Path | None) -> Files:
        """The files that were named, or those of a new folder where none was."""
        if json is None and report is None:
            folder = _new_folder()
            return cls(journal.beside(folder / RESULTS), folder / RESULTS, folder / REPORT)
        files = cls(journal.beside(json or report or Path(RESULTS)), json, report)
        if files.journal.exists():
            raise BadFileError(
                f"{files.journal} holds what an earlier run had measured when it was cut off. "
                f"Go on with it: loopnest bench --resume {files.journal}; or remove it"
            )
        return files

    @classmethod
    def unfinished(cls, path: Path) -> Files:
        """Those of the run that this journal is of, or this folder's; of the last one that was cut off for "."."""
        if path == Path():
            found = sorted(FOLDER.glob(f"*/*{journal.SUFFIX}"))
            if not found:
                raise BadFileError(f"no run in {FOLDER}/ was cut off; name the journal to go on with another one's")
            path = found[-1]
        path = _in_folder(path, [journal.beside(Path(RESULTS)).name])
        _readable(path)
        if not journal.is_journal(path):
            raise BadFileError(f"{path} is no journal of a run; its name would end with {journal.SUFFIX}")
        written = path.with_name(path.name.removesuffix(journal.SUFFIX))
        if written.suffix == ".html":
            return cls(path, None, written)
        return cls(path, written, path.with_name(REPORT) if written.name == RESULTS else None)

    def write(self, results: Results) -> list[str]:
        """Write the results and the report; what a user should know about where they are.

        The journal goes when all that it holds is in the results, and none is left to measure.
        """
        from ..report import why_not_here, write

        told = []
        if self.json is not None:
            results.save(self.json)
            count = len(results.records)
            told.append(f"{count} result{'' if count == 1 else 's'}: {_named(self.json)}")
        if self.report is not None:
            missing = why_not_here()
            if missing is None and results.records:
                write([results], self.report)
                told.append(f"report: {_named(self.report)}")
            elif missing:
                told.append(f"no report: {missing}")
        if results.interrupted:
            told.append(f"to go on with it: loopnest bench --resume {_named(self.journal)}")
        else:
            self.journal.unlink(missing_ok=True)
        return told


def load(path: Path) -> Results:
    """The results in a file of `loopnest bench` or of pytest-benchmark, in a journal, or in a run's folder.

    Raises BadFileError, with the path and the reason, for anything else.
    """
    path = _in_folder(path, [RESULTS, journal.beside(Path(RESULTS)).name])
    _readable(path)
    try:
        results = journal.load(path)
    except (OSError, ValueError) as error:
        raise BadFileError(str(error)) from None
    if not results.records:
        raise BadFileError(f"{path} holds no results")
    return results


def report_beside(path: Path) -> Path:
    """Where the report of these results goes: report.html in a run's folder, a.html beside a.json.

    Raises BadFileError where that is a file which is no report of ours.
    """
    name = path.name.removesuffix(journal.SUFFIX)
    if path.is_dir():
        file = path / REPORT
    else:
        file = path.with_name(REPORT if name == RESULTS else Path(name).stem + ".html")
    if file.exists() and MARK not in file.read_bytes()[:1000]:
        raise BadFileError(f"{file} exists and is no report of loopnest's; name another file with -o")
    return file


MARK = b'<meta name="generator" content="loopnest">'
"""By which a report is known."""


def _new_folder() -> Path:
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 1000):
        folder = FOLDER / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not FOLDER.is_dir():
                raise BadFileError(f"{FOLDER} is no folder, and results would go there; use --json FILE") from None
            continue
        except OSError as error:
            raise BadFileError(f"results cannot go to {folder}: {error.strerror}; use --json FILE") from None
        return folder
    raise BadFileError(f"{FOLDER} has a thousand folders of this second")


def _in_folder(path: Path, names: list[str]) -> Path:
    """The path itself, or the first of these files in it where it is a folder."""
    if not path.is_dir():
        return path
    found = [path / name for name in names if (path / name).exists()]
    if not found:
        raise BadFileError(f"the folder {path} has no {' and no '.join(names)}")
    return found[0]


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror}") from None


def _named(path: Path) -> str:
    """The path as it would be typed here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
