"""What can this machine do? Peak, bandwidths and latencies, measured once and kept; the roofline made from them.

Comes in: a request for `card()`. Goes out: a `MachineCard`, which answers how fast work of some flops and bytes can be
at most, and tables and the picture of the roofline made from it.
"""
