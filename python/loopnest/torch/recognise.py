"""Which modules of a model are MLPs, and why are others not? Computations decide, not names.

torch.fx traces a block: it runs the block's method on a symbol instead of a tensor, and records the calls. An MLP is a
block whose whole trace is

    Linear, GELU, dropouts, Linear, dropouts     and for BERT's layers: + input, LayerNorm

in one chain, each step applied to the result of the step before. So no library is imported, and copies of a class are
recognised like the original. Traces run on copies of the modules that share their parameters: a method that stores
something in its module would store a symbol there.
"""

import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx

from . import swapped
from .checks import FLOATS, has_hooks
from .module import MLP
from .swapped import Module, Path, Plan, Swapped, is_conv1d, weight_of

GELUS = {
    "GELU": "none",  # timm's and others' classes; torch's own has its form in an attribute
    "GELUActivation": "none",
    "GELUTanh": "tanh",
    "PytorchGELUTanh": "tanh",
    "NewGELU": "tanh",
    "NewGELUActivation": "tanh",
    "FastGELUActivation": "tanh",
    "FastGELU": "tanh",
    "AccurateGELUActivation": "tanh",
}
"""The classes that are GELU, and the form of each; probe.py checks what they compute."""

LAYER_NAMES = (("c_fc", "c_proj"), ("fc1", "fc2"), ("lin1", "lin2"), ("linear1", "linear2"), ("w1", "w2"))
"""Common names of an MLP's two layers: a block with these names that is no MLP is listed with the reason."""


@dataclass(frozen=True)
class Found:
    """A block that is an MLP, or looks like one."""

    path: str  # of its module; in a longer nn.Sequential with its place there, as net[0:3]
    block: Module
    part: Module  # the MLP alone: the block, or an nn.Sequential of some of its children
    d: int
    h: int
    plan: Plan | None  # None if it is no MLP
    why: str = ""  # why it cannot be swapped


class _NotAnMLPError(Exception):
    """The reason why a block is no MLP."""


# --- layers and activations


def is_layer(module: Module) -> bool:
    """Whether a module is a linear layer of any kind: torch's, transformers' Conv1D, quantized, with LoRA."""
    return isinstance(module, torch.nn.Linear) or bool(re.search("Linear|Conv1D$", type(module).__name__))


def sizes(layer: Module) -> tuple[int, int] | None:
    """(in, out) of a layer; None if they cannot be read."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        inner, outer = getattr(layer, "in_features", None), getattr(layer, "out_features", None)
        return (inner, outer) if isinstance(inner, int) and isinstance(outer, int) else None
    outer, inner = weight_of(layer).shape
    return inner, outer


def _fit(first: Module, second: Module) -> bool:
    a, b = sizes(first), sizes(second)
    return a is not None and b is not None and a[1] == b[0]


def _check_layer(name: str, layer: Module) -> None:
    if type(layer) is not torch.nn.Linear and not is_conv1d(layer):
        raise _NotAnMLPError(f"{name} is a {_class(layer)}, not a plain nn.Linear")
    if getattr(layer, "weight", None) is None:
        raise _NotAnMLPError(f"{name} has no weight")
    for kind in ("weight", "bias"):
        tensor = getattr(layer, kind, None)
        if tensor is not None and type(tensor) not in (torch.nn.Parameter, torch.Tensor):
            raise _NotAnMLPError(f"{name}.{kind} is a {_class(tensor)}, not a plain tensor")


def _form_of(activation: Module) -> str:
    """GELU's form; raises _NotAnMLPError for another activation."""
    if type(activation) is torch.nn.GELU:
        return str(activation.approximate)
    name = type(activation).__name__
    if name not in GELUS or next(activation.parameters(), None) is not None:
        raise _NotAnMLPError(f"its activation is {_class(activation)}, not GELU")
    return GELUS[name]


def _class(thing: Any) -> str:
    """A class by its common name: nn.ReLU, transformers.SiLUActivation."""
    kind = type(thing)
    if kind.__module__.startswith("torch.nn.modules"):
        return f"nn.{kind.__name__}"
    library = kind.__module__.partition(".")[0]
    return f"{library}.{kind.__name__}" if library not in ("__main__", "builtins") else kind.__name__


# --- the trace


def twin(module: Module, *, training: bool = False, dtype: Any = None) -> Module:
    """A copy of a module and its children without hooks, with the same parameters, or with copies in `dtype`."""

    def converted(tensors: dict[str, Any]) -> dict[str, Any]:
        copies = {name: None if tensor is None else tensor.detach() for name, tensor in tensors.items()}
        return {
            name: t.to(dtype) if dtype and t is not None and t.is_floating_point() else t for name, t in copies.items()
        }

    hooks = [name for name in vars(module) if name.endswith(("_hooks", "_hooks_with_kwargs"))]
    children = {
        name: None if child is None else twin(child, training=training, dtype=dtype)
        for name, child in module._modules.items()
    }
    return swapped.with_class(
        module,
        type(module),
        **{name: type(vars(module)[name])() for name in hooks},
        _parameters=converted(module._parameters),
        _buffers=converted(module._buffers),
        _modules=children,
        training=training,
    )


