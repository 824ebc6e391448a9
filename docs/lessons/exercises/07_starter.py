"""Exercise 7: a product on all cores, each thread with its own rows.

`some_rows` is compiled and runs without Python's lock (nogil), so several threads can run it at the same time.

    loopnest exercise 7 --check
"""

import os
import threading

import numba

THREADS = min(max(os.cpu_count() or 1, 2), 8)


@numba.njit(nogil=True)
def some_rows(a, b, c, begin, end):
    """Rows begin to end - 1 of a @ b."""
    for i in range(begin, end):
        row = c[i]
        row[:] = 0
        for p in range(a.shape[1]):
            factor, b_row = a[i, p], b[p]
            for j in range(len(row)):
                row[j] += factor * b_row[j]


def matmul(a, b, c):
    """c = a @ b."""
    share = len(a) // THREADS  # 7 rows and 2 threads: which thread computes the last row?
    workers = []
    for t in range(THREADS):
        worker = threading.Thread(target=some_rows, args=(a, b, c, t * share, (t + 1) * share))
        worker.start()
        workers.append(worker)
    for worker in workers:
        worker.join()
