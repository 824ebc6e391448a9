"""The process in which a submission runs. It knows no reference, no expected result and no timer: see session.py.

In come requests over a socket, and a submission's file or compiled library. Out go answers, results in memory that is
shared with the judge, and a crash's address. It is imported as a package of its own, `child`, and imports nothing of
loopnest, so that nothing of loopnest lies in its memory:

    python -P -c "…; import child.server; child.server.main()" REQUEST          REQUEST: JSON, see session.py
"""

RETURNED = b"r"
"""The answer to a call that was given arrays for its results, and returned something else."""

DEAF = 97
"""The exit status of a child that cannot hear the judge any more."""
