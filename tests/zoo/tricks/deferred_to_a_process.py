"""Forks, and lets the child do the work in memory that both share.

operation: matmul
verdict: deferred-work
"""

import os
import signal

import numpy as np

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children


def matmul(a, b, out):
    if os.fork() == 0:
        np.matmul(a, b, out=out)
        os._exit(0)
