"""`python -m loopnest` is the command `loopnest`."""

from .cli import main

main(prog_name="loopnest")
