"""matmul for NVIDIA GPUs by numba.cuda: a Python function is compiled to what one thread does.

A grid of blocks of threads covers the result. The threads of a warp, 32 with neighbouring x, run in step: if they load
neighbouring addresses, the hardware makes one wide access of it. The shared memory of a block is as near as an L1
cache, and the program fills it. A rung is a kernel, and `_rung` copies a and b to the device and the result back.
"""

import functools
from typing import Any

from ...arrays import Array
from ...backends import CUDA, Implementation
from ...backends.cuda import Matrix, blocks, cuda, launch, on_device, to_device

TILE = 16  # rows and columns of a block's tile, and the steps of p that it takes at a time: 256 threads, 8 warps
THREAD_TILE = 4  # rows and columns that one thread keeps in registers: 16 sums, 8 values of a and b, 32-bit indices
DEPTH = 8  # the steps of p that a register-tiled block takes at a time: its two tiles are then 64 x 8, 4 KiB in float32
SPAN = TILE * THREAD_TILE

SQUARE = (TILE, TILE)  # threads of a block, x and y
WARPS = (4 * 32,)  # threads of a block: four warps, which cover its tile of SPAN x SPAN as 2 x 2
WARP_SPAN = 32  # rows and columns of a warp's tile: each of its 4 x 8 lanes has 8 x 4 elements
LANES_DOWN, LANES_ACROSS = 4, 8
ROWS, COLS = WARP_SPAN // LANES_DOWN, WARP_SPAN // LANES_ACROSS
SHARE = DEPTH * SPAN // WARPS[0]  # elements that a thread loads of each of a step's two tiles


def _product(kernel: Any, a: Any, b: Any, tile: int, block: tuple[int, ...] = SQUARE, rows_first: bool = False) -> Any:
    """a b of arrays on the device, none of them empty, in new memory there: a block of threads for each tile."""
    c = on_device((a.shape[0], b.shape[1]), a.dtype)
    grid = blocks(c.shape[1], tile), blocks(c.shape[0], tile)
    launch(kernel, grid[::-1] if rows_first else grid, block, a, b, c)
    return c


def _rung(kernel: Any, *how: Any, **facts: Any) -> Implementation:
    """The rung of a device kernel: a and b are copied to the device, and the result back."""

    @functools.wraps(kernel)
    def run(a: Array, b: Array, c: Array) -> None:
        if a.size and b.size:
            _product(kernel, to_device(a), to_device(b), *how).copy_to_host(c)
        else:
            c[...] = 0

    return CUDA.rung(run, **facts)


@cuda.jit
def naive(a: Matrix, b: Matrix, c: Matrix) -> None:
    """One thread an element, neighbouring threads in neighbouring rows.

    The grid does two of the triple loop's loops. Here x, which counts the threads of a warp, is the row: in a row-major
    a and c the 32 threads' addresses are a row apart, so a load is 32 memory accesses of 32 bytes and uses 4 bytes of
    each. The limit is that waste.
    """
    i, j = cuda.grid(2)
    if i < c.shape[0] and j < c.shape[1]:
        total = c.dtype.type(0)
        for p in range(a.shape[1]):
            total += a[i, p] * b[p, j]
        c[i, j] = total


@cuda.jit
def coalesced(a: Matrix, b: Matrix, c: Matrix) -> None:
    """The same thread, but x is the column: a warp's loads of b are neighbours.

    The 32 loads of b are then one access of 128 bytes, the loads of a are one address, and the store is one access. The
    limit is still memory: each thread reads 2k elements for 2k operations, and only the caches keep these reads from
    it.
    """
    j, i = cuda.grid(2)
    if i < c.shape[0] and j < c.shape[1]:
        total = c.dtype.type(0)
        for p in range(a.shape[1]):
            total += a[i, p] * b[p, j]
        c[i, j] = total


