"""`torchrun --nproc-per-node 2 -m loopnest.parallel COMMAND`: each command is a call that a Python user can make too.

Commands are added below, and what is slow to import is imported inside them.
"""

from __future__ import annotations

import click

from . import out_of_core_commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The lab's operations on many ranks."""


for _command in out_of_core_commands.COMMANDS:
    main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="python -m loopnest.parallel")
