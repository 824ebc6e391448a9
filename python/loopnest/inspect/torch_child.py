"""Run one torch rung once, in a process whose libraries report their routines: see in_torch.routines_of.

    MKL_VERBOSE=1 ONEDNN_VERBOSE=1 python -m loopnest.inspect.torch_child matmul torch.eager square-256 float32

MKL and oneDNN write a line for each routine to standard output as they run it; this adds torch's own operators.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import torch
    from torch.profiler import ProfilerActivity, profile

    from ..operations import OPERATIONS
    from . import run_once, workload_of

    operation, impl, workload, dtype = sys.argv[1:]
    k = OPERATIONS[operation][impl]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run_once(k, workload_of(k, workload), dtype)
    events = profiled.key_averages()
    operators = [(e.key, e.count) for e in events if e.key.startswith(("aten::", "mkldnn", "onednn"))]
    config = [line.strip(" -\n") for line in torch.__config__.show().splitlines()]
    libraries = [line for line in config if line.startswith(("Intel(R)", "OpenMP", "CPU capability", "ATen"))]
    print("\nloopnest: " + json.dumps({"operators": operators, "torch": torch.__version__, "libraries": libraries}))


if __name__ == "__main__":
    main()
