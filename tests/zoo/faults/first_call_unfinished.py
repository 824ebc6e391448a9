"""Its first call leaves the work to a thread that it has just started, and does not wait for it; later calls do wait.

operation: matmul
verdict: unsynchronised-first-call
"""

import queue
import threading
import time

import numpy as np

jobs = queue.Queue()
started = False


def work():
    time.sleep(0.02)  # what a thread takes to start
    while True:
        a, b, out, done = jobs.get()
        np.matmul(a, b, out=out)
        done.set()


def matmul(a, b, out):
    global started
    done = threading.Event()
    jobs.put((a, b, out, done))
    if not started:
        started = True
        threading.Thread(target=work, daemon=True).start()
    else:
        done.wait()
