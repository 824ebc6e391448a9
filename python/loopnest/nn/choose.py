"""The implementation of each operation that one id means: for a whole training."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..backends import BACKENDS
from ..operation import Implementation, Operation, UnavailableError, UnknownImplementationError
from ..operations import OPERATIONS


def one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError if an argument is none of the known values."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")


@dataclass(frozen=True)
class Chosen:
    """An implementation for each operation by name, and notes on substitutes."""

    operations: Mapping[str, Implementation]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Implementation:
        return self.operations[name]

    @property
    def ids(self) -> dict[str, str]:
        return {name: k.id for name, k in self.operations.items()}


def choose(impl: str | Chosen | None, names: Iterable[str]) -> Chosen:
    """The implementations that `impl` means of the operations with these names.

    impl   None: the fastest of each that runs here. A backend's name, "cpp": its fastest of each. A rung's id,
           "numpy.vectorized": that rung; an operation without this id gets the backend's fastest, and a note says so.
           Only its own id chooses a rung that takes many seconds to start (torch.compile). A Chosen is returned as is
    names  all operations that belong together; one of them must have the id

    Raises UnknownImplementationError if no operation has the id, or one has no rung of this backend, and
    UnavailableError if a rung cannot run here.

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
    ladders = {op.name: {k.id: k for k in op} for op in operations}
    if impl not in BACKENDS and not any(impl in ladder for ladder in ladders.values()):
        known = sorted({k.id for op in operations for k in op if k.backend == backend})
        hint = f"{backend} has {', '.join(known)}" if known else f"Backends: {', '.join(BACKENDS)}"
        raise UnknownImplementationError(f"none of {', '.join(ladders)} has an implementation {impl!r}. {hint}")
    chosen: dict[str, Implementation] = {}
    substitutes: dict[str, list[str]] = {}
    for op in operations:
        k = ladders[op.name].get(impl) or _fastest_of(op, backend)
        reason = k.why_unavailable()
        if reason is not None:
            raise UnavailableError(f"{op.name}: {k.id} cannot run here: {reason}")
        if k.id != impl != backend:
            substitutes.setdefault(k.id, []).append(op.name)
        chosen[op.name] = k
    notes = [f"no {impl} of {', '.join(lacking)}: {id} instead" for id, lacking in substitutes.items()]
    return Chosen(chosen, tuple(notes))


def _fastest_of(op: Operation, backend: str) -> Implementation:
    """The backend's fastest rung that runs here and starts at once."""
    rungs = [k for k in op if k.backend == backend and not k.study]
    if not rungs:
        raise UnknownImplementationError(f"{op.name}: {backend} has no implementation of it, so it cannot train alone")
    return next((k for k in reversed(rungs) if k.available() and not k.slow_start), rungs[-1])
