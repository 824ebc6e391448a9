"""How long does a call take, and how sure is that? Turns, samples, intervals, equal terms."""
