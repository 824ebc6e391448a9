"""The judge of anybody's kernel: `loopnest check FILE`. docs/check.md is its manual.

>>> from loopnest.check import check
>>> verdict = check("mine.py", "matmul")   # doctest: +SKIP
>>> verdict.outcome, verdict.trick         # doctest: +SKIP
('wrong', 'ragged-edges')
"""

from .judge import check
from .records import Verdict

__all__ = ["Verdict", "check"]
