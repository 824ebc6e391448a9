"""Exercise 12: attention, from loopnest's matmul and softmax.

    scores = q · kᵀ / √d        p = softmax of each row of the scores        y = p · v

q, k and v have shape (tokens, d).

    loopnest exercise 12 --check
"""

import loopnest as ln


def attention(q, k, v):
    """The weighted mean of the values for each token, of shape (tokens, d)."""
    scores = ln.matmul(q, k.T)  # divide by √d
    p = scores  # softmax
    return ln.matmul(p, v)