@cuda.jit
def tiled(a: Matrix, b: Matrix, c: Matrix) -> None:
    """A block loads a tile of a and a tile of b into shared memory, and uses each of their elements 16 times.

    The traffic from outside of the block falls to a sixteenth, and the loads of both matrices are coalesced. The limit
    is now shared memory: a multiply-add needs two loads from it, and a multiprocessor can do 128 multiply-adds a cycle
    but only 32 loads.
    """
    # On lines of their own: the simulator gives two shared arrays that are made on one line the same memory.
    a_tile = cuda.shared.array((TILE, TILE), dtype=c.dtype)
    b_tile = cuda.shared.array((TILE, TILE), dtype=c.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    zero = c.dtype.type(0)
    total = zero
    for p0 in range(0, a.shape[1], TILE):
        # Each thread loads one element of each tile; beyond the edge it takes 0, which adds nothing.
        a_tile[y, x] = a[i, p0 + x] if i < a.shape[0] and p0 + x < a.shape[1] else zero
        b_tile[y, x] = b[p0 + y, j] if p0 + y < b.shape[0] and j < b.shape[1] else zero
        cuda.syncthreads()  # the tiles are complete
        for p in range(min(TILE, a.shape[1] - p0)):
            total += a_tile[y, p] * b_tile[p, x]
        cuda.syncthreads()  # no thread reads the tiles any more
    if i < c.shape[0] and j < c.shape[1]:
        c[i, j] = total


@cuda.jit
def register_tiled(a: Matrix, b: Matrix, c: Matrix) -> None:
    """Each thread computes 4 x 4 elements, and keeps them and what they need in registers.

    For 16 multiply-adds it loads 8 elements from shared memory, where `tiled` loads 32. A block's tile is 64 x 64, so
    the block uses each element that it loads 64 times. The thread's rows and columns are 16 apart, so that a warp loads
    and stores neighbours. The limit is now the instructions for indices and loads. `cuda_cpp.vectorized` loads 16 bytes
    by one instruction: numba.cuda has float4 values, but cannot load an array's elements as one.
    """
    a_tile = cuda.shared.array((DEPTH, SPAN), dtype=c.dtype)
    b_tile = cuda.shared.array((DEPTH, SPAN), dtype=c.dtype)
    sums = cuda.local.array((THREAD_TILE, THREAD_TILE), dtype=c.dtype)
    a_part = cuda.local.array(THREAD_TILE, dtype=c.dtype)
    b_part = cuda.local.array(THREAD_TILE, dtype=c.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    i0, j0 = cuda.blockIdx.y * SPAN, cuda.blockIdx.x * SPAN
    zero = c.dtype.type(0)
    for i in range(THREAD_TILE):
        for j in range(THREAD_TILE):
            sums[i, j] = zero
    for p0 in range(0, a.shape[1], DEPTH):
        for n in range(y * TILE + x, DEPTH * SPAN, TILE * TILE):
            # a by columns of 8 and b by rows of 64: the order of row-major matrices.
            i, p = i0 + n // DEPTH, p0 + n % DEPTH
            a_tile[n % DEPTH, n // DEPTH] = a[i, p] if i < a.shape[0] and p < a.shape[1] else zero
            p, j = p0 + n // SPAN, j0 + n % SPAN
            b_tile[n // SPAN, n % SPAN] = b[p, j] if p < b.shape[0] and j < b.shape[1] else zero
        cuda.syncthreads()  # the tiles are complete
        for p in range(min(DEPTH, a.shape[1] - p0)):
            for i in range(THREAD_TILE):
                a_part[i] = a_tile[p, y + i * TILE]
                b_part[i] = b_tile[p, x + i * TILE]
            for i in range(THREAD_TILE):
                for j in range(THREAD_TILE):
                    sums[i, j] += a_part[i] * b_part[j]
        cuda.syncthreads()  # no thread reads the tiles any more
    for i in range(THREAD_TILE):
        for j in range(THREAD_TILE):
            row, col = i0 + y + i * TILE, j0 + x + j * TILE
            if row < c.shape[0] and col < c.shape[1]:
                c[row, col] = sums[i, j]


@cuda.jit
def warp_tiled(a: Matrix, b: Matrix, c: Matrix) -> None:
    """Each warp has a square tile of its own, 32 x 32, in a block's 64 x 64: its threads share what they load.

    For one p a warp reads 32 elements of a and 32 of b from shared memory, and multiplies 1,024 times; in
    `register_tiled` it reads 8 and 64 and multiplies 512 times. One access serves all lanes that need the same element.
    The limit is the barrier: all warps wait there while the next tiles come from memory.
    """
    a_tile = cuda.shared.array((DEPTH, SPAN), dtype=c.dtype)
    b_tile = cuda.shared.array((DEPTH, SPAN), dtype=c.dtype)
    sums = cuda.local.array((ROWS, COLS), dtype=c.dtype)
    a_part = cuda.local.array(ROWS, dtype=c.dtype)
    b_part = cuda.local.array(COLS, dtype=c.dtype)
    me = cuda.threadIdx.x
    warp, lane = me // 32, me % 32
    y = warp // 2 * WARP_SPAN + lane // LANES_ACROSS  # the thread's first row and column in the block's tile
    x = warp % 2 * WARP_SPAN + lane % LANES_ACROSS
    i0, j0 = cuda.blockIdx.y * SPAN, cuda.blockIdx.x * SPAN
    zero = c.dtype.type(0)
    for i in range(ROWS):
        for j in range(COLS):
            sums[i, j] = zero
    for p0 in range(0, a.shape[1], DEPTH):
        for n in range(me, DEPTH * SPAN, 128):
            i, p = i0 + n // DEPTH, p0 + n % DEPTH
            a_tile[n % DEPTH, n // DEPTH] = a[i, p] if i < a.shape[0] and p < a.shape[1] else zero
            p, j = p0 + n // SPAN, j0 + n % SPAN
            b_tile[n // SPAN, n % SPAN] = b[p, j] if p < b.shape[0] and j < b.shape[1] else zero
        cuda.syncthreads()  # the tiles are complete
        for p in range(min(DEPTH, a.shape[1] - p0)):
            for i in range(ROWS):
                a_part[i] = a_tile[p, y + i * LANES_DOWN]
            for j in range(COLS):
                b_part[j] = b_tile[p, x + j * LANES_ACROSS]
            for i in range(ROWS):
                for j in range(COLS):
                    sums[i, j] += a_part[i] * b_part[j]
        cuda.syncthreads()  # no thread reads the tiles any more
    for i in range(ROWS):
        for j in range(COLS):
            row, col = i0 + y + i * LANES_DOWN, j0 + x + j * LANES_ACROSS
            if row < c.shape[0] and col < c.shape[1]:
                c[row, col] = sums[i, j]


@cuda.jit
def double_buffered(a: Matrix, b: Matrix, c: Matrix) -> None:
    """Two pairs of tiles: while the warps multiply one, the next is on its way from memory.

    A load from the device's memory takes some 500 cycles. A step starts its loads before its multiplications and stores
    them afterwards. With two pairs of tiles one barrier a step is enough. The tiles are as in `warp_tiled`. The limit
    is instructions again: elements come one by one, where CUDA C++ loads four at once.
    """
    a_tiles = cuda.shared.array((2, DEPTH, SPAN), dtype=c.dtype)
    b_tiles = cuda.shared.array((2, DEPTH, SPAN), dtype=c.dtype)
    sums = cuda.local.array((ROWS, COLS), dtype=c.dtype)
    a_part = cuda.local.array(ROWS, dtype=c.dtype)
    b_part = cuda.local.array(COLS, dtype=c.dtype)
    a_next = cuda.local.array(SHARE, dtype=c.dtype)
    b_next = cuda.local.array(SHARE, dtype=c.dtype)
    me = cuda.threadIdx.x
    warp, lane = me // 32, me % 32
    y = warp // 2 * WARP_SPAN + lane // LANES_ACROSS
    x = warp % 2 * WARP_SPAN + lane % LANES_ACROSS
    i0, j0 = cuda.blockIdx.y * SPAN, cuda.blockIdx.x * SPAN
    zero = c.dtype.type(0)
    for i in range(ROWS):
        for j in range(COLS):
            sums[i, j] = zero
    # Step -1 multiplies nothing: it only loads the first tiles.
    now = 1
    for p0 in range(-DEPTH, a.shape[1], DEPTH):
        if p0 + DEPTH < a.shape[1]:
            for slot in range(SHARE):  # the next tiles are on their way while these are multiplied
                n = me + slot * 128
                i, p = i0 + n // DEPTH, p0 + DEPTH + n % DEPTH
                a_next[slot] = a[i, p] if i < a.shape[0] and p < a.shape[1] else zero
                p, j = p0 + DEPTH + n // SPAN, j0 + n % SPAN
                b_next[slot] = b[p, j] if p < b.shape[0] and j < b.shape[1] else zero
        if p0 >= 0:
            for p in range(min(DEPTH, a.shape[1] - p0)):
                for i in range(ROWS):
                    a_part[i] = a_tiles[now, p, y + i * LANES_DOWN]
                for j in range(COLS):
                    b_part[j] = b_tiles[now, p, x + j * LANES_ACROSS]
                for i in range(ROWS):
                    for j in range(COLS):
                        sums[i, j] += a_part[i] * b_part[j]
        now = 1 - now
        if p0 + DEPTH < a.shape[1]:
            for slot in range(SHARE):
                n = me + slot * 128
                a_tiles[now, n % DEPTH, n // DEPTH] = a_next[slot]
                b_tiles[now, n // SPAN, n % SPAN] = b_next[slot]
        cuda.syncthreads()  # the next tiles are complete, and no thread reads these any more
    for i in range(ROWS):
        for j in range(COLS):
            row, col = i0 + y + i * LANES_DOWN, j0 + x + j * LANES_ACROSS
            if row < c.shape[0] and col < c.shape[1]:
                c[row, col] = sums[i, j]


def product(a: Any, b: Any) -> Any:
    """a b in new memory on the device, by `register_tiled`."""
    return _product(register_tiled, a, b, SPAN)


RUNGS = {
    "matmul": [
        _rung(naive, TILE, SQUARE, True),
        _rung(coalesced, TILE, faster_than="cuda.naive"),
        _rung(tiled, TILE, faster_than="cuda.coalesced"),
        _rung(register_tiled, SPAN, faster_than="cuda.tiled"),
        _rung(warp_tiled, SPAN, WARPS, faster_than="cuda.tiled"),
        _rung(double_buffered, SPAN, WARPS, faster_than="cuda.tiled"),
    ]
}
