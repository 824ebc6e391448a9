"""The interface that all operations share, and that every promised rung is there and explains itself."""

import inspect

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, rungs
from loopnest.backends import BACKENDS, fastest_first

operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)

PROMISED_OPERATIONS = """
    dot sum matmul transpose add linear
    relu sigmoid tanh gelu relu_backward sigmoid_backward tanh_backward gelu_backward softmax
    mse mse_backward cross_entropy cross_entropy_backward mlp_forward mlp_backward sgd momentum rmsprop adam
"""

PROMISED_RUNGS = {
    "matmul": "python.naive python.reordered numpy.naive numpy.rows numpy.matmul numba.naive numba.reordered "
    "numba.blocked numba.register_tiled numba.parallel cuda.naive cuda.coalesced cuda.tiled cuda.register_tiled "
    "cuda.warp_tiled cuda.double_buffered cuda_cpp.naive cuda_cpp.coalesced cuda_cpp.tiled cuda_cpp.register_tiled "
    "cuda_cpp.vectorized cuda_cpp.warp_tiled cuda_cpp.double_buffered "
    "cpp.naive cpp.reordered cpp.jik cpp.jki cpp.kij cpp.kji cpp.blocked cpp.register_tiled cpp.packed cpp.prefetched "
    "cpp.parallel torch.eager torch.compiled"
}


@pytest.mark.parametrize("name", PROMISED_OPERATIONS.split())
def test_every_promised_operation_is_public_and_has_a_rung_in_each_backend(name):
    operation = getattr(ln, name)
    assert operation.name == name
    assert ln.OPERATIONS[name] is operation
    assert name in ln.__all__
    assert {"python", "numpy", "numba", "cpp", "torch"} <= {k.backend for k in operation}


@pytest.mark.parametrize(("name", "ids"), PROMISED_RUNGS.items())
def test_ladders_hold_the_promised_rungs(name, ids):
    assert set(ids.split()) <= {k.id for k in OPERATIONS[name]}


@operations
def test_a_ladder_goes_backend_by_backend_and_its_ids_are_unique(operation):
    ladder = operation.ladder()
    assert ladder == list(operation)
    order = [list(BACKENDS).index(k.backend) for k in ladder]
    assert order == sorted(order)
    assert len({k.id for k in ladder}) == len(ladder)


@operations
def test_an_id_gives_its_rung_and_a_backends_name_its_fastest_that_is_no_study(operation):
    for k in operation:
        assert operation[k.id] is k
        assert k.id == f"{k.backend}.{k.variant}"
        assert k.id in repr(k)
    for backend in {k.backend for k in operation}:
        climbing = [k for k in operation if k.backend == backend and not k.study]
        runs_here = [k for k in climbing if k.available()]
        assert operation[backend] is (runs_here or climbing)[-1]


@operations
def test_a_call_without_impl_takes_the_fastest_backend(operation):
    usable = (operation[backend] for backend in fastest_first() if operation._rungs(backend))
    assert operation.fastest() is next(k for k in usable if k.available())


@operations
def test_an_operation_has_the_docstring_and_signature_of_its_contract(operation):
    before, _, example = inspect.getdoc(operation.contract.run).partition("\n>>> ")
    assert operation.__doc__.startswith(before)
    assert operation.__doc__.endswith(example)
    assert '"cpp.naive"; the fastest that runs here' in operation.__doc__, "what all operations share"
    assert f"ln.{operation.name}(" in operation.__doc__, "the docstring has an example"
    parameters = inspect.signature(operation).parameters
    assert list(parameters)[-1] == "impl"
    assert "kernel" not in parameters
    assert operation.__name__ == operation.name


@rungs()
def test_every_rung_explains_itself(implementation):
    assert implementation.lesson.strip()
    assert 10 <= len(implementation.headline) <= 120, f"the lesson's first paragraph: {implementation.headline}"
    in_source = implementation.variant in implementation.source() or implementation.backend == "cpp"
    assert in_source, f"the source of {implementation.id} does not have the variant's name: use it in the function's"
    assert len(implementation.source()) > len(implementation.lesson) / 2


@operations
def test_no_two_rungs_of_a_backend_have_one_headline(operation):
    headlines = [(k.backend, k.headline) for k in operation]
    assert len(set(headlines)) == len(headlines)


def test_a_source_has_the_headers_that_a_lesson_needs():
    assert "struct Sums" in ln.matmul["cuda_cpp.warp_tiled"].source()


@operations
def test_claims_to_be_faster_name_rungs_of_the_ladder(operation):
    known = {k.id for k in operation}
    for k in operation:
        assert set(k.faster_than) <= known - {k.id}


@operations
def test_workloads_have_unique_names_and_count_their_work(operation):
    contract = operation.contract
    names = [workload.name for workload in contract.workloads]
    assert names
    assert len(set(names)) == len(names)
    assert len({tuple(workload.shape) for workload in contract.workloads}) == 1, "one set of axes"
    for workload in contract.workloads:
        assert contract.flops(**workload.shape) >= 0
        assert contract.traffic(8, **workload.shape) > contract.traffic(4, **workload.shape) > 0


def test_a_registered_rung_is_on_the_ladder_until_it_is_taken_away():
    @ln.matmul.register("mine.tiled")
    def tiled(a, b, out):
        """Mine."""
        np.matmul(a, b, out=out)

    try:
        k = ln.matmul["mine.tiled"]
        assert list(ln.matmul)[-1] is k
        assert k.available()
        assert (k.backend, k.variant, k.lesson) == ("mine", "tiled", "Mine.")
        assert "np.matmul(a, b, out=out)" in k.source()
        ones = np.ones((2, 2))
        np.testing.assert_array_equal(ln.matmul(ones, ones, impl="mine.tiled"), 2)
        assert ln.matmul.fastest() is not k
    finally:
        ln.matmul.unregister("mine.tiled")
    assert "mine.tiled" not in [k.id for k in ln.matmul]
