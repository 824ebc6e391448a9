"""Who is faster, and by how much?

In come operations, implementations, workloads and the time that a run may take. `suites` runs benchmark suites with
pytest-benchmark (plugin.py), `duel` compares two implementations, `compare` two runs, `peers` other libraries, and
`sweep` the same libraries over many shapes. Out come records, which are saved as JSON (records.py) and printed as
tables and curves; choices.py says which of them are compared.
"""
