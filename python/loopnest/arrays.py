"""NumPy arrays, torch tensors and JAX arrays as strided views, and every check of an argument.

The rest of the package sees NumPy arrays only. A torch tensor on the CPU shares its memory with the array that the
kernels get, and a result returns as a tensor over the memory that they filled: nothing is copied. A JAX array is read
in place on the CPU, and copied from other devices; results are handed to JAX. JAX arrays never change, so they cannot
be `out` or an optimizer's parameter.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _core

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FLOAT_NAMES = ("float32", "float64")

Array = np.ndarray[Any, Any]

HALVES = ("bfloat16", "float16")
"""The floats of 16 bits, which some operations take, too. NumPy gets bfloat16 from ml_dtypes."""

REDUCED = (*HALVES, "int8")
"""The dtypes of reduced precision."""


@functools.cache
def dtype_called(name: str) -> np.dtype[Any]:
    """NumPy's dtype of this name; bfloat16 is from ml_dtypes."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError("bfloat16 needs ml_dtypes, which is not installed: pip install ml_dtypes") from None
    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def name_of_dtype(value: Any) -> str:
    """The dtype's name, such as "bfloat16", of an array, a tensor or a scalar type; other text for anything else."""
    if isinstance(value, type):
        return value.__name__
    return str(getattr(value, "dtype", value)).removeprefix("torch.")


class CopyWarning(UserWarning):
    """An input was copied before a kernel could read it; the message says why, and how to avoid that."""


