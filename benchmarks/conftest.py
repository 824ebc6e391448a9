"""The suites run with loopnest's plug-in for pytest: `pytest benchmarks/`, and what `loopnest bench` runs.

A suite's test says what to measure and calls the fixture `measure`. loopnest/bench/measure.py decides whether it fits
the time and how often it is called, and checks the result. A test with the mark `ladder` runs once for each rung and
each workload of the operations that it names, all rungs on one workload before the next.
"""

pytest_plugins = ["loopnest.bench.plugin"]
