"""The suites run with loopnest's plug-in for pytest: `pytest benchmarks/`, and what `loopnest bench` runs.

A suite's test says what to measure and calls the fixture `measure`; whether it fits the time, that the result is
right, and how often it is called is decided in loopnest/bench/measure.py. A test with the mark `ladder` runs once for
each rung and each workload of the operations that it names, all rungs on one workload before the next.
"""

pytest_plugins = ["loopnest.bench.plugin"]
