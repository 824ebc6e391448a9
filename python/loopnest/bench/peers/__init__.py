"""loopnest beside NumPy, torch and JAX, and beside the machine's limits: `loopnest bench peers`.

    bars.py        what is to be reached, as data, and the verdicts
    contenders.py  what each library is asked to do: the lines of Python that are timed
    rounds.py      timing them in turn
    memory.py      what a backward pass takes of memory, in a process of its own
    child.py       the process that measures; benchmarks/bench_peers.py says what
    run.py         starts it and collects what it tells
    records.py     what comes out
    tables.py      the same for the terminal and as Markdown

docs/performance.md says how the figures come about.
"""