class Call:
    """The arrays of one call: inputs checked and unwrapped, results allocated or checked, and wrapped again.

    integers  the inputs that hold int64 (class labels); all others hold floats
    scales    the inputs that hold float32, whatever the others hold
    reduced   the dtypes of REDUCED that the others may have, too
    updated   the inputs that are updated in place (a parameter and an optimizer's state)

    >>> call = Call("add", a=np.ones(3), b=np.ones(3))
    >>> a, b = call.inputs
    >>> out = call.output(None, a.shape)
    >>> call.result(out).dtype
    dtype('float64')
    """

    def __init__(
        self,
        operation: str,
        /,
        *,
        integers: tuple[str, ...] = (),
        updated: tuple[str, ...] = (),
        scales: tuple[str, ...] = (),
        reduced: tuple[str, ...] = (),
        **inputs: Any,
    ) -> None:
        self.operation = operation
        self._reduced = reduced
        self._own = {**dict.fromkeys(integers, "int64"), **dict.fromkeys(scales, "float32")}
        self._updated = updated
        self._inputs = inputs
        self._torch = _torch_of(operation, inputs)
        self._jax = sys.modules.get("jax") if any(map(_is_jax, inputs.values())) else None
        self._named = {name: self._unwrap(name, value) for name, value in inputs.items()}
        self._given: list[tuple[Array, Any]] = []  # the results' arrays, and the caller's object for each
        self.inputs = tuple(self._named.values())
        first, *others = [name for name in inputs if name not in self._own]
        self.dtype = self._named[first].dtype
        for name in others:
            array = self._named[name]
            if array.dtype != self.dtype:
                raise TypeError(
                    f"{operation}: {name} has dtype {array.dtype}, expected {self.dtype} to match {first}; convert "
                    f"one of them, as in {name}.{self._cast(self.dtype)}"
                )
        for name in updated:
            self._check_updated(name)

    def sizes(self, **axes: str) -> dict[str, int]:
        """The size of each axis by its letter, as in sizes(x="mk", w="kn"), where all inputs fit together."""
        found: dict[str, tuple[int, str]] = {}
        for name, letters in axes.items():
            shape = self._named[name].shape
            known = ", ".join(str(found[letter][0]) if letter in found else letter for letter in letters)
            where = f"{self.operation}: {name} has shape {shape}, expected"
            expected = f"({known},)" if len(letters) == 1 else f"({known})"
            if len(shape) != len(letters):
                row = f"; make a vector a row with {name}[None, :]" if len(shape) == 1 else ""
                raise ValueError(f"{where} {('one axis', 'two axes')[len(letters) - 1]}, {expected}{row}")
            for letter, size in zip(letters, shape, strict=True):
                first, other = found.setdefault(letter, (size, name))
                if size != first:
                    raise ValueError(f"{where} {expected} to match {other}'s {self._named[other].shape}")
        return {letter: size for letter, (size, _) in found.items()}

    def same_shape(self) -> tuple[int, ...]:
        """The shape of the inputs, where they all have the first one's."""
        first, *others = self._named
        shape: tuple[int, ...] = self._named[first].shape
        for name in others:
            other = self._named[name].shape
            if other != shape:
                raise ValueError(f"{self.operation}: {name} has shape {other}, expected {shape} to match {first}")
        return shape

    def result_dtype(self, out_dtype: Any, sums: np.dtype[Any]) -> np.dtype[Any]:
        """The dtype of a result: the inputs', or the sums' where `out_dtype` asks for it or the inputs are int8."""
        own = sums if self.dtype == np.int8 else self.dtype
        if out_dtype is None:
            return own
        for dtype in (own, sums):
            if name_of_dtype(out_dtype) == dtype.name:
                return dtype
        expected = own.name if own == sums else f"{own} or {sums}"
        raise TypeError(
            f"{self.operation}: out_dtype is {name_of_dtype(out_dtype) or out_dtype!r}, expected {expected} for inputs "
            f"of {self.dtype}; leave it out for {own}"
        )

    def output(self, out: Any, shape: tuple[int, ...], name: str = "out", dtype: np.dtype[Any] | None = None) -> Array:
        """The array that receives a result: `out` after its checks, or a new one; of the inputs' dtype, or another."""
        dtype = dtype or self.dtype
        if out is None:
            return empty(shape, dtype)
        is_tensor = self._torch is not None and isinstance(out, self._torch.Tensor)
        array = self._memory(name, out) if is_tensor else out
        if is_tensor != (self._torch is not None) or not _is_plain_array(array):
            expected = "a torch tensor" if self._torch is not None else "a NumPy array"
            raise TypeError(
                f"{self.operation}: {name} is {_kind(out)}, expected {expected} like the inputs, or None for a new one"
            )
        wrong = self._why_no_output(array, shape, dtype)
        if wrong is not None:
            library = "torch" if is_tensor else "np"
            make = f"{library}.empty({shape}, dtype={_spelled(dtype, library)})"
            error = TypeError if wrong.startswith("has dtype") else ValueError
            raise error(f"{self.operation}: {name} {wrong}; make it with {make}")
        array = array.view(np.ndarray)
        self._given.append((array, out))
        return array

    def _why_no_output(self, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
        """Why an array cannot be `out` for a result of this shape."""
        if array.shape != shape:
            return f"has shape {array.shape}, expected {shape}"
        if array.dtype != dtype:
            whose = "the inputs' " if dtype == self.dtype else ""
            return f"has dtype {array.dtype}, expected {whose}{dtype}"
        if not array.flags.writeable:
            return "is read-only, expected a writeable array"
        if not (array.flags.c_contiguous and array.flags.aligned):
            order = "C order (row-major, no gaps) as in a new array"
            return f"has strides of {array.strides} bytes, expected {order}"
        for other, theirs in (*self._named.items(), *(("another result", theirs) for theirs, _ in self._given)):
            if _overlap(array, theirs):
                return (
                    f"overlaps {other} in memory, expected memory of its own, since a kernel writes results before it "
                    f"has read all inputs"
                )
        return None

    def result(self, array: Array) -> Any:
        """What the caller gets: the `out` that was given, or the new array, as a tensor where the inputs were."""
        for ours, given in self._given:
            if ours is array:
                self._count_change(given)
                return given
        if self._torch is not None:
            return self._tensor(array)
        if self._jax is not None:
            return self._jax.device_put(array)
        return array if array.ndim else array[()]

    def _unwrap(self, name: str, value: Any) -> Array:
        """The array over `value`'s memory."""
        if self._torch is not None:
            array = self._memory(name, value)
        else:
            array = np.asarray(value) if _is_jax(value) else value
        if type(array) is np.ndarray and name not in self._own and array.dtype in FLOATS and array.flags.aligned:
            return array  # the common case
        where = f"{self.operation}: {name}"
        if isinstance(array, np.generic):  # a NumPy scalar, as an array without axes is handed back
            array = np.asarray(array)
        if not _is_plain_array(array):
            raise TypeError(
                f"{where} is {_kind(value)}, expected a NumPy array, or a torch tensor or a JAX array on the CPU; "
                f"np.asarray({name}) makes one"
            )
        wanted = self._wanted(name)
        if array.dtype.name not in wanted or not array.dtype.isnative:
            fix = np.dtype(array.dtype.name if array.dtype.name in wanted else wanted[0])
            raise TypeError(
                f"{where} has dtype {array.dtype}, expected {' or '.join(wanted)} in this machine's byte order; "
                f"convert it with {name}.{self._cast(fix)}"
            )
        if not array.flags.aligned:
            problem = f"{where}'s elements do not lie at multiples of their size in memory"
            if name in self._updated:
                raise ValueError(
                    f"{problem}, expected an aligned array since it is updated in place; pass {name}.copy()"
                )
            warnings.warn(
                f"{problem}, so it is copied before the kernel runs; np.require({name}, requirements='A') does it once",
                CopyWarning,
                stacklevel=levels_to_caller(),
            )
            array = np.require(array, requirements="A")
        return array.view(np.ndarray)

    def start_update(self) -> None:
        """To be called before the kernel updates its inputs in place, once all arguments have passed their checks."""
        for name in self._updated:
            self._count_change(self._inputs[name])

    def _count_change(self, given: Any) -> None:
        """Raise a tensor's version, so that autograd refuses to go back through the old values."""
        if self._torch is not None:
            self._torch.autograd.graph.increment_version(given)

    def _wanted(self, name: str) -> tuple[str, ...]:
        return (self._own[name],) if name in self._own else (*FLOAT_NAMES, *self._reduced)

    def _tensor(self, array: Array) -> Any:
        """The tensor over an array's memory. torch does not know NumPy's bfloat16, so it gets the bits."""
        if array.dtype.kind == "V":
            return self._torch.from_numpy(array.view(np.int16)).view(self._torch.bfloat16)
        return self._torch.from_numpy(array)

    def _memory(self, name: str, tensor: Any) -> Array:
        """The array that shares a CPU tensor's memory."""
        where = f"{self.operation}: {name}"
        if tensor.requires_grad:
            raise ValueError(
                f"{where} requires grad, expected a tensor without: these kernels record no graph; pass {name}.detach()"
            )
        forward_mode = self._torch.autograd.forward_ad
        if forward_mode._current_level >= 0 and forward_mode.unpack_dual(tensor).tangent is not None:
            raise ValueError(
                f"{where} has a tangent of forward mode, expected a tensor without: these kernels compute none; pass "
                f"torch.autograd.forward_ad.unpack_dual({name}).primal"
            )
        if type(tensor) is not self._torch.Tensor and overrides_functions(self._torch.Tensor, type(tensor)):
            raise TypeError(
                f"{where} is {_kind(tensor)}, whose class gives torch's functions another meaning, expected a plain "
                f"tensor; pass {name}.as_subclass(torch.Tensor), if its numbers are what you mean"
            )
        if not tensor.is_cpu:
            raise ValueError(f"{where} is on the device {tensor.device}, expected cpu; pass {name}.cpu()")
        if tensor.layout is not self._torch.strided:
            raise ValueError(f"{where} has the layout {tensor.layout}, expected torch.strided; pass {name}.to_dense()")
        dtype = name_of_dtype(tensor)
        sums = ("int32",) if self._reduced and name not in self._inputs else ()  # a result of int8
        known = dtype in (*FLOAT_NAMES, "int64", *self._reduced, *sums)
        if tensor.is_neg() or (not known and tensor.is_conj()):
            raise ValueError(f"{where} is a lazy negation or conjugate, expected its values; pass {name}.clone()")
        if not known:
            wanted = self._wanted(name)[0]
            raise TypeError(
                f"{where} has dtype {tensor.dtype}, expected torch.{wanted}; convert it with "
                f"{name}.{self._cast(np.dtype(wanted))}"
            )
        if dtype == "bfloat16":
            tensor = tensor.view(self._torch.int16)
        array: Array = tensor.numpy()
        return array.view(dtype_called(dtype)) if dtype == "bfloat16" else array

    def _check_updated(self, name: str) -> None:
        array, where = self._named[name], f"{self.operation}: {name}"
        if not array.flags.writeable:
            raise ValueError(f"{where} is read-only, expected a writeable array: it is updated in place")
        if _may_overlap_itself(array):
            raise ValueError(
                f"{where} has strides of {array.strides} bytes, by which elements share memory, expected memory of "
                f"their own: it is updated in place; pass {name}.copy()"
            )
        for other, theirs in self._named.items():
            if other != name and _overlap(array, theirs):
                raise ValueError(f"{where} overlaps {other} in memory, expected memory of its own; pass a copy")

    def _cast(self, dtype: np.dtype[Any]) -> str:
        if self._torch is not None:
            return f"to(torch.{dtype})"
        return f"astype({_spelled(dtype, 'np')})"


def _spelled(dtype: np.dtype[Any], library: str) -> str:
    """A dtype as code for this library names it: NumPy's bfloat16 is ml_dtypes.bfloat16."""
    return f"{'ml_dtypes' if library == 'np' and dtype.kind == 'V' else library}.{dtype}"


Allocator = Callable[[tuple[int, ...], np.dtype[Any]], Array]

_allocate: Allocator = np.empty


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """New memory for a result. All results are allocated here or, on the fast path, by the same function there."""
    return _allocate(shape, dtype)


@contextmanager
def results_from(allocate: Allocator) -> Iterator[None]:
    """Inside, `allocate` makes the memory for all new results, so that tests can poison it with NaN."""
    before = _allocate
    _set_allocator(allocate)
    try:
        yield
    finally:
        _set_allocator(before)


def _set_allocator(allocate: Allocator) -> None:
    global _allocate
    _allocate = allocate
    _core.set_allocator(None if allocate is np.empty else allocate)  # the fast path has NumPy's own


def as_matrices(*views: Array) -> Iterator[tuple[Array, ...]]:
    """Arrays of one shape as 2-D views that cover the same elements, as few as their strides allow.

    This is how elementwise kernels take arrays of any shape and any strides. Neighbouring axes that every array steps
    through evenly are joined. The last two axes become the views' rows and columns; the generator loops over the
    others. Arrays in C order come as one row.

    >>> [x.shape for (x,) in as_matrices(np.ones((4, 5, 6)))]
    [(1, 120)]
    >>> [x.shape for (x,) in as_matrices(np.ones((4, 5, 6))[:, :, ::2])]
    [(1, 60)]
    >>> [x.shape for (x,) in as_matrices(np.ones((4, 6, 5))[:, ::2])]
    [(12, 5)]
    """
    if not views[0].size:
        return
    if all(view.flags.c_contiguous for view in views):
        yield tuple(view.reshape(1, -1) for view in views)
        return
    axes: list[tuple[int, list[int]]] = []  # each joined axis: its length, and every view's stride
    for axis, length in enumerate(views[0].shape):
        strides = [view.strides[axis] for view in views]
        if length == 1:
            continue
        if axes and all(outer == inner * length for outer, inner in zip(axes[-1][1], strides, strict=True)):
            axes[-1] = (axes[-1][0] * length, strides)
        else:
            axes.append((length, strides))
    while len(axes) < 2:
        axes.insert(0, (1, [0] * len(views)))
    shape = tuple(length for length, _ in axes)
    if shape == views[0].shape and len(shape) == 2:  # nothing was joined
        yield views
        return
    joined = [
        np.lib.stride_tricks.as_strided(view, shape, [steps[i] for _, steps in axes], writeable=view.flags.writeable)
        for i, view in enumerate(views)
    ]
    for outer in np.ndindex(shape[:-2]):
        yield tuple(view[outer] for view in joined)


def _torch_of(operation: str, inputs: dict[str, Any]) -> Any:
    """The torch module if the inputs are tensors, or None."""
    torch = sys.modules.get("torch")  # a tensor's owner has imported torch
    if torch is None or {*map(type, inputs.values())} == {np.ndarray}:
        return None
    tensors = [name for name, value in inputs.items() if isinstance(value, torch.Tensor)]
    for name, value in inputs.items():
        if tensors and name not in tensors:
            convert = "from_dlpack" if _is_jax(value) else "from_numpy"
            raise TypeError(
                f"{operation}: {name} is {_kind(value)}, expected a torch tensor like {tensors[0]}; convert one of "
                f"them, as in torch.{convert}({name}) or {tensors[0]}.numpy()"
            )
    if not tensors:
        return None
    introduce(torch)
    return torch


def _is_jax(value: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, getattr(jax, "Array", ()))


@functools.cache
def introduce(torch: Any) -> bool:
    """Show the extension what a tensor is, for the fast path; False if this version of torch cannot be read there."""
    return _core.accept_tensors(torch.Tensor, vars(torch.autograd.forward_ad))


def overrides_functions(base: Any, kind: Any) -> bool:
    """Whether a subclass of torch.Tensor or np.ndarray gives functions another meaning, as arrays with units do.

    np.memmap does not: what it holds are plain numbers.
    """

    def functions(name: str) -> tuple[Any, ...]:
        methods = getattr(kind, name), getattr(base, name)
        return tuple(getattr(method, "__func__", method) for method in methods)

    for name in ("__torch_function__", "__torch_dispatch__", "__array_ufunc__", "__array_function__"):
        if hasattr(base, name):
            own, plain = functions(name)
            if own is not plain and own.__name__ != "_disabled_torch_function_impl":  # torch.nn.Parameter's
                return True
    return False


def _is_plain_array(value: Any) -> bool:
    if type(value) is np.ndarray:
        return True
    refused = (np.ma.MaskedArray, np.matrix)  # a matrix's * is the product
    return isinstance(value, np.ndarray) and not (
        isinstance(value, refused) or overrides_functions(np.ndarray, type(value))
    )


def _kind(value: Any) -> str:
    """What `value` is, for an error message."""
    if _is_jax(value):
        return "a JAX array"
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else kind.__module__.split(".")[0] + "."
    return f"a {module}{kind.__qualname__}" if value is not None else "None"


def plain_dtype_of(value: Any) -> str:
    """The name of an array's or a tensor's dtype; "" for anything else, and for subclasses of their own meaning."""
    torch: Any = sys.modules.get("torch")
    is_tensor = torch is not None and isinstance(value, torch.Tensor)
    plain = not overrides_functions(torch.Tensor, type(value)) if is_tensor else isinstance(value, np.ndarray)
    return name_of_dtype(value) if plain or _is_jax(value) else ""


def levels_to_caller() -> int:
    """The stack level, as warnings.warn counts, of the first frame outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    return level


def _overlap(a: Array, b: Array) -> bool:
    if not np.may_share_memory(a, b):  # their extents are apart
        return False
    try:
        return np.shares_memory(a, b, max_work=100_000)  # type: ignore[arg-type]  # any number of steps, says its doc
    except np.exceptions.TooHardError:
        return True


def _may_overlap_itself(array: Array) -> bool:
    """Whether two indices may share memory: false if each axis steps past everything that the smaller steps reach."""
    if not array.size:
        return False
    reach = array.itemsize
    for stride, length in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach = stride * (length - 1) + reach
    return False
