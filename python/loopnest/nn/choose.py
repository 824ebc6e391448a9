"""Which implementation of each operation an id means: one id for a whole training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..backends import BACKENDS
from ..operation import Implementation, Operation, UnavailableError, UnknownImplementationError
from ..operations import OPERATIONS


@dataclass(frozen=True)
class Chosen:
    """An implementation for each operation by name, and what was not as it was asked for."""

    operations: Mapping[str, Implementation]
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Implementation:
        return self.operations[name]

    @property
    def ids(self) -> dict[str, str]:
        """The ids by operation."""
        return {name: k.id for name, k in self.operations.items()}


def choose(impl: str | Chosen | None, names: Iterable[str]) -> Chosen:
    """The implementations of the operations with these names that `impl` means.

    impl  None: the fastest of each that runs here. A backend's name, "cpp": its fastest of each. A rung's id,
          "numpy.vectorized": that rung, and for an operation that has none of this id the backend's fastest; a note
          says which. A rung that takes many seconds to start (torch.compile) is taken where it is asked for by id
          alone. What `choose` returned is returned as it is
    names  of all operations that belong together: it is enough that one of them has the id

    Raises UnknownImplementationError where no operation has the id or one has no rung of this backend, and
    UnavailableError where it cannot run here.

    >>> from loopnest import nn
    >>> nn.choose("numpy.vectorized", ["adam", "mlp_forward"]).ids
    {'adam': 'numpy.vectorized', 'mlp_forward': 'numpy.composed'}
    """
    if isinstance(impl, Chosen):
        return impl
    operations = [OPERATIONS[name] for name in names]
    if impl is None:
        return Chosen({op.name: op.fastest() for op in operations})
    if not isinstance(impl, str):
        raise TypeError(f"impl is {impl!r}, expected an id such as 'cpp' or 'numpy.vectorized', or None")
    backend = impl.partition(".")[0]
    ladders = {op.name: {k.id: k for k in op.ladder()} for op in operations}
    if impl not in BACKENDS and not any(impl in ladder for ladder in ladders.values()):
        known = sorted({k.id for op in operations for k in op.ladder() if k.backend == backend})
        hint = f"Those of {backend}: {', '.join(known)}" if known else f"Backends: {', '.join(BACKENDS)}"
        theirs = ", ".join(ladders)
        raise UnknownImplementationError(f"none of {theirs} has an implementation {impl!r}. {hint}")
    chosen: dict[str, Implementation] = {}
    others: dict[str, list[str]] = {}
    for op in operations:
        k = ladders[op.name].get(impl) or _fastest_of(op, backend)
        reason = k.why_unavailable()
        if reason is not None:
            raise UnavailableError(f"{op.name}: {k.id} cannot run here: {reason}")
        if k.id != impl != backend:
            others.setdefault(k.id, []).append(op.name)
        chosen[op.name] = k
    notes = [f"no {impl} of {', '.join(theirs)}: {id} instead" for id, theirs in others.items()]
    return Chosen(chosen, tuple(notes))


def _fastest_of(op: Operation, backend: str) -> Implementation:
    """The backend's fastest that runs here and starts at once."""
    rungs = [k for k in op.ladder() if k.backend == backend and not k.study]
    if not rungs:
        raise UnknownImplementationError(f"{op.name}: {backend} has no implementation of it, so it cannot train alone")
    for k in reversed(rungs):
        if k.available() and not k.slow_start:
            return k
    return rungs[-1]
