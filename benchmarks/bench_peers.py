"""loopnest beside NumPy, torch and JAX, and beside the machine's limits: what `loopnest bench peers` measures.

Each function is a part: for a quick run or for a full one it makes one piece of work after another, and
loopnest/bench/peers/ asks the contenders to do it, in turn.
`python benchmarks/bench_peers.py gelu --quick` measures one
part in this process's own environment; the bars are in loopnest/bench/peers/bars.py.
"""

import dataclasses
import functools

import loopnest as ln
import numpy as np
from loopnest.backends.threads import processors
from loopnest.bench.peers import memory
from loopnest.bench.peers.bars import COPY, FMA, ONE_THREAD, READ
from loopnest.bench.peers.child import NotHere, Work, main
from loopnest.bench.peers.contenders import Loopnest, why_not_here
from loopnest.bench.peers.records import OURS, Item
from loopnest.bench.peers.rounds import Statement
from loopnest.machine import limits
from loopnest.numerics import gamma, precise
from loopnest.operation import Workload
from loopnest.operations.mlp.contract import MLPCache
from loopnest.verify import compare

SQUARES = (256, 384, 512, 768, 1024, 1536, 2048, 3072)
TOKENS = (1, 4, 16, 64, 128, 512, 2048)
WIDTHS = (384, 768, 1024)  # of MiniLM, of BERT base and GPT-2 small, of BERT large and GPT-2 medium; hidden: 4 times
MODEL, HIDDEN = 768, 3072  # GPT-2 small's width, and that of its MLP
ODD = (  # m, k, n
    *((333, 777, 555), (1000, 1, 1000), (17, 4096, 33), (4096, 64, 4096), (64, 4096, 64)),
    *((1023, 1025, 1027), (7, 100_003, 5), (3000, 3, 3000), (100_003, 13, 7), (97, 2048, 1531)),
)


# --- matmul


def squares(quick):
    for dtype in (np.float32, np.float64):
        for n in (256, 512, 1024) if quick else SQUARES:
            yield square("matmul-square", n, dtype)


def square(part, n, dtype, **facts):
    name = np.dtype(dtype).name
    tags = (name, "n >= 512" if n >= 512 else "n < 512")
    a, b = operands(n, n, n, dtype)
    limit = {FMA: (2 * n**3, [limits.multiply_adds(dtype)])}
    return product(part, f"{name}, n = {n}", a, b, tags=tags, limits=limit, **facts)


def tiny(quick):
    """From Python and into a new array, as one writes it. np.dot, which knows no stacks of matrices and so has less to
    find out before it starts, stands beside the peers and is not one of them."""
    for n in (4, 16, 64) if quick else (4, 8, 16, 32, 64, 128):
        a, b = operands(n, n, n)
        yield dataclasses.replace(
            product("matmul-tiny", f"n = {n}", a, b),
            unit="ns",
            amount=1,
            ask=lambda contender, a=a, b=b: contender.new_matmul(a, b),
            more={"np.dot": Statement("np.dot(a, b)", {"np": np, "a": a, "b": b}, list)},
        )


def transformer(quick):
    """NN, NT and TN: an operand with T is the transposed view of an array in row-major order."""
    for m in (1, 128) if quick else TOKENS:
        for k, n in ((MODEL, HIDDEN), (HIDDEN, MODEL)):
            for layout in ("NN", "NT", "TN"):
                a, b = operands(m, k, n)
                a = np.ascontiguousarray(a.T).T if layout[0] == "T" else a
                b = np.ascontiguousarray(b.T).T if layout[1] == "T" else b
                # One row reads b once: the limit is a reading of as much memory, again and again as b is.
                limit = {READ: (b.nbytes, [limits.reading(np.ones(b.size, b.dtype))])} if m == 1 else {}
                tags = (layout, *(["m = 1"] if m == 1 else []))
                yield product("matmul-transformer", f"{m} x {k} -> {n}, {layout}", a, b, tags=tags, limits=limit)


def odd(quick):
    for m, k, n in ODD[:5] if quick else ODD:
        yield product("matmul-odd", f"{m} x {k} x {n}", *operands(m, k, n))


def two_threads(quick):
    """Our own calls on two threads and on one, in turn; the peers on two."""
    if processors() < 2:
        raise NotHere("this process may run on one processor only")
    for n in (1024,) if quick else (1024, 2048, 3072):
        a, b = operands(n, n, n)
        limit = {FMA: (2 * n**3, [limits.multiply_adds(threads=2)])}
        work = product("threads", f"n = {n}", a, b, limits=limit)
        (alone,) = on_threads(1, a, b, Loopnest())
        yield dataclasses.replace(work, ask=functools.partial(on_threads, 2, a, b), more={ONE_THREAD: alone})


def on_threads(count, a, b, contender):
    """The contender's statements; our own are told how many threads to use before each turn."""
    prepare = functools.partial(ln.set_num_threads, count) if contender.name == OURS else None
    return [dataclasses.replace(form, prepare=prepare) for form in contender.matmul(a, b)]