class _Tracer(torch.fx.Tracer):
    def __init__(self, method: str) -> None:
        super().__init__()
        self.traced_func_name = method

    def is_leaf_module(self, module: Module, name: str) -> bool:
        """All but containers of layers, such as BERT's intermediate and output."""
        return is_layer(module) or not any(map(is_layer, module.modules()))


@dataclass(frozen=True)
class _Step:
    """One step of a block: a call of a module (path) or of GELU's function (form); neither: the sum with its input."""

    path: Path = ()
    form: str = ""

    @property
    def name(self) -> str:
        return ".".join(self.path) or ("the function gelu" if self.form else "the sum with its input")


def _trace(block: Module, method: str, training: bool) -> list[_Step]:
    """The block's chain of steps; raises _NotAnMLPError if it is no chain."""
    try:
        graph = _Tracer(method).trace(twin(block, training=training))
    except Exception as error:
        short = str(error).strip().partition("\n")[0][:80]
        raise _NotAnMLPError(f"torch.fx cannot trace its {method}: {type(error).__name__}: {short}") from error
    for node in reversed(graph.nodes):  # unused sizes and arguments
        if not node.users and node.op not in ("call_module", "output"):
            graph.erase_node(node)
    x, *nodes = graph.nodes
    last, steps = x, list[_Step]()
    for node in nodes:
        if x.op == "placeholder" and node.op == "output" and node.args == (last,):
            return steps
        steps.append(_step(node, x, last))
        last = node
    raise _NotAnMLPError(f"its {method} returns more than one tensor")


def _step(node: Any, x: Any, last: Any) -> _Step:
    if node.op == "call_module" and node.args == (last,) and not node.kwargs:
        return _Step(path=tuple(node.target.split(".")))
    if node.target is torch.nn.functional.gelu and node.args == (last,) and node.kwargs.keys() <= {"approximate"}:
        return _Step(form=node.kwargs.get("approximate", "none"))
    if node.target in (operator.add, torch.add) and set(node.args) == {x, last} and not node.kwargs:
        return _Step()
    what = getattr(node.target, "__name__", node.target)
    raise _NotAnMLPError(f"it does more than layer, GELU, layer: {what}")


# --- from steps to a plan


def _plan(block: Module, method: str, steps: Sequence[_Step]) -> Plan:
    """The plan of a block with these steps; raises _NotAnMLPError if they are not an MLP's."""
    modules = [swapped.at(block, step.path) if step.path else None for step in steps]
    layers = [i for i, module in enumerate(modules) if module is not None and is_layer(module)]
    if len(layers) != 2:
        raise _NotAnMLPError(f"it calls {len(layers)} layers, not two")
    if layers[0] != 0:
        raise _NotAnMLPError(f"it begins with {steps[0].name}, not with its first layer")
    second = layers[1]
    if second < 2:
        raise _NotAnMLPError("there is no activation between its layers")
    for i in layers:
        _check_layer(steps[i].name, modules[i])
    form = steps[1].form or (_form_of(modules[1]) if modules[1] is not None else "")
    if not form:
        raise _NotAnMLPError(f"{steps[1].name} follows the first layer, not GELU")
    with_norm = method == "feed_forward_chunk"
    between, after = range(2, second), range(second + 1, len(steps) - 2 if with_norm else len(steps))
    for i in (*between, *after):
        if type(modules[i]) not in (torch.nn.Dropout, torch.nn.Identity):
            where = "stands between GELU and" if i < second else "follows"
            raise _NotAnMLPError(f"{steps[i].name} {where} the second layer, where only dropout may")
    if with_norm and (steps[-2] != _Step() or type(modules[-1]) is not torch.nn.LayerNorm):
        raise _NotAnMLPError("its second layer is not followed by a LayerNorm of the sum with its input")
    if not _fit(modules[0], modules[second]):
        raise _NotAnMLPError(f"{steps[0].name} and {steps[second].name} do not fit each other")

    norm = steps[-1].path if with_norm else ()
    inside = [step.path for step in steps[: second + 1] if step.path]
    holders = dict.fromkeys(path[:n] for path in (*inside, norm) for n in range(1, len(path)))
    functions = [
        (path, name, value)
        for path in ((), *holders)
        for name, value in vars(swapped.at(block, path)).items()
        if callable(value) and not isinstance(value, type)
    ]
    return Plan(
        method=method,
        bypassed=tuple((path, type(swapped.at(block, path))) for path in (*holders, *inside)),
        first=steps[0].path,
        second=steps[second].path,
        gelu=steps[1].path,
        approximate=form,
        between=tuple(steps[i].path for i in between if type(modules[i]) is torch.nn.Dropout),
        after=tuple(steps[i].path for i in after),
        norm=norm,
        functions=() if steps[1].path else tuple(functions),
    )


