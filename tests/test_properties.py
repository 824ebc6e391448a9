"""Random views of random arrays: any shape, order, step and direction, as hypothesis draws them."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ladders import DTYPES, rungs
from loopnest.operation import Arguments
from loopnest.verify import judge_call

few = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@st.composite
def views(draw, shape, dtype):
    """A view of this shape of some larger array: its axes in any order, with any step, in any direction."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in shape]
    starts = [draw(st.integers(0, 2)) for _ in shape]
    slices = [slice(i, i + abs(d) * n, abs(d)) for i, d, n in zip(starts, steps, shape, strict=True)]
    memory = np.random.default_rng(draw(st.integers(0, 99))).standard_normal([slices[axis].stop + 1 for axis in order])
    view = memory.astype(dtype).transpose(np.argsort(order))[tuple(slices)]
    view = np.flip(view, [axis for axis, step in enumerate(steps) if step < 0])
    if view.ndim and view.size and draw(st.integers(0, 3)) == 0:
        view = np.broadcast_to(view[..., :1], view.shape)
    return view


lengths = st.integers(0, 20)
shapes = st.lists(st.integers(0, 6), min_size=0, max_size=4).map(tuple)


def judged(implementation, *inputs, **options):
    problems = judge_call(implementation, Arguments(inputs, options), layouts=None)
    assert not problems, "\n".join([*problems, *(f"{x.shape} {x.strides} {x.dtype}" for x in inputs)])


@rungs("matmul")
@few
@given(st.data())
def test_matmul(implementation, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    m, k, n = (data.draw(lengths) for _ in range(3))
    judged(implementation, data.draw(views((m, k), dtype)), data.draw(views((k, n), dtype)))


@rungs("transpose")
@few
@given(st.data())
def test_transpose(implementation, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    judged(implementation, data.draw(views((data.draw(lengths), data.draw(lengths)), dtype)))


@rungs("add")
@few
@given(st.data())
def test_add(implementation, data):
    dtype, shape = data.draw(st.sampled_from(DTYPES)), data.draw(shapes)
    other = tuple(1 if data.draw(st.booleans()) else length for length in shape)[data.draw(st.integers(0, 2)) :]
    pair = [data.draw(views(shape, dtype)), data.draw(views(other, dtype))]
    judged(implementation, *data.draw(st.permutations(pair)))


@rungs("sum")
@few
@given(st.data())
def test_sum(implementation, data):
    judged(implementation, data.draw(views(data.draw(shapes), data.draw(st.sampled_from(DTYPES)))))


@rungs("gelu")
@few
@given(st.data())
def test_gelu(implementation, data):
    x = data.draw(views(data.draw(shapes), data.draw(st.sampled_from(DTYPES))))
    judged(implementation, x, approximate=data.draw(st.sampled_from(["tanh", "none"])))