def avx2(quick):
    if "v3" not in ln.isa_levels():
        raise NotHere(f"this processor's ISA levels are {', '.join(ln.isa_levels())}")
    ln.set_isa("v3")
    for n in (256, 1024) if quick else SQUARES:
        yield square("isa-v3", n, np.float32)


def product(part, name, a, b, **facts):
    (m, k), n = a.shape, b.shape[1]
    return Work(
        part=part,
        name=name,
        unit="GFLOP/s",
        amount=2 * m * k * n,
        operation="matmul",
        ask=lambda contender: contender.matmul(a, b),
        problems=product_check(a, b),
        **{"tags": (), **facts},
    )


def operands(m, k, n, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def product_check(a, b):
    """Holds rows and columns of a product to the contract's bound: the first, the last, and some between."""

    @functools.cache
    def exact_and_bound():
        return [part(a[some(len(a))], b), part(a, b[:, some(b.shape[1])])]

    def part(x, y):
        size = abs(x).astype(np.float64) @ abs(y).astype(np.float64)
        return precise(x) @ precise(y), gamma(x.shape[1], x.dtype) * size

    def problems(results):
        (c,) = results
        samples = c[some(len(c))], c[:, some(c.shape[1])]
        return [
            problem
            for sample, (exact, bound) in zip(samples, exact_and_bound(), strict=True)
            for problem in compare(sample, exact, bound, a.dtype, "a sample of the result")
        ]

    return problems


def some(length, count=8):
    return np.unique(np.linspace(0, length - 1, count).astype(int))


# --- GELU


def gelu(quick):
    """Of standard normal numbers, as layers get them, and without a bar of numbers three times as far, of which a tenth
    lies where GELU's tail is steep."""
    x = np.random.default_rng(0).standard_normal(65_536, np.float32)
    for form, approximate in (("tanh form", "tanh"), ("erf form", "none")):
        yield gelu_work(form, x, approximate, tags=(form,), unit="ns/element", amount=x.size)
        yield gelu_work(f"{form}, 3 x", 3 * x, approximate, tags=(), unit="ns/element", amount=x.size)
    n = 1 << (22 if quick else 24)
    x = np.random.default_rng(0).standard_normal(n, np.float32)
    copy = {COPY: (2 * x.nbytes, limits.copying(x, np.empty_like(x)))}
    yield gelu_work("tanh form", x, "tanh", tags=("into out",), unit="GB/s", amount=2 * x.nbytes, limits=copy)


def gelu_work(form, x, approximate, **facts):
    step = -(-x.size // 65_536)
    sample = x[::step]
    (exact,) = ln.gelu.contract.reference(sample, approximate=approximate)
    (bound,) = ln.gelu.contract.bound(sample, approximate=approximate)
    return Work(
        part="gelu",
        name=f"{form}, {x.size:,} floats",
        operation="gelu",
        ask=lambda contender: contender.gelu(x, approximate),
        problems=lambda results: compare(results[0][::step], exact, bound, x.dtype),
        **facts,
    )


# --- the MLP


def mlp(quick):
    yield from mlp_passes(next(w for w in ln.mlp_forward.contract.workloads if w.name == "gpt2-small-mlp-512"))


def mlp_passes(workload):
    """The flops that count are those of the products: two forward and four backward, all of one size."""
    shape = {axis: workload.shape[axis] for axis in "tdhe"}
    layers = ln.mlp_forward.contract.sample(workload, np.float32, np.random.default_rng(0)).inputs
    dy, cache = ln.mlp_backward.contract.sample(workload, np.float32, np.random.default_rng(0)).inputs
    products = 2 * shape["t"] * shape["h"] * (shape["d"] + shape["e"])
    passes = {
        "forward": (products, lambda contender: contender.mlp_forward(layers)),
        "forward and backward": (3 * products, lambda contender: contender.mlp_both(layers, dy)),
    }
    for name, (flops, ask) in passes.items():
        yield Work(
            part="mlp",
            name=name,
            tags=(name,),
            unit="GFLOP/s",
            amount=flops,
            operation="mlp_forward",
            ask=ask,
            problems=mlp_check(layers, dy, cache),
            limits={FMA: (flops, [limits.multiply_adds()])},
        )


def mlp_check(layers, dy, cache):
    """Holds y, and the gradients where there are any, to the contracts' bounds."""
    form = {"approximate": cache.approximate}

    @functools.cache
    def exact_and_bound():
        forward, backward = ln.mlp_forward.contract, ln.mlp_backward.contract
        exact = forward.reference(*layers, **form)[0], *backward.reference(dy, cache)
        bounds = forward.bound(*layers, **form)[0], *gradient_bounds(layers, dy, cache)
        return list(zip(exact, bounds, strict=True))

    def problems(results):
        return [
            problem
            for result, (exact, bound) in zip(results, exact_and_bound(), strict=False)
            for problem in compare(result, exact, bound, dy.dtype)
        ]

    return problems


def gradient_bounds(layers, dy, cache):
    """The backward pass's own bounds, and what the errors of the forward pass's z and h add, with |gelu''| <= 0.8."""
    _, z_error, h_error = ln.mlp_forward.contract.bound(*layers, approximate=cache.approximate)
    x, w1, _, w2, _ = (precise(array) for array in layers)
    dz_error = 0.8 * abs(precise(dy) @ w2.T) * z_error
    passed_on = dz_error @ abs(w1.T), abs(x.T) @ dz_error, dz_error.sum(axis=0), h_error.T @ abs(precise(dy)), 0
    return [own + more for own, more in zip(ln.mlp_backward.contract.bound(dy, cache), passed_on, strict=True)]


def mlp_memory(quick):
    reason = memory.why_not_here()
    if reason:
        raise NotHere(reason)
    costs = {name: memory.growth(name, 512, MODEL, HIDDEN) for name in memory.contenders()}
    yield Item("memory", f"512 x {MODEL} x {HIDDEN}", (), "MB", 1, costs, statements=memory.STATEMENTS)


# --- the MLP as torch's users call it


def torch_mlp(quick, part="torch-mlp"):
    """loopnest.torch.MLP and the nn.Sequential that it replaces, at transformers' widths, from one token to a batch."""
    for width in WIDTHS[1:2] if quick else WIDTHS:
        for tokens in (1, 128, 512) if quick else TOKENS:
            yield from module_passes(part, tokens, width, 4 * width)


def torch_mlp_threads(quick):
    if processors() < 2:
        raise NotHere("this process may run on one processor only")
    yield from torch_mlp(quick, "torch-mlp-threads")


def torch_calls(quick):
    """What calls cost where there is next to nothing to compute."""
    for work in module_passes("torch-calls", 1, 8, 8):
        yield dataclasses.replace(work, unit="ns", amount=1, limits={}, more=parts_of_a_call(1, 8, 8))


def parts_of_a_call(t, d, h):
    """Of the forward pass: the rung's kernel, and what torch takes for an operator in Python that does nothing."""
    import torch

    library = torch.library.Library("loopnest_bench", "FRAGMENT")
    if not hasattr(torch.ops.loopnest_bench, "nothing"):
        library.define("nothing(Tensor x) -> Tensor")
        library.impl("nothing", lambda x: x.new_empty(0), "CPU")
        LIBRARIES.append(library)  # an operator lives as long as its library
    arrays = [np.ones(shape, np.float32) for shape in ((t, d), (d, h), h, (h, d), d, (t, h), (t, h), (t, d))]
    kernel = {"kernel": ln.mlp_forward.fastest().kernel, "arrays": arrays}
    operator = {"nothing": torch.ops.loopnest_bench.nothing.default, "x": torch.ones(1)}
    return {
        "the kernel": Statement("kernel(*arrays, False)", kernel, list),
        "no kernel": Statement("nothing(x)", operator, list),
    }


LIBRARIES = []


def module_passes(part, t, d, h):
    reason = why_not_here("torch")
    if reason:
        raise NotHere(reason)
    workload = Workload(f"{t} x {d} x {h}", {"t": t, "d": d, "h": h, "e": d})
    rng = np.random.default_rng(0)
    layers = ln.mlp_forward.contract.sample(workload, np.float32, rng).inputs
    dy = rng.standard_normal((t, d), np.float32)
    form = {"approximate": "none"}
    _, z, hidden = (array.astype(np.float32) for array in ln.mlp_forward.contract.reference(*layers, **form))
    x, w1, _, w2, _ = layers
    problems = mlp_check(layers, dy, MLPCache(x, w1, w2, z, hidden, **form))
    products = 4 * t * d * h
    for name, flops, gradient in (("forward", products, None), ("forward and backward", 3 * products, dy)):
        yield Work(
            part=part,
            name=f"{workload}, {name}",
            tags=(name, workload.name),
            unit="GFLOP/s",
            amount=flops,
            operation="mlp_forward",
            ask=lambda contender, gradient=gradient: contender.mlp_module(layers, gradient),
            problems=problems,
            limits={FMA: (flops, [limits.multiply_adds(threads=ln.num_threads())])},
            peers=("torch",),
        )


PARTS = {
    "matmul-square": squares,
    "matmul-tiny": tiny,
    "matmul-transformer": transformer,
    "matmul-odd": odd,
    "threads": two_threads,
    "isa-v3": avx2,
    "gelu": gelu,
    "mlp": mlp,
    "memory": mlp_memory,
    "torch-mlp": torch_mlp,
    "torch-mlp-threads": torch_mlp_threads,
    "torch-calls": torch_calls,
}

if __name__ == "__main__":
    main(PARTS)
