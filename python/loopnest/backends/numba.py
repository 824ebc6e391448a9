"""How Numba compiles this package's kernels: without the GIL, in few forms, kept on disk.

A function decorated with `compiled` is compiled at its first call with a dtype and a layout, which takes from a tenth
of a second to two. A cache on disk keeps it for later processes (`__pycache__`, or Numba's folder in the user's cache).
Numba itself would compile 36 forms for a matmul's two inputs: each is in C order, Fortran order or has other strides,
and may be read-only. Here there are two for a dtype: all arrays in C order, whose loops the compiler can vectorize; and
any strides, read from the arrays at run time.
"""

import functools
import hashlib
import inspect
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from .rung import cannot_be_imported

WHY_NOT: str | None = None
"""Why Numba compiles nothing here. The kernels are then functions that are listed and read, and never called."""

try:
    from numba import config, from_dtype, njit, typeof, types, vectorize
    from numba.core.compiler_lock import global_compiler_lock
except Exception as error:  # whatever a broken installation raises
    WHY_NOT = cannot_be_imported("numba", error)
else:
    if config.DISABLE_JIT:
        WHY_NOT = "NUMBA_DISABLE_JIT is set, and Numba compiles nothing: unset it"
if WHY_NOT:

    def njit(**options: Any) -> Any:
        return lambda function: function


# Division by zero follows IEEE 754 instead of raising, and the compiler may contract a * b + c to one fused
# multiply-add, which rounds once instead of twice. Neither changes what happens to NaN and infinity.
_options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

# The same, and the compiler may add in another order: it can then keep a sum in the lanes of vector registers. The
# contracts' bounds for sums hold for every order. `nnan`, `ninf` and `nsz` would let the compiler ignore NaN, infinity
# and the sign of zero, so they are not set.
_reordering = {**_options, "fastmath": {"contract", "reassoc"}}


helper: Callable[[Any], Any] = njit(forceinline=True, **_options)
"""Declare a function that kernels call. It is compiled into them, and so into the loops that LLVM vectorizes."""

reordering_helper: Callable[[Any], Any] = njit(forceinline=True, **_reordering)
"""The same for a function whose sums the compiler may reorder."""


def compiled(
    function: Callable[..., None] | None = None, /, *, any_strides: tuple[str, ...] = (), reorder_sums: bool = False
) -> Any:
    """Declare a function of arrays and numbers to be a kernel that Numba compiles.

    any_strides   arguments that every form compiles for any strides. This costs nothing if their elements are read
                  outside of the innermost loop. Their layout then does not affect the other arguments' form.
    reorder_sums  the compiler may add in any order, and so vectorize sums
    """
    if function is None:
        return functools.partial(compiled, any_strides=any_strides, reorder_sums=reorder_sums)
    return CompiledKernel(function, any_strides, _reordering if reorder_sums else _options)


@functools.cache
def ufunc(function: Any, dtype: np.dtype[Any]) -> Any:
    """A NumPy ufunc of a `helper` that takes numbers and calls no other helper; compiled at the first use."""
    kind = from_dtype(dtype)
    signature = kind(*[kind] * function.py_func.__code__.co_argcount)
    try:
        return vectorize([signature], cache=True)(function.py_func)
    except (RuntimeError, OSError):  # see _cached
        return vectorize([signature])(function.py_func)


class CompiledKernel:
    """A function that Numba compiles when it is called, once for a dtype and a layout.

    py_func     the function that was written
    dispatcher  Numba's own object for it, with `inspect_llvm` and `inspect_asm`
    """

    def __init__(self, function: Callable[..., None], any_strides: tuple[str, ...], options: dict[str, Any]) -> None:
        self.py_func = function
        self.dispatcher = _cached(function, options)
        self._options = options
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._any_strides = [name in any_strides for name in inspect.signature(function).parameters]
        self._compiled: dict[tuple[Any, ...], Callable[..., None]] = {}

    def __call__(self, *args: Any) -> None:
        in_c_order, kinds = True, list[Any]()
        for arg, any_strides in zip(args, self._any_strides, strict=True):
            is_array = isinstance(arg, np.ndarray)
            kinds.append(arg.dtype if is_array else type(arg))
            in_c_order &= not is_array or any_strides or arg.flags.c_contiguous
        form = (in_c_order, *kinds)
        kernel = self._compiled.get(form)
        if kernel is None:
            kernel = self._compiled[form] = self._compile(args, in_c_order)
        kernel(*args)

    def signature(self, args: tuple[Any, ...], in_c_order: bool) -> tuple[Any, ...]:
        """Numba's types of the form for arguments like these."""
        return tuple(
            types.Array(from_dtype(arg.dtype), arg.ndim, "A" if any_strides or not in_c_order else "C")
            if isinstance(arg, np.ndarray)
            else typeof(arg)
            for arg, any_strides in zip(args, self._any_strides, strict=True)
        )

    def _compile(self, args: tuple[Any, ...], in_c_order: bool) -> Callable[..., None]:
        """The machine code for arguments like these, also for read-only arrays: no kernel writes its inputs."""
        signature = self.signature(args, in_c_order)
        try:
            kernel: Callable[..., None] = self.dispatcher.compile(signature)
        except OSError:  # the cache cannot be read, or its disk is full
            self.dispatcher = njit(**self._options)(self.py_func)
            kernel = self.dispatcher.compile(signature)
        if signature not in self.dispatcher.overloads:
            # The disk returned a form for other types: two processes that fill a cache at once can mix up its files.
            self.dispatcher.recompile()
            kernel = self.dispatcher.compile(signature)
        return kernel


def _cached(function: Callable[..., None], options: dict[str, Any]) -> Any:
    """Numba's dispatcher with a cache on disk, or without one if no folder can be written.

    Numba reuses a cached form as long as the function's own file is unchanged, although helpers and constants from
    other files were compiled into it. So its stamp is replaced by one of all `_ingredients`.
    """
    home = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~"))
    if not os.path.isabs(home) and "NUMBA_CACHE_DIR" not in os.environ:  # Numba would make a folder in the current one
        return njit(**options)(function)
    try:
        dispatcher = njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # neither __pycache__ nor the user's cache can be written
        return njit(**options)(function)
    cache_file: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if not hasattr(cache_file, "_source_stamp"):  # another version of Numba arranges its cache differently
        return njit(**options)(function)
    cache_file._source_stamp = hashlib.sha256("\n".join(_ingredients(function)).encode()).hexdigest()
    return dispatcher


def _ingredients(function: Callable[..., Any]) -> list[str]:
    """Everything in a compiled function: its text, the helpers that it calls, the constants that it reads."""
    found = [inspect.getsource(function)]
    for name in function.__code__.co_names:
        value: Any = function.__globals__.get(name)
        if hasattr(value, "py_func"):
            found += _ingredients(value.py_func)
        elif value is not None and not isinstance(value, ModuleType):
            found.append(f"{name} = {value!r}")
    return found


# Without this a child forked while another thread compiles would find the compiler locked for ever.
if not WHY_NOT:
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
