"""Who is faster? Suites, duels and comparisons, made of timings into records."""
