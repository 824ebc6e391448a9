"""Make docs/cost-model.md's tables and its picture anew, of docs/cost-model/measured.json.

    python scripts/make_cost_model.py              by what that file has
    python scripts/make_cost_model.py --measure    measure this machine first: one rank, and two under torchrun

It needs the `torch` and `bench` extras, and for --measure a machine that does nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from loopnest.parallel.cost_commands import cost_command

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FOLDER = DOCS / "cost-model.md", DOCS / "cost-model"
BLOCK = re.compile(r"(```bash\npython -m loopnest\.parallel (cost [^\n]*)\n```\n+```text\n).*?(?=```)", re.DOTALL)


def measure() -> None:
    """Of one rank, then of two, into a new file."""
    (FOLDER / "measured.json").unlink(missing_ok=True)
    command = ["-m", "loopnest.parallel", "measure", "--out", str(FOLDER / "measured.json")]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for start in ([], torchrun):
        subprocess.run([sys.executable, *start, *command], check=True, timeout=300)


def printed(command: str) -> str:
    """What a command of the page prints."""
    arguments = [word.replace("docs/cost-model", str(FOLDER)) for word in command.split()[1:]]
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cost_command, arguments)
    if done.exit_code:
        raise SystemExit(f"{command}: {done.output}")
    return done.output.strip() + "\n"


def main() -> None:
    if "--measure" in sys.argv[1:]:
        measure()
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + printed(found[2]), text), encoding="utf-8")
    printed("cost --measured docs/cost-model/measured.json --svg docs/cost-model/efficiency.svg")


if __name__ == "__main__":
    main()
