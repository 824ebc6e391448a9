"""What does a layout cost in the caches? A rung's own accesses, simulated, drawn and counted.

Comes in: a rung and its arrays, or a small matrix to walk. Goes out: `Traffic` between the caches (traffic.py), a
picture of the order of accesses (walk.py), and the processor's own counts (counters.py).
"""
