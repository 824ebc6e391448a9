"""What the memory layout costs: the same arithmetic on the same numbers, in another order in memory or in time.

Each row also has the bytes that the call moves, by the cache simulator (docs/layouts.md)."""

import loopnest as ln
import numpy as np
import pytest
from loopnest._core import kernels
from loopnest.backends import CPP
from loopnest.layout.traffic import Stream

COMPILED = ("numba", "cpp", "torch")


def rungs(operation, *backends):
    """The rungs of these backends, without the rungs that exist for one study only."""
    return [k for k in operation if k.backend in backends and not k.study]


def fastest_rungs(operation):
    """The fastest rung of NumPy and of each compiling backend.

    Without rungs for several threads, which the cache simulator does not know.
    """
    last = {k.backend: k for k in rungs(operation, "numpy", *COMPILED) if k.variant != "parallel"}
    return list(last.values())


def each(name, values):
    return pytest.mark.parametrize(name, values, ids=str)


def each_rung(implementations):
    return pytest.mark.parametrize("implementation", implementations, ids=lambda k: f"{k.operation.name}-{k.id}")


def each_workload(operation, *names):
    """The operation's workloads of these names, all cases of one before the next."""
    return each("workload", [workload for workload in operation.contract.workloads if workload.name in names])


def unless(quick):
    """The mark of parameters that a quick run leaves out."""
    return () if quick else pytest.mark.full


def in_order(layout, x):
    """x in row-major order (N) or in column-major order (T, as BLAS names a transposed operand)."""
    return np.asarray(x, order={"N": "C", "T": "F"}[layout])


def stepped(step, x):
    """x with `step` elements from each one to the next."""
    return _within((*x.shape[:-1], x.shape[-1] * step), x, np.s_[..., ::step])


def padded(columns, x):
    """x with this number of unused elements after each row."""
    return _within((x.shape[0], x.shape[1] + columns), x, np.s_[:, : x.shape[1]])


def _within(shape, x, part):
    view = np.zeros(shape, x.dtype)[part]
    view[...] = x
    return view


# --- the six orders of three loops

LOOP_ORDERS = {"naive": "ijk", "jik": "jik", "reordered": "ikj", "kij": "kij", "jki": "jki", "kji": "kji"}


@each_rung([ln.matmul[f"cpp.{variant}"] for variant in LOOP_ORDERS])
@each_workload(ln.matmul, "square-256", "square-512")
def test_loop_orders(measure, implementation, workload):
    order = LOOP_ORDERS[implementation.variant]
    measure(implementation, workload, study="matmul, six loop orders", case=order, replay=True)


# --- sums over elements that are neighbours in memory, and that are not


@each("step", [1, 2, 4, 8, 16])
@each_rung(fastest_rungs(ln.sum))
@each_workload(ln.sum, "square-256", "square-1024")
def test_strided_sum(measure, implementation, workload, step):
    measure(
        implementation,
        workload,
        study="sum, every element or every n-th",
        section=implementation.id,
        case="every element" if step == 1 else f"every {step}{'nd' if step == 2 else 'th'}",
        arrange=lambda a: (stepped(step, a),),
        replay=True,
    )


WISE = [k for k in ln.sum if k.variant in ("row_wise", "column_wise")]


@each_rung([k for k in WISE if k.available() and [other.backend for other in WISE].count(k.backend) == 2])
@each_workload(ln.sum, "square-1024", "square-4096")
def test_sum_by_rows_or_columns(measure, implementation, workload):
    # Without the padding the rows would be one long row, and there would be no columns to go down.
    measure(
        implementation,
        workload,
        study="sum, along rows or down columns",
        section=implementation.backend,
        arrange=lambda a: (padded(16, a),),
        replay=True,
    )


# --- operands in row-major and in column-major order

LOOP_ORDERS_ALONE = [ln.matmul[f"cpp.{order}"] for order in ("jik", "kij", "jki", "kji")]
"""The orders of the three loops that are not on the ladder."""


