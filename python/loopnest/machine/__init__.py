"""What can this machine do? Peak, bandwidths and latencies, measured once and kept; the roofline made from them.

Comes in: a request for `card()`. Goes out: a `MachineCard`, which answers how fast work of some flops and bytes can be
at most, and the roofline as data, as a table and as a picture.
"""
