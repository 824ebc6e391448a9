"""What does a stranger's function do? It runs in a process of its own, which this room starts, calls, watches and ends.

In comes a file, or requests about it; out go answers, times by this process's clock, and how the process ended: by
which signal, at which address, on which line. The folder child/ is what runs in that process; it imports nothing of
loopnest.
"""
