"""The same, by a subclass of NumPy's array that computes at its first use.

operation: matmul
verdict: lazy-result
"""

import numpy as np


class Later(np.ndarray):
    def __array_finalize__(self, other):
        self.inputs = None

    def _computed(self):
        if self.inputs is not None:
            inputs, self.inputs = self.inputs, None
            np.matmul(*inputs, out=self.view(np.ndarray))
        return self.view(np.ndarray)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return getattr(ufunc, method)(*[x._computed() if isinstance(x, Later) else x for x in inputs], **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return function(*[x._computed() if isinstance(x, Later) else x for x in args], **kwargs)


def matmul(a, b):
    later = np.empty((a.shape[0], b.shape[1]), a.dtype).view(Later)
    later.inputs = a, b
    return later
