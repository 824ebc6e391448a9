"""`torchrun --nproc-per-node 2 -m loopnest.parallel COMMAND`: each command is a call that a Python user can make too.

What is slow to import is imported inside the commands.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from .. import UnavailableError
from .commands import mlp, train
from .ranks import RankLostError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The lab's operations on many ranks, which torchrun starts.

    \b
    torchrun --nproc-per-node 2 -m loopnest.parallel train digits   a training by two ranks
    torchrun --nproc-per-node 2 -m loopnest.parallel mlp            an MLP's hidden units shared out between two
    """


for _command in (mlp, train):
    main.add_command(_command)


def run() -> None:
    """The command; what ends it is said once, with the rank that it happened on, and told to torchrun, whose table of
    what failed has it too."""
    try:
        main(prog_name="python -m loopnest.parallel", standalone_mode=False)
    except click.ClickException as error:
        if _rank() == 0:  # all ranks were given the same command
            error.show()
        _end(error, error.exit_code)
    except (ValueError, LookupError, UnavailableError, OSError) as error:
        _say(f"Error: {error}")
        _end(error, 1)
    except RankLostError as error:
        _say(f"{error}")
        _end(error, 1)
    except Exception as error:
        _say(traceback.format_exc().rstrip())
        _end(error, 1)


def _rank() -> int:
    rank = os.environ.get("RANK", "0")
    return int(rank) if rank.isdecimal() else 0


def _say(text: str) -> None:
    """On standard error, in one piece, so that the ranks' lines do not mix."""
    who = f"rank {_rank()}: " if "RANK" in os.environ else ""
    sys.stderr.write(f"{who}{text}\n")
    sys.stderr.flush()


def _end(error: Exception, code: int) -> None:
    """End this process at once: what a usual end would wait for are the other ranks, which may never come."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        importlib.import_module(
            "torch.distributed.elastic.multiprocessing.errors"
        ).get_error_handler().record_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
