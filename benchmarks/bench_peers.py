"""What `loopnest bench peers` asks loopnest, NumPy, torch and JAX to do, and how their results are judged.

Each function is a part, and yields one piece of work after another for a quick run or a full one. A work has forms, the
lines of Python that are timed: every public way that a library has, and the fastest counts. Inputs are the library's
own arrays, with the same numbers in the same order in memory. `python benchmarks/bench_peers.py gelu --quick` measures
one part with this process's own environment.
"""

import dataclasses
import functools
import importlib
import importlib.util

import loopnest as ln
import numpy as np
from loopnest.backends.threads import processors
from loopnest.bench.peers import (
    COPY,
    FMA,
    ONE_THREAD,
    OURS,
    READ,
    Form,
    Item,
    Work,
    arrays,
    main,
)
from loopnest.machine import limits
from loopnest.numerics import gamma, precise
from loopnest.operation import UnavailableError, Workload
from loopnest.operations.mlp.contract import MLPCache
from loopnest.verify import compare

SQUARES = (256, 384, 512, 768, 1024, 1536, 2048, 3072)
TOKENS = (1, 4, 16, 64, 128, 512, 2048)
WIDTHS = (384, 768, 1024)  # of MiniLM, of BERT base and GPT-2 small, of BERT large and GPT-2 medium; hidden: 4 times
ODD = (  # m, k, n
    *((333, 777, 555), (1000, 1, 1000), (17, 4096, 33), (4096, 64, 4096), (64, 4096, 64)),
    *((1023, 1025, 1027), (7, 100_003, 5), (3000, 3, 3000), (100_003, 13, 7), (97, 2048, 1531)),
)


@functools.cache
def library(name):
    """torch or jax, set up to compute on this process's threads; None where it is not installed."""
    if importlib.util.find_spec(name) is None:
        return None
    module = importlib.import_module(name)
    if name == "torch":
        module.set_num_threads(ln.num_threads())
    else:
        module.config.update("jax_enable_x64", True)  # float64 arrays; float32 ones stay what they are
        module.config.update("jax_cpu_enable_async_dispatch", False)  # it would hand each call to another thread
    return module


# --- matmul


def squares(quick):
    for dtype in (np.float32, np.float64):
        for n in (256, 512, 1024) if quick else SQUARES:
            yield square("matmul-square", n, dtype)


def square(part, n, dtype):
    name = np.dtype(dtype).name
    limit = {FMA: (2 * n**3, [limits.multiply_adds(dtype)])}
    tags = (name, "n >= 512" if n >= 512 else "n < 512")
    return product(part, f"{name}, n = {n}", *operands(n, n, n, dtype), tags, limit)


def tiny(quick):
    """From Python and into a new array, as one writes it. np.dot takes no stacks of matrices and so has less to find
    out before it starts; it is shown and is not one of the peers."""
    for n in (4, 16, 64) if quick else (4, 8, 16, 32, 64, 128):
        a, b = operands(n, n, n)
        work = product("matmul-tiny", f"n = {n}", a, b, new=True)
        yield dataclasses.replace(work, item=dataclasses.replace(work.item, unit="ns", amount=1))


def transformer(quick):
    """NN, NT and TN: an operand with T is the transposed view of a row-major array."""
    for m in (1, 128) if quick else TOKENS:
        for k, n in ((768, 3072), (3072, 768)):
            for layout in ("NN", "NT", "TN"):
                a, b = operands(m, k, n)
                a = np.ascontiguousarray(a.T).T if layout[0] == "T" else a
                b = np.ascontiguousarray(b.T).T if layout[1] == "T" else b
                # One row reads b once: the limit is reading as much memory, again and again as b is.
                limit = {READ: (b.nbytes, [limits.reading(np.ones(b.size, b.dtype))])} if m == 1 else {}
                tags = (layout, *(["m = 1"] if m == 1 else []))
                yield product("matmul-transformer", f"{m} x {k} -> {n}, {layout}", a, b, tags, limit)


def odd(quick):
    for m, k, n in ODD[:5] if quick else ODD:
        yield product("matmul-odd", f"{m} x {k} x {n}", *operands(m, k, n))