# --- the blocks of a model


def blocks_of(model: Module) -> Iterator[Found]:
    """The blocks of a model that are MLPs or look like one, in the order of its modules."""
    for path, module in list(model.named_modules()):
        if isinstance(module, MLP | Swapped | torch.jit.ScriptModule):
            continue
        if type(module).forward is torch.nn.Sequential.forward:
            yield from _in_sequential(path, module)
        elif isinstance(module, torch.nn.TransformerEncoderLayer | torch.nn.TransformerDecoderLayer):
            yield _found(path, module, "_ff_block", (module.linear1, module.linear2))
        elif (layers := _bert_layers(module)) is not None:
            yield _found(path, module, "feed_forward_chunk", layers)
        elif (layers := _named_pair(module) or _only_pair(module)) is not None:
            found = _found(path, module, "ff_chunk" if hasattr(type(module), "ff_chunk") else "forward", layers)
            if found.plan or _named_pair(module) or "activation" in found.why:
                yield found


def _bert_layers(module: Module) -> tuple[Module, Module] | None:
    """The layers of a block built as BERT's: `intermediate` (a layer, an activation), `output` (a layer, …)."""
    holders = [module._modules.get(name) for name in ("intermediate", "output")]
    layers = [getattr(holder, "dense", None) for holder in holders]
    return (layers[0], layers[1]) if all(map(is_layer, layers)) and _fit(*layers) else None


def _named_pair(module: Module) -> tuple[Module, Module] | None:
    """A module's two layers by their common names."""
    pairs = ((module._modules.get(first), module._modules.get(second)) for first, second in LAYER_NAMES)
    return next((pair for pair in pairs if all(map(is_layer, pair))), None)


def _only_pair(module: Module) -> tuple[Module, Module] | None:
    """A module's two layers, in the order in which they fit together."""
    layers = [child for child in module._modules.values() if is_layer(child)]
    return (layers[0], layers[1]) if len(layers) == 2 and _fit(*layers) else None


def _found(path: str, block: Module, method: str, layers: tuple[Module, Module], part: Module = None) -> Found:
    """The block with the plan of its swap. `part` is the MLP, where the block is a longer nn.Sequential."""
    part = block if part is None else part
    d, h = sizes(layers[0]) or (0, 0)
    try:
        if not hasattr(type(block), method):
            raise _NotAnMLPError(f"it has intermediate and output as BERT's layers, but no {method} to swap")
        if "forward" in block.__dict__ or method in block.__dict__:
            raise _NotAnMLPError("its forward was replaced on this object, and would not run")
        for base in (torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer):
            if isinstance(block, base) and type(block).forward is not base.forward:
                raise _NotAnMLPError(f"its class has a forward of its own, not nn.{base.__name__}'s")
        steps = _trace(part, method, training=False)
        if steps != _trace(part, method, training=True):
            raise _NotAnMLPError("it computes another function in training mode")
        plan = _plan(part, method, steps)
    except _NotAnMLPError as error:
        return Found(path, block, part, d, h, None, str(error))
    return Found(path, block, part, d, h, plan, _why_not(part, plan))


def _why_not(part: Module, plan: Plan) -> str:
    """Why an MLP cannot be swapped; empty if it can."""
    for path, _ in plan.bypassed:
        name, module = ".".join(path), swapped.at(part, path)
        if has_hooks(module):
            return f"{name} has hooks or a forward of its own, which would not run"
        for kind, tensor in module._parameters.items():
            if tensor is not None and tensor.dtype not in FLOATS:
                return f"{name}.{kind} has dtype {str(tensor.dtype).removeprefix('torch.')}, not float32 or float64"
            if tensor is not None and not tensor.is_cpu:
                return f"{name}.{kind} is on the device {tensor.device}, not the CPU"
    return ""


def _in_sequential(path: str, block: Module) -> Iterator[Found]:
    """The runs Linear, activation, dropouts, Linear."""
    children = list(block._modules.values())
    kinds, start = "".join(map(_kind, children)), 0
    while run := re.compile("L[ad]d*L").search(kinds, start):
        start, end = run.span()
        layers = children[start], children[end - 1]
        if not _fit(*layers):
            start += 1
            continue
        whole = start == 0 and all(type(child) is torch.nn.Dropout for child in children[end:])
        part = swapped.with_class(block, type(block), _modules=dict(list(block._modules.items())[start:end]))
        found = _found(path if whole else f"{path}[{start}:{end}]", block, "forward", layers, part)
        yield found
        start = end if found.plan else start + 1


def _kind(child: Module) -> str:
    """What a child of an nn.Sequential is: L a layer, d dropout, a another module without parameters, x any other."""
    if is_layer(child):
        return "L"
    if type(child) in (torch.nn.Dropout, torch.nn.Identity):
        return "d"
    return "a" if next(child.parameters(), None) is None else "x"
