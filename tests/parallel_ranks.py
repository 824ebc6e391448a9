"""What two ranks do in the tests of loopnest.parallel, started by torchrun: `parallel_ranks.py FOLDER`.

Each rank writes what it found to FOLDER/rank.json, and the tests judge it. Starting takes seconds, so one start does
much. At the end the second rank fails, and so does the job.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import loopnest as ln
import numpy as np
from loopnest import nn, parallel
from loopnest.operations.mlp import contract
from loopnest.operations.mlp.contract import MLPCache

FORMS = [("float32", "tanh"), ("float64", "none")]
T, D, E = 9, 6, 5


def layers(h, dtype):
    workload = ln.operation.Workload("uneven", {"t": T, "d": D, "h": h, "e": E})
    x, w1, b1, w2, b2 = contract.FORWARD.sample(workload, np.dtype(dtype), np.random.default_rng(3)).inputs
    dy = np.random.default_rng(4).standard_normal((T, E)).astype(dtype)
    return x, (w1, b1, w2, b2), dy


def worst(result, exact, bound):
    """The largest error as a share of the bound; infinite where something is no number or has another shape."""
    if result.shape != exact.shape or not np.isfinite(result).all():
        return float("inf")
    error = np.abs(result.astype(np.longdouble) - exact)
    return float(np.max(error / np.maximum(bound, np.finfo(np.float64).tiny), initial=0))


def tensor_parallel(ranks, h, dtype, form, impl):
    """Each result's error as a share of the contract's bound, of a pass with the hidden units shared out."""
    x, weights, dy = layers(h, dtype)
    mlp = parallel.TensorParallelMLP(*weights, ranks=ranks, approximate=form, impl=impl)
    y, cache = mlp.forward(x)
    dx, dw1, db1, dw2, db2 = mlp.backward(dy, cache)
    whole = mlp.gather({"w1": dw1, "b1": db1, "w2": dw2, "b2": db2})
    made = y, dx, whole["w1"], whole["b1"], whole["w2"], whole["b2"]
    z, hidden = (ranks.gather(part, axis=1) for part in (cache.z, cache.h))
    joined = MLPCache(x, weights[0], weights[2], z, hidden, form)
    exact = (
        contract.forward_reference(x, *weights, approximate=form)[0],
        *contract.backward_reference(dy, joined),
    )
    bounds = (
        contract.forward_bound(x, *weights, approximate=form)[0],
        *contract.backward_bound(dy, joined),
    )
    shares = [worst(*of_one) for of_one in zip(made, exact, bounds, strict=True)]
    held = mlp.parameters["w1"].shape[1]
    again = mlp.gather()
    kept = all(np.array_equal(again[name], part) for name, part in zip(("w1", "b1", "w2", "b2"), weights, strict=True))
    return {"shares": shares, "held": held, "gathered": kept, "db2": db2.tolist()}


def from_tensors(ranks):
    """The same from NumPy's arrays and from torch's tensors."""
    import torch

    x, (w1, b1, w2, b2), dy = layers(7, "float32")
    mlp = parallel.TensorParallelMLP(w1, b1, w2, b2, ranks=ranks)
    y, cache = mlp.forward(x)
    tensors = [torch.from_numpy(array) for array in (w1, b1, w2, b2)]
    by_torch = parallel.TensorParallelMLP(*tensors, ranks=ranks)
    other, other_cache = by_torch.forward(torch.from_numpy(x))
    dx = mlp.backward(dy, cache)[0]
    dx_other = by_torch.backward(torch.from_numpy(dy), other_cache)[0]
    before = w1.copy()
    mlp.parameters["w1"][:] = 0  # its own copy
    return {
        "y": float(np.max(np.abs(y - other.numpy()))),
        "dx": float(np.max(np.abs(dx - dx_other.numpy()))),
        "kind": type(other).__name__,
        "untouched": bool(np.array_equal(before, w1)),
        "whole": list(by_torch.gather()["w1"].shape),
    }


def trained_apart(ranks):
    """An MLP trained in parts by the lab's optimizer, and whole: the largest difference of a weight after 20 steps."""
    x, weights, target = layers(7, "float64")
    mlp = parallel.TensorParallelMLP(*weights, ranks=ranks)
    whole = dict(zip(("w1", "b1", "w2", "b2"), (w.copy() for w in weights), strict=True))
    steps, alone = nn.Optimizer("adam", mlp.parameters), nn.Optimizer("adam", whole)
    for _ in range(20):
        y, cache = mlp.forward(x)
        steps.step(dict(zip(whole, mlp.backward(ln.mse_backward(y, target), cache)[1:], strict=True)))
        y, cache = ln.mlp_forward(x, *whole.values())
        alone.step(dict(zip(whole, ln.mlp_backward(ln.mse_backward(y, target), cache)[1:], strict=True)))
    parts = mlp.gather()
    moved = max(float(np.max(np.abs(whole[name] - w))) for name, w in zip(whole, weights, strict=True))
    return {"apart": max(float(np.max(np.abs(whole[name] - parts[name]))) for name in whole), "moved": moved}


