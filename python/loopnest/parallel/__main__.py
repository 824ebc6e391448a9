"""`torchrun --nproc-per-node 2 -m loopnest.parallel COMMAND`: each command is a call that a Python user can make too.

What is slow to import is imported inside the commands.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from types import TracebackType

import click

from ..operation import UnavailableError
from . import cost_commands, out_of_core_commands
from .commands import mlp, train
from .ranks import RankLostError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The lab's operations on many ranks, which torchrun starts.

    \b
    torchrun --nproc-per-node 2 -m loopnest.parallel train digits   a training by two ranks
    torchrun --nproc-per-node 2 -m loopnest.parallel mlp            an MLP's hidden units shared out between two
    torchrun --nproc-per-node 2 -m loopnest.parallel measure        the network between ranks, and the model's check
    python -m loopnest.parallel cost                                what 1 to 1,024 ranks cost
    python -m loopnest.parallel matmul A.npy B.npy C.npy            matrices larger than memory
    """


for _command in (mlp, train, *cost_commands.COMMANDS, *out_of_core_commands.COMMANDS):
    main.add_command(_command)


def run() -> None:
    """The command; what ends it is said once, with the rank that it happened on, and told to torchrun, whose table of
    what failed has it too."""
    try:
        main(prog_name="python -m loopnest.parallel", standalone_mode=False)
    except click.Abort as error:  # Ctrl-C, in a command that has nothing to finish
        _say("stopped")
        _end(error, 130)
    except click.ClickException as error:
        if _rank() == 0:  # all ranks were given the same command
            error.show()
        else:
            time.sleep(3)  # or torchrun would end rank 0 before it has said so
        _end(error, error.exit_code)
    except RankLostError as error:
        if error.teller == _rank():
            _say(str(error))
        _end(error, 1)
    except (ValueError, LookupError, UnavailableError, OSError) as error:
        _say(f"Error: {error}")
        _end(error, 1)
    except Exception as error:
        _say(traceback.format_exc().rstrip())
        _end(error, 1, error.__traceback__)


def _rank() -> int:
    rank = os.environ.get("RANK", "0")
    return int(rank) if rank.isdecimal() else 0


def _say(text: str) -> None:
    """On standard error, in one piece, so that the ranks' lines do not mix."""
    who = f"rank {_rank()}: " if "RANK" in os.environ else ""
    sys.stderr.write(f"{who}{text}\n")


def _end(error: Exception, code: int, where: TracebackType | None = None) -> None:
    """End this process at once: what a usual end would wait for are the other ranks, which may never come.

    where  the lines of code that led to it, for torchrun's table; none where the message says what is to be done
    """
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        errors = importlib.import_module("torch.distributed.elastic.multiprocessing.errors")
        try:
            raise error.with_traceback(where) from None
        except Exception:
            errors.get_error_handler().record_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
