"""`loopnest exercise`: a lesson's exercise, and its check."""

from pathlib import Path

import click

from ..output.tables import columns
from .options import JSON, print_json, real, usage_errors
from .progress import console, say, show


@click.command("exercise")
@click.argument("number", metavar="[N]", type=int, required=False)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=".", required=False)
@click.option("--check", "checks", is_flag=True, help="Check the file: right or wrong, then how fast.")
@click.option("--hint", "hints", is_flag=True, help="Print the next hint: an idea, not the solution.")
@click.option("--solution", is_flag=True, help="Print a solution.")
@real("--seconds", default=2.0, least=0, help="Time for the timing; 0 for none.")
@JSON
def command(
    number: int | None, folder: Path, checks: bool, hints: bool, solution: bool, seconds: float, as_json: bool
) -> None:
    """Write the file of exercise N into DIR (this folder unless it is given); with --check, check it there.

    Without a number, list the exercises. A file that is there already is left as it is. The exit code of --check is 0
    for right, 1 for wrong, 3 where it cannot be run on this machine.

    \b
    loopnest exercise 4             writes exercise_04.py
    loopnest exercise 4 --check     right or wrong, and how fast
    loopnest exercise 4 --hint      an idea; once more: the next one
    loopnest exercise 4 --solution  one way to do it
    """
    from ..learn import EXERCISES, check_exercise, write_starter
    from ..learn.drawing import report
    from ..learn.progress import progress

    if number is None:
        console().print(columns(*((str(one.number), one.file, one.task) for one in EXERCISES.values())))
        say("\nloopnest exercise 1          writes its file into this folder")
        say("loopnest exercise 1 --check  checks what you made of it")
        return
    if number not in EXERCISES:
        expected = f"expected a number from {min(EXERCISES)} to {max(EXERCISES)}"
        raise click.BadParameter(f"there is no exercise {number}; {expected}", param_hint="N")
    one = EXERCISES[number]
    if solution:
        click.echo(one.solution.read_text(encoding="utf-8"), nl=False)
        return
    if hints:
        _hint(number)
        return
    if not checks:
        with usage_errors(ValueError):
            written = write_starter(number, folder)
        elsewhere = "" if folder == Path(".") else f" {folder}"
        say(f"written: {written}\n")
        console().print(f"{one.task}\n", markup=False)
        say(f"loopnest exercise {number} --check{elsewhere}      when you have filled it in")
        say(f"loopnest exercise {number} --hint       when you are stuck")
        say(f"loopnest exercise {number} --solution   one way to do it")
        return
    with usage_errors(ValueError):
        attempt = check_exercise(number, folder / one.file if folder.is_dir() else folder, seconds=seconds)
    if attempt.outcome == "right":
        done = progress()
        done.right.add(number)
        done.save()
    if as_json:
        print_json({**vars(attempt), "exit_code": attempt.exit_code})
    else:
        show(report(attempt))
    raise SystemExit(attempt.exit_code)


def _hint(number: int) -> None:
    """Print the next hint; after the last one, the last again. Print all if the number of hints cannot be kept."""
    from ..learn import EXERCISES
    from ..learn.progress import progress

    hints, done = EXERCISES[number].hints, progress()
    first = min(done.hints.get(number, 0), len(hints) - 1)
    done.hints[number] = first + 1
    shown = hints[first : first + 1] if done.save() else hints
    for n, hint in enumerate(shown, first + 1):
        console().print(f"hint {n} of {len(hints)}: {hint}\n", markup=False)
    if first + len(shown) < len(hints):
        say(f"loopnest exercise {number} --hint       the next one")
    else:
        say(f"loopnest exercise {number} --solution   that was the last hint; one way to do it")
