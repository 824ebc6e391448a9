"""Where a run's files are, and reading them back.

By default a run's results go to a new folder in loopnest-results/, named after the time: results.json, report.html and,
while the run goes on or when it was cut off, results.json.journal. Files that exist are not touched unless named.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from . import journal
from .records import Results

FOLDER = Path("loopnest-results")
RESULTS, REPORT = "results.json", "report.html"
JOURNAL = RESULTS + journal.SUFFIX

REPORT_MARK = b'<meta name="generator" content="loopnest">'
"""Reports of loopnest have this line."""


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
        """The files that were named, or the files of a new folder where none was."""
        if json is None and report is None:
            folder = _new_folder()
            return cls(folder / JOURNAL, folder / RESULTS, folder / REPORT)
        named = json or report or Path(RESULTS)
        files = cls(named.with_name(named.name + journal.SUFFIX), json, report)
        if files.journal.exists():
            raise BadFileError(
                f"{files.journal} holds what an earlier run had measured when it was cut off. "
                f"Go on with it: loopnest bench --resume {files.journal}; or remove it"
            )
        return files

    @classmethod
    def unfinished(cls, path: Path) -> Files:
        """The files of an unfinished run: of this journal's, of this folder's, or of the last one for "."."""
        if path == Path():
            found = sorted(FOLDER.glob(f"*/*{journal.SUFFIX}"))
            if not found:
                raise BadFileError(f"no run in {FOLDER}/ was cut off; name the journal to go on with another one's")
            path = found[-1]
        path = _in_folder(path, [JOURNAL])
        _readable(path)
        if not journal.is_journal(path):
            raise BadFileError(f"{path} is no journal of a run; its name would end with {journal.SUFFIX}")
        written = path.with_name(path.name.removesuffix(journal.SUFFIX))
        if written.suffix == ".html":
            return cls(path, None, written)
        return cls(path, written, path.with_name(REPORT) if written.name == RESULTS else None)

    def save(self, results: Results) -> list[str]:
        """Write the results; lines for the user about where they are. The journal goes when the run is complete."""
        lines = []
        if self.json is not None:
            results.save(self.json)
            count = len(results.records)
            lines.append(f"{count} result{'' if count == 1 else 's'}: {as_typed(self.json)}")
        if results.interrupted:
            return [*lines, f"to go on with it: loopnest bench --resume {as_typed(self.journal)}"]
        self.journal.unlink(missing_ok=True)
        return lines


def load(path: Path) -> Results:
    """The results in a file of `loopnest bench` or of pytest-benchmark, in a journal, or in a run's folder.

    Raises BadFileError, with the path and the reason, for anything else.
    """
    path = _in_folder(path, [RESULTS, JOURNAL])
    _readable(path)
    try:
        results = journal.load(path)
    except (OSError, ValueError) as error:
        raise BadFileError(str(error)) from None
    if not results.records:
        raise BadFileError(f"{path} holds no results")
    return results


def report_for(path: Path) -> Path:
    """Where the report of these results goes: report.html in a run's folder, a.html next to a.json.

    Raises BadFileError where that is a file which is no report of loopnest's.
    """
    name = path.name.removesuffix(journal.SUFFIX)
    if path.is_dir():
        file = path / REPORT
    else:
        file = path.with_name(REPORT if name == RESULTS else Path(name).stem + ".html")
    if file.exists() and REPORT_MARK not in file.read_bytes()[:1000]:
        raise BadFileError(f"{file} exists and is no report of loopnest's; name another file with -o")
    return file


def as_typed(path: Path) -> str:
    """The path as a user would type it here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


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
    """The path itself; for a folder, the first of these files that it has."""
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
