"""Is this kernel right, honest and fast? The judge of anybody's kernel: `loopnest check FILE`, docs/check.md.

In comes a file with a function that computes an operation. It is built, held to the operation's contract and raced
against the ladder, in a process of its own; out comes a verdict that names what is wrong.

>>> import loopnest as ln
>>> verdict = ln.check("mine.py", "matmul")   # doctest: +SKIP
>>> verdict.outcome, verdict.fault            # doctest: +SKIP
('wrong', 'ragged-edges')
"""

from ..output.rooms import callable_as
from .judge import check, rank
from .records import SCHEMA, Verdict
from .tables import report

__all__ = ["SCHEMA", "Verdict", "check", "rank", "report"]

callable_as(check, __name__)