CURVES = {
    "float64": nn.Config(hidden=16, batch=32, epochs=4, seed=4, dtype="float64"),
    "float32": nn.Config(hidden=16, batch=32, epochs=4, seed=4),
    "tanh, momentum, mse": nn.Config(
        hidden=16, batch=32, epochs=3, seed=4, dtype="float64", activation="tanh", optimizer="momentum", loss="mse"
    ),
    "uneven": nn.Config(hidden=16, batch=47, epochs=4, seed=4, dtype="float64"),  # 24 + 23, the last 12 + 12
    "empty": nn.Config(hidden=16, batch=57, epochs=4, seed=4, dtype="float64"),  # 29 + 28, the last 1 + 0
}
"""Trainings on spirals with 400 examples, which 47 leave a batch of 24 and 57 a batch of 1."""


def curves(ranks):
    found = {}
    for name, config in CURVES.items():
        training = parallel.DataParallel(nn.spirals(), config, ranks=ranks)
        run = training.run()
        found[name] = {
            "losses": run.losses,
            "accuracy": run.accuracy,
            "parameters": {key: value.tolist() for key, value in training.network.parameters.items()},
        }
    return found


def stopped_and_resumed(ranks, folder):
    """Stopped by one rank's wish within an epoch, resumed from rank 0's file; and one that never stopped."""
    config = replace(CURVES["float32"], epochs=3)
    straight = parallel.DataParallel(nn.spirals(), config, ranks=ranks)
    straight.run()
    path = folder / f"of_{ranks.rank}.npz"  # only rank 0's is written
    stopped = parallel.DataParallel(nn.spirals(), config, ranks=ranks)
    record = stopped.run(stop=lambda: ranks.rank == 1 and stopped.step_number >= 17, checkpoint=path)
    resumed = parallel.DataParallel.resume(path, nn.spirals(), ranks=ranks)
    after = resumed.step_number
    resumed.run()
    same = all(np.array_equal(a, resumed.network.parameters[n]) for n, a in straight.network.parameters.items())
    return {
        "finished": record.finished,
        "steps": len(record.losses),
        "resumed": after,
        "same": same and resumed.losses == straight.losses,
        "notes": resumed.notes,
        "written": path.exists(),
    }


def refusals(ranks):
    """What is refused, on all ranks alike; the ranks go on after it."""
    spirals, config = nn.spirals(), nn.Config(batch=2)
    impl = ("cpp", "numpy")[ranks.rank]
    w1, b1, w2, b2 = layers(6 + ranks.rank, "float32")[1]

    def fails():
        raise FileNotFoundError("nothing there")

    tries = {
        "batch": lambda: parallel.DataParallel(spirals, nn.Config(batch=1), ranks=ranks),
        "data": lambda: parallel.DataParallel(nn.spirals(seed=ranks.rank), config, ranks=ranks),
        "config": lambda: parallel.DataParallel(spirals, nn.Config(impl=impl), ranks=ranks),
        "weights": lambda: parallel.TensorParallelMLP(w1, b1, w2, b2, ranks=ranks),
        "first": lambda: ranks.from_first(fails),
        "twice": lambda: parallel.start().__enter__(),
    }
    said = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


def collectives(ranks):
    """The collectives of a pass by ours and by torch's DTensor, and the largest difference of their results."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.debug import CommDebugMode
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    x, (w1, b1, w2, b2), dy = layers(7, "float64")
    x = np.asfortranarray(x)  # strides of another order
    mlp = parallel.TensorParallelMLP(w1, b1, w2, b2, ranks=ranks)
    model = torch.nn.Sequential(torch.nn.Linear(D, 7), torch.nn.GELU("tanh"), torch.nn.Linear(7, E)).double()
    for parameter, array in zip(model.parameters(), (w1.T, b1, w2.T, b2), strict=True):
        parameter.data = torch.tensor(array)
    plan = {"0": ColwiseParallel(use_local_output=False), "2": RowwiseParallel()}
    parallelize_module(model, init_device_mesh("cpu", (ranks.size,)), plan)
    counts, tensor = [], torch.tensor(x, requires_grad=True)

    def counted(call):
        with CommDebugMode() as mode:
            result = call()
        counts.append({str(name).rpartition(".")[2]: count for name, count in mode.get_comm_counts().items()})
        return result

    y, cache = counted(lambda: mlp.forward(x))
    dx = counted(lambda: mlp.backward(dy, cache))[0]
    theirs = counted(lambda: model(tensor))
    counted(lambda: theirs.backward(torch.tensor(dy)))
    apart = max(float(np.max(np.abs(a - b.detach().numpy()))) for a, b in ((y, theirs), (dx, tensor.grad)))
    return {"counts": counts, "apart": apart}


def main(folder):
    with parallel.start() as ranks:
        backends = [name for name in ("python", "numpy", "cpp", "torch") if ln.mlp_forward[name].available()]
        found = {
            "rank": ranks.rank,
            "threads": [ranks.threads, ln.num_threads()],
            "places": [str(place) for place in ranks.places],
            "tensor": {
                f"{impl} {h} {dtype} {form}": tensor_parallel(ranks, h, dtype, form, impl)
                for impl in backends
                for dtype, form in FORMS
                for h in ((7, 1) if impl == "cpp" else (7,))
            },
            "tensors": from_tensors(ranks),
            "trained": trained_apart(ranks),
            "collectives": collectives(ranks),
            "curves": curves(ranks),
            "stopped": stopped_and_resumed(ranks, folder),
            "refusals": refusals(ranks),
        }
        (folder / f"{ranks.rank}.json").write_text(json.dumps(found))
        ranks.barrier("what comes last")
        if ranks.rank == 1:
            raise ZeroDivisionError("this rank's own fault")
        ranks.sum(np.ones(3), "three ones")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
