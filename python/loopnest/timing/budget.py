"""Which rung may run which workload? Its time on a smaller one, extrapolated, decides.

A rung starts on the smallest workload. From there on the time of a call is predicted from the rate that it reached so
far, so slow rungs stop early without a list that says so.
"""

from __future__ import annotations

from collections.abc import Callable

from ..operation import Contract, Workload

DENSER = 0.9
"""A workload that does less work with each byte than this fraction of a smaller one's is of another kind, as a product
with a single row is, and says nothing about the rest."""


def work_of(contract: Contract, workload: Workload, itemsize: int = 4) -> int:
    """Operations of a call, or bytes where there are more of these."""
    return max(contract.flops(**workload.shape), contract.traffic(itemsize, **workload.shape))


def by_work(contract: Contract) -> list[Workload]:
    """The workloads, from the least work to the most."""
    return sorted(contract.workloads, key=lambda workload: work_of(contract, workload))


def fitting(
    contract: Contract,
    seconds: float,
    measure: Callable[[Workload], float | None],
    *,
    itemsize: int = 4,
    most_bytes: int = 1 << 28,
) -> list[Workload]:
    """The workloads in which a call takes at most `seconds`, from the smallest to the largest; the smallest always.

    measure     gives the seconds of a call, of the slowest where several are compared; None where they are too short
                to predict the next from; math.inf to end the climb
    most_bytes  of a workload's arrays

    Each time predicts the next: what would take more than `seconds` is not measured. A call that takes twice as long
    after all ends the climb.
    """
    found: list[Workload] = []
    rate, density = 0.0, 0.0
    for workload in by_work(contract):
        work, nbytes = work_of(contract, workload, itemsize), contract.traffic(itemsize, **workload.shape)
        dense = contract.flops(**workload.shape) / nbytes
        if dense < DENSER * density:
            continue
        if found and ((rate and work / rate > seconds) or nbytes > most_bytes):
            break
        took = measure(workload)
        if found and took is not None and took > 2 * seconds:
            break
        found.append(workload)
        rate, density = (work / took if took else 0.0), dense
    return found
