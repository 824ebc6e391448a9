"""Make docs/zoo.md: each kernel of tests/zoo/, what `loopnest check` says of it, and what plain checks would say.

    python scripts/make_zoo.py

The installed package and a C compiler are needed; it takes some three minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from loopnest.check import Verdict, check  # noqa: E402
from submissions import KINDS, PLAIN, Submission, plain_checks, zoo  # noqa: E402

OPENING = """# The zoo

Kernels that pretend, kernels that are wrong, kernels that crash, and honest ones. For each, what `loopnest check` says
([check.md](check.md)), and what plain checks would have said. The files are in `tests/zoo/`; tests hold the judge to
every line. Made by `python scripts/make_zoo.py`.

The plain checks run in one process, as public benchmarks do. The reference is timed. The kernel is warmed up and timed
on the same inputs (128 along each axis, float32). Then its result is compared with the reference's:

| name | the check |
| --- | --- |
{checks}

**passes**: the check accepts the kernel. *refuses*: it does not. That process may also crash or hang.

{summary}
"""

HEADINGS = {
    "tricks": "Tricks\n\nEach of these has been tried on a public leaderboard or benchmark, or would work on one.",
    "vain": "Tricks that gain nothing\n\nTheir results are right. What they hide from other clocks "
    "is in their times here.",
    "faults": "Honest-looking faults\n\nWhat goes wrong in kernels that were meant well.",
    "crashes": "What ends badly\n\nA verdict comes within the time limit, and nothing is left running.",
    "honest": "Honest kernels\n\nOther orders of summation, more precision, other algorithms: all of these are right, "
    "and none may be refused.",
}


def main() -> None:
    rows = {submission.name: (submission, _judged(submission), plain_checks(submission)) for submission in zoo()}
    text = OPENING.format(
        checks="\n".join(f"| {name} | `{question}` |" for name, question in PLAIN.items()), summary=_summary(rows)
    )
    for kind in KINDS:
        text += f"\n## {HEADINGS[kind]}\n\n| kernel | what it does | verdict | {' | '.join(PLAIN)} |\n"
        text += f"| --- | --- | --- |{' --- |' * len(PLAIN)}\n"
        text += "".join(_row(*row) for row in rows.values() if row[0].kind == kind)
    (ROOT / "docs" / "zoo.md").write_text(text, encoding="utf-8")


def _judged(submission: Submission) -> Verdict:
    print(submission.name, flush=True)
    how = {"seconds": 0.2, "time_limit": 9, "memory_limit": 1 << 29, "dtype": submission.dtype}
    return check(submission.file, submission.operation, **how)


def _row(submission: Submission, verdict: Verdict, plain: dict[str, bool] | str) -> str:
    link = f"[{submission.file.name}](../tests/zoo/{submission.name})"
    dtype = f" of {submission.dtype}" if submission.dtype else ""
    what = f"`{submission.operation}`{dtype}: {' '.join(submission.says.split())}"
    names = ("right",) if verdict.accepted else (verdict.fault, verdict.outcome)
    said = f"**{submission.verdict if submission.verdict in names else names[0] or names[-1]}**"
    cells = [_said(plain, name) for name in PLAIN]
    return f"| {link} | {what} | {said}: {' '.join(verdict.sentence.split())} | {' | '.join(cells)} |\n"


def _said(plain: dict[str, bool] | str, name: str) -> str:
    if isinstance(plain, str):
        return plain
    return "**passes**" if plain[name] else "*refuses*"


def _summary(rows: dict[str, tuple[Submission, Verdict, dict[str, bool] | str]]) -> str:
    """How many each check got wrong."""
    looked_at = [row for row in rows.values() if isinstance(row[2], dict)]
    bad = [plain for submission, _, plain in looked_at if submission.kind in ("tricks", "faults")]
    good = [plain for submission, _, plain in looked_at if submission.kind == "honest"]
    text = (
        f"{len(bad)} tricks and faults and {len(good)} honest kernels could be tried on plain checks. The judge "
        "accepts none of the former and refuses none of the latter. The plain checks do:\n\n"
        "| the check | tricks and faults accepted | honest kernels refused |\n| --- | ---: | ---: |\n"
    )
    for name in PLAIN:
        missed, refused = sum(plain[name] for plain in bad), sum(not plain[name] for plain in good)
        text += f"| {name} | {missed} | {refused} |\n"
    return text.rstrip()


if __name__ == "__main__":
    main()
