from __future__ import annotations
class NotRaced(Exception): pass
def race(t): raise NotRaced("not yet")
def next_steps(t): return ()
