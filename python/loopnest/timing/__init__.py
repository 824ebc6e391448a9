"""How long does a call take, and how sure is that?

In come calls, or functions which take samples of their own clock; `run_rounds` interleaves them on equal terms. Out
come all samples, the interval of a ratio (`interval.ratio`), and the state that the machine was in. Everything that
compares times uses this room: bench, duel, compare, peers, check, exercises.
"""