def two_threads(quick):
    """Our own calls on two threads and on one, in turn; the peers on two."""
    two_processors()
    for n in (1024,) if quick else (1024, 2048, 3072):
        limit = {FMA: (2 * n**3, [limits.multiply_adds(threads=2)])}
        work = product("threads", f"n = {n}", *operands(n, n, n), limits=limit)
        ours, *theirs = work.forms
        two, one = (dataclasses.replace(ours, prepare=functools.partial(ln.set_num_threads, n)) for n in (2, 1))
        yield dataclasses.replace(work, forms=[two, dataclasses.replace(one, contender=ONE_THREAD), *theirs])


def two_processors():
    if processors() < 2:
        raise UnavailableError("this process may run on one processor only")


def avx2(quick):
    if "v3" not in ln.isa_levels():
        raise UnavailableError(f"this processor's ISA levels are {', '.join(ln.isa_levels())}")
    ln.set_isa("v3")
    for n in (256, 1024) if quick else SQUARES:
        yield square("isa-v3", n, np.float32)


def operands(m, k, n, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def product(part, name, a, b, tags=(), limits=None, new=False):
    """a @ b, into memory that is there, or into a new array."""
    (m, k), n, ours = a.shape, b.shape[1], chosen(ln.matmul)
    names = {"ln": ln, "np": np, "a": a, "b": b, "c": np.zeros((m, n), a.dtype)}
    if new:
        codes = {OURS: f"ln.matmul(a, b){ours}", "NumPy": "np.matmul(a, b)", "np.dot": "np.dot(a, b)"}
        forms = [Form(contender, code, names) for contender, code in codes.items()]
    else:
        forms = [Form(OURS, f"ln.matmul(a, b, out=c){ours}", names)]
        forms += [Form("NumPy", code, names) for code in ("np.matmul(a, b, out=c)", "np.dot(a, b, out=c)")]
    if torch := library("torch"):
        tensors = {"torch": torch, **{name: torch.from_numpy(names[name]) for name in "abc"}}
        codes = [
            "torch.mm(a, b, out=c)",
            "torch.mm(a, b)",
            *(["torch.mv(b.T, a[0], out=c[0])[None]"] if m == 1 else []),
        ]
        forms += [Form("torch", code, tensors) for code in (["torch.matmul(a, b)"] if new else codes)]
    if jax := library("jax"):
        forms += jax_products(jax, a, b)[: 1 if new else 2]
    return Work(Item(part, name, "GFLOP/s", 2 * m * k * n, tags), forms, product_check(a, b), limits or {})


def chosen(operation):
    """A comment: the implementation that a call chooses by itself."""
    return f"  # {operation.fastest().id}"


def jax_products(jax, a, b):
    """A compiled function; and one that gives the memory of its last result back for the next, which is JAX's `out`.

    JAX's arrays are row-major without gaps between rows, so the function transposes an operand that is a transposed
    view, and an operand with gaps is copied beforehand.
    """
    a_transposed, b_transposed = (x.strides[0] < x.strides[1] for x in (a, b))
    matmul = jax.jit(lambda a, b: (a.T if a_transposed else a) @ (b.T if b_transposed else b))
    again = jax.jit(lambda a, b, c: matmul(a, b), donate_argnums=2, keep_unused=True)
    a, b = (jax.numpy.array(x.T if t else x) for x, t in ((a, a_transposed), (b, b_transposed)))
    last = matmul(a, b)

    def matmul_again():
        nonlocal last
        last = again(a, b, last)
        return last

    return [
        Form("JAX", "matmul(a, b).block_until_ready()", {"matmul": matmul, "a": a, "b": b}),
        Form("JAX", "matmul_again().block_until_ready()", {"matmul_again": matmul_again}),
    ]


def product_check(a, b):
    """Holds rows and columns of a product to the contract's bound: the first, the last, and some between."""

    def exact_and_bound(x, y):
        return precise(x) @ precise(y), gamma(x.shape[1], x.dtype) * (
            abs(x).astype(np.float64) @ abs(y).astype(np.float64)
        )

    @functools.cache
    def expected():
        return exact_and_bound(a[some(len(a))], b), exact_and_bound(a, b[:, some(b.shape[1])])

    def problems(results):
        (c,) = results
        samples = zip((c[some(len(c))], c[:, some(c.shape[1])]), expected(), strict=True)
        return [
            p
            for found, (exact, bound) in samples
            for p in compare(found, exact, bound, a.dtype, "a sample of the result")
        ]

    return problems


def some(length, count=8):
    return np.unique(np.linspace(0, length - 1, count).astype(int))


# --- GELU


def gelu(quick):
    """Of standard normal numbers, as layers get them, and without a bar of numbers three times as far, of which a tenth
    lies where GELU's tail is steep."""
    x = np.random.default_rng(0).standard_normal(65_536, np.float32)
    for form, approximate in (("tanh form", "tanh"), ("exact form", "none")):
        yield gelu_work(form, x, approximate, "ns/element", x.size, (form,))
        yield gelu_work(f"{form}, 3 x", 3 * x, approximate, "ns/element", x.size)
    x = np.random.default_rng(0).standard_normal(1 << (22 if quick else 24), np.float32)
    copy = {COPY: (2 * x.nbytes, limits.copying(x, np.empty_like(x)))}
    yield gelu_work("tanh form", x, "tanh", "GB/s", 2 * x.nbytes, ("into out",), copy)


def gelu_work(form, x, approximate, unit, amount, tags=(), limits=None):
    step = -(-x.size // 65_536)
    contract, sample = ln.gelu.contract, x[::step]
    (exact,), (bound,) = (f(sample, approximate=approximate) for f in (contract.reference, contract.bound))
    forms = [
        Form(
            OURS,
            f"ln.gelu(x, approximate={approximate!r}, out=y){chosen(ln.gelu)}",
            {"ln": ln, "x": x, "y": np.empty_like(x)},
        )
    ]
    if torch := library("torch"):
        tensors = {"torch": torch, "F": torch.nn.functional, "x": torch.from_numpy(x), "y": torch.empty(x.shape)}
        codes = "F.gelu(x, approximate={!r})", "torch.ops.aten.gelu.out(x, approximate={!r}, out=y)"
        forms += [Form("torch", code.format(approximate), tensors) for code in codes]
    if jax := library("jax"):
        compiled = jax.jit(lambda x: jax.nn.gelu(x, approximate=approximate == "tanh"))
        forms += [Form("JAX", "gelu(x).block_until_ready()", {"gelu": compiled, "x": jax.numpy.array(x)})]
    item = Item("gelu", f"{form}, {x.size:,} floats", unit, amount, tags)
    return Work(item, forms, lambda results: compare(results[0][::step], exact, bound, x.dtype), limits or {})


# --- the MLP

LAYERS = ("x", "w1", "b1", "w2", "b2")


def mlp(quick):
    yield from mlp_passes(next(w for w in ln.mlp_forward.contract.workloads if w.name == "gpt2-small-mlp-512"))


def mlp_passes(workload):
    """Only the flops of the products count: two forward and four backward, all of one size."""
    t, d, h, e = (workload.shape[axis] for axis in "tdhe")
    layers = ln.mlp_forward.contract.sample(workload, np.float32, np.random.default_rng(0)).inputs
    dy, cache = ln.mlp_backward.contract.sample(workload, np.float32, np.random.default_rng(0)).inputs
    for name, flops, gradient in passes(2 * t * h * (d + e), dy):
        item = Item("mlp", name, "GFLOP/s", flops, (name,))
        limit = {FMA: (flops, [limits.multiply_adds()])}
        yield Work(item, mlp_forms(layers, gradient), mlp_check(layers, dy, cache), limit)


def passes(products, dy):
    return ("forward", products, None), ("forward and backward", 3 * products, dy)


def mlp_forms(layers, dy):
    """y; with dy, also the gradients dx, dw1, db1, dw2, db2. torch gets weights (in, out) and its own (out, in)."""
    names, y = (
        {"ln": ln, **dict(zip(LAYERS, layers, strict=True))},
        np.empty((len(layers[0]), len(layers[-1])), np.float32),
    )
    forward, ours = "ln.mlp_forward(x, w1, b1, w2, b2, out=y)", chosen(ln.mlp_forward)
    if dy is None:
        forms = [Form(OURS, f"{forward}{ours}", {**names, "y": y}, lambda results: [results[0]])]
    else:
        out = {"y": y, "dy": dy, "gradients": tuple(map(np.empty_like, layers))}
        code = f"ln.mlp_backward(dy, {forward}[1], out=gradients){ours}"
        forms = [Form(OURS, code, {**names, **out}, lambda gradients: [y, *gradients])]
    if torch := library("torch"):
        F = torch.nn.functional

        def in_out(x, w1, b1, w2, b2):
            return torch.addmm(b2, F.gelu(torch.addmm(b1, x, w1), approximate="tanh"), w2)

        def out_in(x, w1, b1, w2, b2):
            return F.linear(F.gelu(F.linear(x, w1, b1), approximate="tanh"), w2, b2)

        for mlp, weights, results in ((in_out, layers, arrays), (out_in, transposed(layers), transposed_back)):
            tensors = [torch.tensor(x, requires_grad=dy is not None) for x in weights]
            call = (
                mlp if dy is None else functools.partial(torch_training, torch.autograd.grad, mlp, torch.from_numpy(dy))
            )
            names = {"mlp": call, **dict(zip(LAYERS, tensors, strict=True))}
            forms.append(Form("torch", "mlp(x, w1, b1, w2, b2)", names, results))
    if jax := library("jax"):

        def mlp(x, w1, b1, w2, b2):
            return jax.nn.gelu(x @ w1 + b1, approximate=True) @ w2 + b2

        def training(*layers):
            y, backward = jax.vjp(mlp, *layers)
            return y, *backward(gradient)

        gradient = None if dy is None else jax.numpy.array(dy)
        inputs = dict(zip(LAYERS, map(jax.numpy.array, layers), strict=True))
        names = {"jax": jax, "mlp": jax.jit(mlp if dy is None else training), **inputs}
        forms.append(Form("JAX", "jax.block_until_ready(mlp(x, w1, b1, w2, b2))", names))
    return forms


def torch_training(grad, mlp, dy, *layers):
    y = mlp(*layers)
    return y, *grad(y, layers, dy)


def transposed(layers):
    """The same with weights (out, in)."""
    x, w1, b1, w2, b2 = layers
    return x, np.ascontiguousarray(w1.T), b1, np.ascontiguousarray(w2.T), b2


def transposed_back(results):
    """y, or y and the gradients, for weights (out, in), as they are for weights (in, out)."""
    return [x.T if place in (2, 4) else x for place, x in enumerate(arrays(results))]


def mlp_check(layers, dy, cache):
    """Holds y, and the gradients where there are any, to the contracts' bounds."""
    form = {"approximate": cache.approximate}
    forward, backward = ln.mlp_forward.contract, ln.mlp_backward.contract

    @functools.cache
    def expected():
        exact = forward.reference(*layers, **form)[0], *backward.reference(dy, cache)
        bounds = forward.bound(*layers, **form)[0], *gradient_bounds(layers, dy, cache)
        return list(zip(exact, bounds, strict=True))

    def problems(results):
        return [p for found, both in zip(results, expected(), strict=False) for p in compare(found, *both, dy.dtype)]

    return problems


def gradient_bounds(layers, dy, cache):
    """The backward pass's own bounds, and what the errors of the forward pass's z and h add, with |gelu''| <= 0.8."""
    _, z_error, h_error = ln.mlp_forward.contract.bound(*layers, approximate=cache.approximate)
    x, w1, _, w2, _ = (precise(array) for array in layers)
    dz_error = 0.8 * abs(precise(dy) @ w2.T) * z_error
    passed_on = dz_error @ abs(w1.T), abs(x.T) @ dz_error, dz_error.sum(axis=0), h_error.T @ abs(precise(dy)), 0
    return [own + more for own, more in zip(ln.mlp_backward.contract.bound(dy, cache), passed_on, strict=True)]


# --- the MLP as torch's users call it


def torch_mlp(quick, part="torch-mlp"):
    """loopnest.torch.MLP and the nn.Sequential that it replaces, at transformers' widths, from one token to a batch."""
    for width in WIDTHS[1:2] if quick else WIDTHS:
        for tokens in (1, 128, 512) if quick else TOKENS:
            yield from module_passes(part, tokens, width, 4 * width)


def torch_mlp_threads(quick):
    two_processors()
    yield from torch_mlp(quick, "torch-mlp-threads")


def torch_calls(quick):
    """What calls cost where there is next to nothing to compute; "no kernel" is an operator in Python that does
    nothing."""
    for work in module_passes("torch-calls", 1, 8, 8):
        torch = library("torch")
        nothing = torch.library.custom_op(
            "loopnest_bench::nothing", lambda x: x.new_empty(0), mutates_args=(), schema="(Tensor x) -> Tensor"
        )
        no_kernel = Form("no kernel", "nothing(x)", {"nothing": nothing, "x": torch.ones(1)})
        item = dataclasses.replace(work.item, unit="ns", amount=1)
        yield dataclasses.replace(work, item=item, forms=[*work.forms, no_kernel], limits={})


def module_passes(part, t, d, h):
    torch = library("torch")
    if torch is None:
        raise UnavailableError("torch is not installed: pip install 'loopnest[torch]'")
    import loopnest.torch

    nn, F = torch.nn, {"approximate": "none"}
    workload = Workload(f"{t} x {d} x {h}", {"t": t, "d": d, "h": h, "e": d})
    rng = np.random.default_rng(0)
    layers = ln.mlp_forward.contract.sample(workload, np.float32, rng).inputs
    dy = rng.standard_normal((t, d), np.float32)
    x, w1, _, w2, _ = layers
    _, z, hidden = (array.astype(np.float32) for array in ln.mlp_forward.contract.reference(*layers, **F))
    problems = mlp_check(layers, dy, MLPCache(x, w1, w2, z, hidden, **F))
    for name, flops, gradient in passes(4 * t * d * h, dy):
        item = Item(part, f"{workload}, {name}", "GFLOP/s", flops, (name, workload.name))
        modules = {
            OURS: loopnest.torch.MLP(d, h, d),
            "torch": nn.Sequential(nn.Linear(d, h), nn.GELU(), nn.Linear(h, d)),
        }
        forms = [module_form(contender, module, layers, gradient) for contender, module in modules.items()]
        yield Work(item, forms, problems, {FMA: (flops, [limits.multiply_adds(threads=ln.num_threads())])})


def module_form(contender, module, layers, dy):
    """A call of a module that has these weights, or with dy of it and of its gradients."""
    torch = library("torch")
    x, *weights = (torch.tensor(array) for array in transposed(layers))
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(weight)
    if dy is None:
        return Form(contender, "mlp(x)", {"mlp": module.requires_grad_(False), "x": x}, transposed_back)

    def gradients(mlp, x, dy):
        y = mlp(x)
        return y, *torch.autograd.grad(y, (x, *mlp.parameters()), dy)

    names = {"gradients": gradients, "mlp": module, "x": x.requires_grad_(), "dy": torch.from_numpy(dy)}
    return Form(contender, "gradients(mlp, x, dy)", names, transposed_back)


def operations(quick):
    """Every operation that NumPy or torch has, from the elements of a small operand to those of a large one."""
    import bench_sweep
    from loopnest.bench.sweep import OPERATIONS, Point, without_gaps

    for exponent in (8, 14, 20) if quick else (8, 10, 12, 14, 16, 18, 20, 22):
        n, elements = 1 << exponent // 2, 1 << exponent
        points = [without_gaps(n, n, n, "float32", "NN")] if exponent <= 20 else []
        points += [Point(n, 1, n, "float32", "", 0, 0, "sizes", op) for op in OPERATIONS]
        for point in points:
            (work,) = bench_sweep.works([point])
            item = Item(
                "operations", f"{point.op}, {elements:,}", work.item.unit, work.item.amount, (point.op, str(elements))
            )
            yield dataclasses.replace(work, item=item)


PARTS = {
    "matmul-square": squares,
    "matmul-tiny": tiny,
    "matmul-transformer": transformer,
    "matmul-odd": odd,
    "threads": two_threads,
    "isa-v3": avx2,
    "gelu": gelu,
    "mlp": mlp,
    "torch-mlp": torch_mlp,
    "torch-mlp-threads": torch_mlp_threads,
    "torch-calls": torch_calls,
    "operations": operations,
}

if __name__ == "__main__":
    main(PARTS)
