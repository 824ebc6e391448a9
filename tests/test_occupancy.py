"""The occupancy calculator against NVIDIA's own, and against figures that NVIDIA's guides publish."""

import ctypes
import importlib.util
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from loopnest.inspect.occupancy import KIB, LIMITS, WARP, occupancy, reserved


@pytest.mark.parametrize(
    ("cc", "threads", "registers", "shared", "blocks", "percent", "limited_by"),
    [
        # CUDA C++ Best Practices Guide, "Calculating Occupancy", compute capability 7.0: 128 threads with 37 registers
        # are 75 % with 12 blocks; with 320 threads "only four 320-thread blocks can reside", 63 %.
        ((7, 0), 128, 37, 0, 12, 75, ("registers",)),
        ((7, 0), 320, 37, 0, 4, 63, ("registers",)),
        # The same: "to have 100% occupancy each thread can use at most 32 registers".
        ((7, 0), 256, 32, 0, 8, 100, ("warps", "registers")),
        ((7, 0), 256, 33, 0, 6, 75, ("registers",)),
        # NVIDIA Ampere GPU Architecture Tuning Guide, "Occupancy": 8.0 has 64 warps and 32 blocks, 8.6 has 48 and 16.
        ((8, 0), 64, 16, 0, 32, 100, ("warps", "blocks")),
        ((8, 6), 64, 16, 0, 16, 67, ("blocks",)),
        # Ada Tuning Guide: 48 warps and 24 blocks. Hopper Tuning Guide: 64 and 32.
        ((8, 9), 64, 16, 0, 24, 100, ("warps", "blocks")),
        ((9, 0), 64, 16, 0, 32, 100, ("warps", "blocks")),
        # Hopper Tuning Guide, "Unified Shared Memory/L1/Texture Cache": 228 KB, of which a block may have 227, since
        # 1 KB is reserved for each block: so two blocks of 113 KB fit and two of 114 KB do not.
        ((9, 0), 128, 32, 113 * 1024, 2, 13, ("shared memory",)),
        ((9, 0), 128, 32, 114 * 1024, 1, 6, ("shared memory",)),
        ((9, 0), 128, 32, 227 * 1024, 1, 6, ("shared memory",)),
        ((9, 0), 128, 32, 227 * 1024 + 1, 0, 0, ("shared memory",)),
        # Ampere Tuning Guide: 164 and 163 KB (8.0), 100 and 99 KB (8.6). Turing Tuning Guide: 64 KB, none reserved.
        ((8, 0), 128, 32, 163 * 1024, 1, 6, ("shared memory",)),
        ((8, 0), 128, 32, 164 * 1024, 0, 0, ("shared memory",)),
        ((8, 6), 128, 32, 99 * 1024, 1, 8, ("shared memory",)),
        ((7, 5), 128, 32, 64 * 1024, 1, 13, ("shared memory",)),
        ((7, 5), 128, 32, 32 * 1024, 2, 25, ("shared memory",)),
    ],
)
def test_published_figures(cc, threads, registers, shared, blocks, percent, limited_by):
    found = occupancy(cc, threads=threads, registers=registers, shared=shared)
    assert (found.blocks, found.limited_by) == (blocks, limited_by)
    assert not blocks or f"warps ({percent} %)" in found.sentence


ORACLE = """
#include <climits>
#include <cuda_occupancy.h>
extern "C" int ask(int major, int minor, int warps, int shared, int block_shared, int reserved,
                   int threads, int registers, int bytes, int* by) {
  cudaOccDeviceProp device;
  device.computeMajor = major;
  device.computeMinor = minor;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = 32 * warps;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.numSms = 1;
  device.sharedMemPerBlock = 48 * 1024;
  device.sharedMemPerMultiprocessor = shared;
  device.sharedMemPerBlockOptin = block_shared;
  device.reservedSharedMemPerBlock = reserved;
  cudaOccFuncAttributes kernel;
  kernel.maxThreadsPerBlock = INT_MAX;
  kernel.numRegs = registers;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = bytes;  // all of it dynamic, as more than 48 KiB must be
  kernel.numBlockBarriers = 1;
  cudaOccDeviceState state;
  cudaOccResult result;
  if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, bytes)) return -1;
  by[0] = result.blockLimitWarps, by[1] = result.blockLimitBlocks, by[2] = result.blockLimitRegs;
  by[3] = result.blockLimitSharedMem;
  return result.activeBlocksPerMultiprocessor;
}
"""


def _header():
    """The folder of NVIDIA's cuda_occupancy.h: from the extra `cuda`, or of a CUDA toolkit."""
    found = importlib.util.find_spec("nvidia")
    packages = [Path(place) for place in (found.submodule_search_locations if found else ())]
    toolkits = [Path(nvcc).resolve().parents[1] for nvcc in [shutil.which("nvcc")] if nvcc]
    folders = [place for package in packages for place in package.glob("*/include")]
    folders += [toolkit / "include" for toolkit in (*toolkits, Path("/usr/local/cuda"))]
    return next((folder for folder in folders if (folder / "cuda_occupancy.h").exists()), None)


@pytest.fixture(scope="module")
def nvidias(tmp_path_factory):
    """NVIDIA's calculator, which is a header of its toolkit: cuda_occupancy.h."""
    header = _header()
    if header is None:
        pytest.skip("NVIDIA's cuda_occupancy.h is not here: pip install 'loopnest[cuda]'")
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "ask.cpp").write_text(ORACLE)
    command = ["g++", "-shared", "-fPIC", f"-I{header}", str(folder / "ask.cpp"), "-o", str(folder / "ask.so")]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(folder / "ask.so")).ask


@pytest.mark.parametrize("cc", LIMITS, ids=str)
def test_nvidias_own_calculator_agrees(nvidias, cc):
    """On 1,500 random kernels: blocks, and what each resource allows."""
    rng, limits = random.Random(5), LIMITS[cc]
    launched, capacity = 0, (KIB * limits.shared, KIB * limits.block_shared, reserved(cc))
    for _ in range(1500):
        threads, registers = rng.randint(1, 1024), rng.randint(1, 255)
        shared = rng.choice((0, rng.randint(0, 8192), rng.randint(0, KIB * limits.block_shared + 2048)))
        by = (ctypes.c_int * 4)()
        blocks = nvidias(*cc, limits.warps, *capacity, threads, registers, shared, by)
        found = occupancy(cc, threads=threads, registers=registers, shared=shared)
        case = (cc, threads, registers, shared, found)
        assert found.blocks == blocks, case
        resources = ("warps", "blocks", "registers", "shared memory")
        assert [found.by.get(name, 2**31 - 1) for name in resources] == list(by), case
        assert found.warps == blocks * -(-threads // WARP)
        launched += blocks > 0
    assert launched > 500, "most of the cases can be launched"


def test_a_kernel_that_cannot_be_launched_is_said_to_be_so():
    found = occupancy((8, 0), threads=1024, registers=80)
    assert (found.blocks, found.limited_by) == (0, ("registers",))
    assert "cannot launch" in found.sentence
