"""A fake driver that has events, too: its clock goes by what was issued. Kernels run in the simulation."""

import pytest
from loopnest.timing import gpu_clock
from test_nvrtc import FakeDriver, Status, installed, needs_nvrtc

LAUNCH, FILL, EVENT = 10e-6, 300e-6, 1e-6
"""Seconds that each launch, each fill and each event takes."""


class FakeGpu(FakeDriver):
    """late: for how many event queries the host is behind."""

    class CUdevice_attribute(FakeDriver.CUdevice_attribute):
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = "multiprocessors"
        CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = "l2"

    def __init__(self, files):
        super().__init__(files)
        self.now, self.events, self.late = 0.0, {}, 0

    def cuDeviceGetAttribute(self, which, device):
        return self.ok({"major": 9, "minor": 0, "multiprocessors": 1, "l2": 60 << 20}[which])

    def cuDeviceGetName(self, length, device):
        return self.ok(b"NVIDIA H200\0\0")

    def cuDeviceTotalMem(self, device):
        return self.ok(139 << 30)

    def cuDriverGetVersion(self):
        return self.ok(13000)

    def cuEventCreate(self, flags):
        self.events[len(self.events)] = None
        return self.ok(len(self.events) - 1)

    def cuEventRecord(self, event, stream):
        assert stream == 0
        self.calls.append("event")
        self.events[event] = self.now
        self.now += EVENT
        return self.ok()

    def cuEventQuery(self, event):
        self.late -= 1
        return (Status(0 if self.late >= 0 else 600),)

    def cuEventSynchronize(self, event):
        self.calls.append("synchronize")
        return self.ok()

    def cuEventElapsedTime(self, start, stop):
        return self.ok(1e3 * (self.events[stop] - self.events[start]))

    def cuMemsetD8Async(self, pointer, value, size, stream):
        assert (value, size, stream) == (0, gpu_clock.FLUSH, 0)
        self.calls.append("fill")
        self.now += FILL
        return self.ok()

    def cuMemcpyDtoDAsync(self, target, source, size, stream):
        self.calls.append("copy")
        self.now += LAUNCH
        return self.ok()

    def cuLaunchKernel(self, *launch):
        self.now += LAUNCH
        return super().cuLaunchKernel(*launch)


@pytest.fixture
def fake_gpu(monkeypatch):
    """Install a fake driver for some .cu files."""
    if needs_nvrtc.args[0]:
        pytest.skip(needs_nvrtc.kwargs["reason"])
    monkeypatch.setattr(gpu_clock, "FLUSH", 1 << 12)

    def install(*files) -> FakeGpu:
        return installed(FakeGpu(files), monkeypatch)

    return install
