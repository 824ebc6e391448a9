"""The cache simulator: against a slow and obvious one and against closed forms."""

import re

import loopnest as ln
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopnest import _core
from loopnest.layout import traffic
from loopnest.layout.traffic import CacheLevel, Replay, Stream, simulate, stream_of
from loopnest.machine.records import Cache

ISA_LEVELS = ["v1", "v3", "v4"] if "v1" in ln.isa_levels() else ln.isa_levels()
SMALL = (CacheLevel(size=4096, ways=4, line=64), CacheLevel(size=65536, ways=8, line=64))


# --- a slow and obvious model


class Model:
    """Lists of lines, from the least to the most recently used."""

    def __init__(self, caches):
        self.caches = [(size // line // ways, ways, {}) for size, ways, line in caches]
        self.line = caches[0][2]
        self.changed = [set() for _ in caches]
        self.written_back = [0] * len(caches)

    def access(self, address, write):
        line = address // self.line
        found = self.look_for(0, line)
        if write:
            self.changed[0].add(line)
        return found

    def look_for(self, level, line):
        if level == len(self.caches):
            return level
        sets, ways, content = self.caches[level]
        place = content.setdefault(line % sets, [])
        if line in place:
            place.remove(line)
            place.append(line)
            return level
        if len(place) == ways:
            gone = place.pop(0)
            if gone in self.changed[level]:
                self.changed[level].remove(gone)
                self.write_back(level, gone)
        place.append(line)
        return self.look_for(level + 1, line)

    def write_back(self, level, line):
        self.written_back[level] += 1
        if level + 1 == len(self.caches):
            return
        sets, _, content = self.caches[level + 1]
        if line in content.get(line % sets, []):
            self.changed[level + 1].add(line)
        else:
            self.write_back(level + 1, line)


@st.composite
def hierarchies(draw):
    line = draw(st.sampled_from([16, 64]))
    levels = draw(st.integers(1, 4))
    return [
        (draw(st.integers(1, 6)) * ways * line, ways, line)
        for ways in draw(st.lists(st.integers(1, 4), min_size=levels, max_size=levels))
    ]


@st.composite
def walks(draw, caches):
    """Accesses that come back to few lines: to as many as the caches hold, about."""
    size, _, line = draw(st.sampled_from(caches))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    addresses = random.integers(0, size // line * draw(st.sampled_from([1, 2, 3])), 400) * line
    return addresses + random.integers(0, line, 400), random.random(400) < draw(st.sampled_from([0.0, 0.3, 1.0]))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_every_access_is_found_where_a_slow_and_obvious_model_finds_it(data):
    caches = data.draw(hierarchies())
    addresses, writes = data.draw(walks(caches))
    model = Model(caches)
    expected = [model.access(int(address), bool(write)) for address, write in zip(addresses, writes, strict=True)]
    assert _core.CacheSimulator(caches).access(addresses, writes).tolist() == expected


@pytest.mark.parametrize("variant", ["naive", "jki", "reordered", "packed"])
def test_a_rungs_lines_and_what_is_written_back_are_the_models(variant):
    """The recorded accesses of a rung, put to the model, give the counts that the rung's run gave."""
    a = np.ones((20, 24), np.float32)
    b = np.ones((24, 28), np.float32)
    caches = (CacheLevel(512, 2, 64), CacheLevel(2048, 4, 64))
    replay = Replay.of(ln.matmul[f"cpp.{variant}"], (a, b), caches)
    counted = replay.run()
    model = Model([(level.size, level.ways, level.line) for level in caches])
    found = [0, 0, 0]
    for access in Replay.of(ln.matmul[f"cpp.{variant}"], (a, b), caches).accesses():
        first, last = access["address"] // 64, (access["address"] + access["bytes"] - 1) // 64
        for line in range(first, last + 1):
            found[model.access(int(line) * 64, bool(access["write"]))] += 1
    assert found == [sum(counts[level] for counts in counted.found.values()) for level in range(3)]
    assert tuple(model.written_back) == counted.written_back


# --- closed forms


def rows_apart(n, apart):
    return np.ones((n, apart), np.float32)[:, :n]


def test_columns_whose_lines_do_not_fit_miss_at_every_element():
    """n lines of a column in a cache of fewer than n: n * n misses; along the rows each line misses once."""
    n, cache = 64, (CacheLevel(size=32 * 64, ways=32, line=64),)
    a = rows_apart(n, n + 16)
    down = simulate(ln.sum["cpp.column_wise"], a, caches=cache, warm=False)
    along = simulate(ln.sum["cpp.row_wise"], a, caches=cache, warm=False)
    assert down.misses("L1", "a") == n * n
    assert along.misses("L1", "a") == n * n // 16


def test_rows_a_power_of_two_apart_lose_their_lines_to_one_another_and_16_more_do_not():
    """64 lines, 512 bytes apart, fall into 8 of 64 sets, of 4 ways each; 64 bytes more spread them."""
    cache = (CacheLevel(size=64 * 4 * 64, ways=4, line=64),)
    apart = simulate(ln.sum["cpp.column_wise"], rows_apart(64, 128), caches=cache, warm=False)
    further = simulate(ln.sum["cpp.column_wise"], rows_apart(64, 128 + 16), caches=cache, warm=False)
    assert apart.misses("L1", "a") == 64 * 64
    assert further.misses("L1", "a") == 64 * 64 // 16


def test_a_row_major_product_misses_at_every_element_of_b_in_the_order_ijk_and_at_every_line_in_ikj():
    n, cache = 48, (CacheLevel(size=32 * 64, ways=32, line=64),)
    a = b = np.ones((n, n), np.float32)
    ijk = simulate(ln.matmul["cpp.naive"], a, b.copy(), caches=cache, warm=False)
    ikj = simulate(ln.matmul["cpp.reordered"], a, b.copy(), caches=cache, warm=False)
    assert ijk.misses("L1", "b") == n**3
    assert ikj.misses("L1", "b") == n**3 // 16


def test_blocked_transposes_move_each_line_once():
    n = 128
    cache = (CacheLevel(size=8192, ways=8, line=64),)
    blocked = simulate(ln.transpose["cpp.blocked"], np.ones((n, n + 16), np.float32)[:, :n], caches=cache, warm=False)
    naive = simulate(ln.transpose["cpp.naive"], np.ones((n, n + 16), np.float32)[:, :n], caches=cache, warm=False)
    assert blocked.misses("L1", "a") == n * n // 16
    assert blocked.misses("L1", "out") < 1.1 * n * n / 16
    assert naive.misses("L1", "out") > 0.9 * n * n


@pytest.mark.parametrize(("variant", "a", "b", "c"), [("naive", 1, 1, 0), ("jki", 1, 1, 2), ("reordered", 1, 1, 2)])
def test_accesses_are_those_of_the_source(variant, a, b, c):
    m, k, n = 5, 6, 7
    found = simulate(ln.matmul[f"cpp.{variant}"], np.ones((m, k), np.float32), np.ones((k, n), np.float32)).found
    assert [sum(found[name]) for name in "abc"] == [a * m * k * n, b * m * k * n, c * m * k * n + m * n]


def test_a_second_call_finds_what_fits():
    a, b = np.ones((2, 24, 24), np.float32)
    once = simulate(ln.matmul["cpp.naive"], a, b, caches=SMALL, warm=False)
    again = simulate(ln.matmul["cpp.naive"], a, b, caches=(CacheLevel(16384, 8),), warm=True)
    assert once.misses("L2") == 3 * 24 * 24 // 16
    assert again.misses("L1") == 0
    assert again.bytes("L1") == 0


def test_counts_do_not_depend_on_where_the_arrays_lie():
    counts = set()
    for shift in (0, 1, 17, 1000):
        room = np.ones(3 * 32 * 32 + 4096, np.float32)
        a, b = (room[shift + part * 1024 :][:1024].reshape(32, 32) for part in range(2))
        found = simulate(ln.matmul["cpp.packed"], a, b, caches=SMALL)
        counts.add((str(found.found), found.written_back))
    assert len(counts) == 1


# --- the rungs' own loops


def whole_numbers(shape, seed):
    """So small that products and sums of them are exact in every order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


LAYOUTS = {
    "C": lambda x: x,
    "F": lambda x: np.asarray(x, order="F"),
    "stepped": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("isa", ISA_LEVELS)
def test_a_traced_rung_computes_what_the_operation_is(isa, layout, monkeypatch):
    """So it is the rung's loop that is traced: whatever it left out would be missing in the result."""
    monkeypatch.setattr(traffic, "isa", lambda: isa)
    arrange = LAYOUTS[layout]
    matrices = [
        arrange(whole_numbers((23, 70), 1)),
        arrange(whole_numbers((70, 37), 2)),
        arrange(whole_numbers((23, 70), 3)),
    ]
    exact = {
        "matmul": ((0, 1), lambda a, b: a @ b),
        "transpose": ((0,), lambda a: a.T),
        "sum": ((0,), lambda a: a.sum()),
        "add": ((0, 2), lambda a, b: a + b),
    }
    for operation, variant in _core.traced_rungs(isa):
        chosen, reference = exact[operation]
        inputs = [matrices[i] for i in chosen]
        result = np.asarray(reference(*inputs))
        out = np.full(result.shape, np.nan, np.float32)
        k = ln.OPERATIONS[operation][f"cpp.{variant.replace('_with', '')}"]
        simulate(k, *inputs, caches=SMALL, stream=Stream(operation, variant, (7, 8, 9)), out=out)
        np.testing.assert_array_equal(out, result, err_msg=f"{operation} {variant}")


def test_every_rung_that_can_be_replayed_says_how_a_call_is_cut_into_parts():
    for operation, variant in _core.traced_rungs(_core.isa()):
        assert variant in traffic.LOOPS[operation], (operation, variant)


def test_every_loop_order_and_block_and_transpose_of_the_layout_study_can_be_replayed():
    for variant in ("naive", "jik", "jki", "kij", "kji", "reordered", "blocked", "register_tiled", "packed"):
        assert stream_of(ln.matmul[f"cpp.{variant}"])
    for variant in ("naive", "column_wise", "blocked"):
        assert stream_of(ln.transpose[f"cpp.{variant}"])
    assert stream_of(ln.matmul["cpp.parallel"]) is None
    assert stream_of(ln.matmul["numpy.matmul"]) is None


def test_rungs_with_the_same_loops_are_there():
    for operation, id in traffic.SAME_LOOPS:
        assert stream_of(ln.OPERATIONS[operation][id])


# --- large calls, in part


@pytest.mark.parametrize("orders", ["CC", "FF", "CF"])
@pytest.mark.parametrize("variant", ["naive", "jik", "reordered", "kij", "jki", "kji"])
def test_a_part_of_the_outermost_loop_stands_for_the_whole(variant, orders):
    a, b = (np.ones((96, 96), np.float32, order=order) for order in orders)
    caches = (CacheLevel(2048, 4), CacheLevel(16384, 8), CacheLevel(1 << 20, 16))
    k = ln.matmul[f"cpp.{variant}"]
    whole = simulate(k, a, b, caches=caches)
    part = Replay.of(k, (a, b), caches).in_part(traffic.LOOPS["matmul"][variant][1])
    assert part.accesses == whole.accesses
    assert part.asked == whole.asked
    for level in whole.levels:
        assert part.misses(level) == pytest.approx(whole.misses(level), rel=0.03, abs=100)
        assert part.bytes(level) == pytest.approx(whole.bytes(level), rel=0.03, abs=20_000)


@pytest.mark.parametrize(
    ("operation", "variant"),
    [("transpose", "naive"), ("transpose", "column_wise"), ("sum", "column_wise"), ("add", "simd")],
)
def test_so_it_does_for_the_other_operations(operation, variant):
    inputs = [np.ones((128, 160), np.float32)[:, :128]] * (1 + (operation == "add"))
    caches, k = (CacheLevel(2048, 4), CacheLevel(16384, 8)), ln.OPERATIONS[operation][f"cpp.{variant}"]
    whole = simulate(k, *inputs, caches=caches)
    part = Replay.of(k, inputs, caches).in_part(traffic.LOOPS[operation][variant][1])
    assert part.asked == whole.asked
    assert part.bytes("L1") == pytest.approx(whole.bytes("L1"), rel=0.03)


@pytest.mark.parametrize("variant", ["blocked", "packed"])
def test_a_pass_over_the_operands_stands_for_a_first_call(variant):
    a, b = np.ones((2, 160, 160), np.float32)
    caches = (CacheLevel(2048, 4), CacheLevel(16384, 8), CacheLevel(1 << 20, 16))
    k = ln.matmul[f"cpp.{variant}"]
    whole = simulate(k, a, b, caches=caches)
    replay = Replay.of(k, (a, b), caches)
    once = replay.within(int(1.5 * traffic.LOOPS["matmul"][variant][0] * 160**3))
    assert "after each operand" in once.how
    assert once.found.keys() == whole.found.keys()
    for level in whole.levels[:2]:
        assert once.bytes(level) == pytest.approx(whole.bytes(level), rel=0.03)


def test_an_estimate_says_what_was_replayed():
    replay = Replay.of(ln.matmul["cpp.reordered"], np.ones((2, 128, 128), np.float32))
    assert replay.within(10**9).how == ""
    assert "16 of 128 turns" in replay.within(10**7).how
    assert replay.within(10**4) is None


# --- what is refused


@pytest.mark.parametrize(
    ("caches", "message"),
    [
        ([(4096, 4, 48)], "lines of 48 bytes, expected a power of two"),
        ([(4096, 0, 64)], "0 ways, expected 1 or more"),
        ([(4000, 4, 64)], "4000 bytes, expected a multiple of ways x line = 256"),
        ([(0, 4, 64)], "0 bytes, expected a multiple"),
        ([(4096, 4, 64), (8192, 4, 32)], "level 2 has lines of 32 bytes, expected those of level 1, 64"),
        ([], "there is none"),
        ([(4096, 4, 64)] * 5, "5 levels, expected at most 4"),
    ],
)
def test_caches_that_cannot_be_are_refused(caches, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _core.CacheSimulator(caches)


def test_what_cannot_be_replayed_is_refused_with_what_can():
    a = np.ones((8, 8), np.float32)
    with pytest.raises(ValueError, match=r"numpy.matmul cannot be replayed; expected one of cpp.naive"):
        simulate(ln.matmul["numpy.matmul"], a, a)
    with pytest.raises(TypeError, match="inputs of float64, expected float32"):
        simulate(ln.matmul["cpp.naive"], a.astype(np.float64), a.astype(np.float64))
    with pytest.raises(ValueError, match="2 calls of the kernel"):
        simulate(ln.matmul["cpp.naive"], np.ones((2, 8, 8), np.float32), a)
    with pytest.raises(ValueError, match="no traced rung is called matmul tiled"):
        simulate(ln.matmul["cpp.naive"], a, a.copy(), stream=Stream("matmul", "tiled"))


def test_operands_outside_of_their_memory_are_refused():
    simulator, a, c = _core.CacheSimulator([(4096, 4, 64)]), np.ones((8, 8), np.float32), np.ones((8, 8), np.float32)
    with pytest.raises(ValueError, match="not within memory"):
        simulator.run("transpose", "naive", ln.isa(), [a, c], [a, c[:4]], (0, 0, 0), False)


def test_this_machines_caches_make_a_simulator(monkeypatch):
    assert len(traffic.this_machine()) >= 1
    odd = (Cache(1, 48 << 10, 12, 64, False), Cache(2, 1_310_720, 0, 0, True))
    monkeypatch.setattr(traffic, "machine_caches", lambda: odd)
    caches = traffic.this_machine.__wrapped__()
    assert caches == (CacheLevel(48 << 10, 12, 64), CacheLevel(1_310_720, 8, 64))
    monkeypatch.setattr(traffic, "machine_caches", lambda: ())
    assert [level.size for level in traffic.this_machine.__wrapped__()] == list(_core.cache_sizes())