@each("layouts", ["NN", "NT", "TN", "TT"])
@each_rung(
    pytest.param(k, marks=unless(k.id in ("numpy.matmul", "cpp.naive", "cpp.reordered", "cpp.prefetched")))
    for k in [*rungs(ln.matmul, "numpy")[-1:], *rungs(ln.matmul, *COMPILED), *LOOP_ORDERS_ALONE]
)
@each_workload(ln.matmul, "square-256", "square-512")
def test_operands(measure, implementation, workload, layouts):
    measure(
        implementation,
        workload,
        study="matmul, operands row-major (N) or column-major (T)",
        section=implementation.id,
        case=layouts,
        arrange=lambda a, b: (in_order(layouts[0], a), in_order(layouts[1], b)),
        replay=True,
    )


# --- block sizes


def blocked_with(rows, inner, cols):
    """cpp.blocked with other block sizes than it chooses itself."""
    kernel = kernels["matmul"]["blocked_with"]
    whole = ln.matmul["cpp.blocked"]

    def blocked(a, b, out):
        kernel(a, b, out, rows, inner, cols)

    k = CPP.rung(blocked, files=whole.files)
    k.operation = ln.matmul
    return k


@pytest.mark.full
@each("cols", [16, 64, 256, 1024])
@each("inner", [8, 32, 128, 512])
@each_workload(ln.matmul, "square-512", "square-1024")
def test_block_sizes(measure, workload, inner, cols):
    kib = inner * cols * 4 / 1024
    size = f"{kib:g} KiB" if kib < 1024 else f"{kib / 1024:g} MiB"
    measure(
        blocked_with(512, inner, cols),
        workload,
        study="matmul, sizes of the block of b (inner x cols)",
        case=f"{inner} x {cols}, {size}",
        replay=Stream("matmul", "blocked_with", (512, inner, cols)),
    )


@pytest.mark.full
@each_workload(ln.matmul, "square-512", "square-1024")
def test_own_block_size(measure, workload):
    study = "matmul, sizes of the block of b (inner x cols)"
    measure(ln.matmul["cpp.blocked"], workload, study=study, case="its own choice", replay=True)


# --- rows a power of two apart, and a little further


COLUMN_WALKERS = {  # the rungs that go down the columns of an input, or in blocks do so for a while
    "matmul": rungs(ln.matmul, "cpp"),
    "transpose": [k for k in ln.transpose if k.backend == "cpp" and k.variant != "naive"],
    "sum": [k for k in ln.sum if k.backend in COMPILED and k.variant == "column_wise"],
}


@each("further", [0, 16])
@pytest.mark.parametrize(
    ("workload", "implementation"),
    [
        pytest.param(
            workload,
            k,
            id=f"{name}-{workload}-{k.id}",
            marks=unless(k.operation is not ln.matmul or k.variant == "naive"),
        )
        for name, walkers in COLUMN_WALKERS.items()
        for workload in ln.OPERATIONS[name].contract.workloads
        if workload.name in ("square-256", "square-512", "square-1024")
        for k in walkers
    ],
)
def test_leading_dimension(measure, implementation, workload, further):
    side = workload.shape["m"]
    measure(
        implementation,
        workload,
        study=f"{implementation.operation.name}, rows 2ⁿ elements apart or 16 more",
        section=implementation.id,
        case=f"2ⁿ + {further}" if further else "2ⁿ",
        arrange=lambda *inputs: tuple(padded(side + further, x) for x in inputs),
        replay=True,
    )


# --- transposes


@each_rung([k for k in ln.transpose if k.backend != "cuda"])
@each_workload(ln.transpose, "square-256", "square-1024", "square-2048", "square-4096")
def test_transpose(measure, implementation, workload):
    measure(implementation, workload, study="transpose, element by element or in blocks", replay=True)


# --- a row or a column added to each row or column


@each("shape", ["matrix", "row", "column"])
@each_rung(fastest_rungs(ln.add))
@each_workload(ln.add, "square-256", "square-1024")
def test_broadcast(measure, implementation, workload, shape):
    m, n = workload.shape["m"], workload.shape["n"]
    part = {"matrix": np.s_[:, :], "row": np.s_[:1, :], "column": np.s_[:, :1]}[shape]
    measure(
        implementation,
        workload,
        study="add, a matrix and a matrix, a row or a column",
        section=implementation.id,
        case=f"+ {shape}",
        arrange=lambda a, b: (a, b[part]),
        traffic=4 * (2 * m * n + {"matrix": m * n, "row": n, "column": m}[shape]),
        replay=True,
    )
