"""Who is timed next to the GPU's rungs: torch, and a copy of the driver's. And the clocks meanwhile.

A contender yields its name, what it launches, and what a reader should know about its figure.
"""

import functools
import subprocess

import numpy as np
from loopnest.backends import cuda_device
from loopnest.bench.records import Clocks
from loopnest.verify import arrays_in, compare_all

COPY, CUBLAS, TORCH = "driver.copy", "torch.cuBLAS", "torch.CUDA"


def copy_contender(work, problem, rehearse):
    """A copy that moves as many bytes as an elementwise operation has to."""
    if work.operation.name.startswith("gelu"):
        half = work.amounts()[1] // 2
        source, target = (cuda_device.on_device((half,), np.uint8) for _ in range(2))
        if not rehearse:
            copy = functools.partial(
                cuda_device.gpu().call, "cuMemcpyDtoDAsync", target.pointer, source.pointer, half, 0
            )
            yield COPY, [copy], ""


def torch_contender(work, problem, rehearse, device="cuda"):
    """torch's own functions on the GPU, products without TF32; on the CPU in a rehearsal."""
    import torch

    torch.set_float32_matmul_precision("highest")

    def on(x):
        tensor = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if x.dtype.kind == "V" else torch.from_numpy(x)
        return tensor.to("cpu" if rehearse else device)

    call, results = torch_call(work.operation.name, torch, *map(on, arrays_in(problem.inputs)))
    call()

    def back(x):
        x = x[torch.from_numpy(problem.rows).to(x.device)].cpu() if problem.of_rows else x.cpu()
        return x.view(torch.int16).numpy().view(work.dtype) if x.dtype == torch.bfloat16 else x.numpy()

    wrong = compare_all([back(x) for x in results()], *problem.expected, problem.results[0].dtype)
    note = f"not within the bound: {wrong[0]}" if wrong else ""
    yield CUBLAS if work.operation.name == "matmul" else TORCH, [call], note


def torch_call(name, torch, *tensors):
    """A call, and the results that it left."""
    aten, form, found = torch.ops.aten, {"approximate": "tanh"}, {}
    if name == "matmul":
        a, b = tensors
        c = torch.empty(len(a), b.shape[1], dtype=a.dtype, device=a.device)
        return functools.partial(torch.mm, a, b, out=c), lambda: [c]
    if name in ("gelu", "gelu_backward"):
        y = torch.empty_like(tensors[0])
        if name == "gelu":
            return functools.partial(aten.gelu.out, *tensors, **form, out=y), lambda: [y]
        x, dy = tensors
        return functools.partial(aten.gelu_backward.grad_input, dy, x, **form, grad_input=y), lambda: [y]

    def forward():
        x, w1, b1, w2, b2 = tensors
        z = torch.addmm(b1, x, w1)
        h = torch.nn.functional.gelu(z, **form)
        found["results"] = torch.addmm(b2, h, w2), z, h

    def backward():
        dy, x, w1, w2, z, h = tensors
        dz = aten.gelu_backward(dy @ w2.T, z, **form)
        found["results"] = dz @ w1.T, x.T @ dz, dz.sum(0), h.T @ dy, dy.sum(0)

    return forward if name == "mlp_forward" else backward, lambda: list(found["results"])


# --- clocks

SMI = ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw", "--format=csv,noheader,nounits"]


def start_smi():
    """Ask for the clocks while the rounds run; None where there is no nvidia-smi."""
    try:
        return subprocess.Popen([*SMI, "--id=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None


def read_smi(process, at):
    if process is None:
        return None
    try:
        text = process.communicate(timeout=5)[0]
        sm, memory, celsius, watts = (float(x) for x in text.split(","))
    except (ValueError, subprocess.TimeoutExpired):  # "[N/A]", or a hang
        process.kill()
        return None
    return Clocks(at, sm, memory, celsius, watts)
