"""replace_mlps: what it finds in a model, what stays as it was, and what it leaves alone and why."""

import copy
import functools
import importlib.util
import io
import pickle
import re

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")

import loopnest.torch as lt  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from loopnest.torch import swapped  # noqa: E402
from torch import nn  # noqa: E402
from torch._dynamo.backends.registry import lookup_backend  # noqa: E402

D, H = 12, 40


# --- the blocks, written as the libraries write them


class Conv1D(nn.Module):
    """transformers' layer of GPT-2: its weight is (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        size_out = (*x.size()[:-1], self.nf)
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(size_out)


class NewGELUActivation(nn.Module):
    def forward(self, input):
        inner = 0.7978845608028654 * (input + 0.044715 * torch.pow(input, 3.0))
        return 0.5 * input * (1.0 + torch.tanh(inner))


class FastGELUActivation(nn.Module):
    def forward(self, input):
        return 0.5 * input * (1.0 + torch.tanh(input * 0.7978845608 * (1.0 + 0.044715 * input * input)))


class QuickGELUActivation(nn.Module):
    def forward(self, input):
        return input * torch.sigmoid(1.702 * input)


class GPT2MLP(nn.Module):
    def __init__(self, act=None, dropout=0.1, layer=Conv1D):
        super().__init__()
        self.c_fc = layer(H, D) if layer is Conv1D else layer(D, H)
        self.c_proj = layer(D, H) if layer is Conv1D else layer(H, D)
        self.act = act or NewGELUActivation()
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states):
        hidden_states = self.c_fc(hidden_states)
        hidden_states = self.act(hidden_states)
        hidden_states = self.c_proj(hidden_states)
        return self.dropout(hidden_states)


class TimmMlp(nn.Module):
    def __init__(self, drop=0.0):
        super().__init__()
        self.fc1, self.act, self.drop1 = nn.Linear(D, H), nn.GELU(), nn.Dropout(drop)
        self.norm = nn.Identity()
        self.fc2, self.drop2 = nn.Linear(H, D), nn.Dropout(drop)

    def forward(self, x):
        return self.drop2(self.fc2(self.norm(self.drop1(self.act(self.fc1(x))))))


class FunctionalMLP(nn.Module):
    """With GELU as a function, and names of its own."""

    def __init__(self, **form):
        super().__init__()
        self.wide, self.narrow, self.form = nn.Linear(D, H, bias=False), nn.Linear(H, 7), form

    def forward(self, x):
        return self.narrow(F.gelu(self.wide(x), **self.form))


class WithUnused(FunctionalMLP):
    """With an argument and a size that its result does not depend on."""

    def forward(self, x, mask=None):
        rows = x.shape[0] * 2
        del rows
        return super().forward(x)


class BertIntermediate(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.dense, self.intermediate_act_fn = nn.Linear(D, H), act

    def forward(self, hidden_states):
        return self.intermediate_act_fn(self.dense(hidden_states))


class BertOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense, self.LayerNorm, self.dropout = nn.Linear(H, D), nn.LayerNorm(D, eps=1e-12), nn.Dropout(0.1)

    def forward(self, hidden_states, input_tensor):
        hidden_states = self.dropout(self.dense(hidden_states))
        return self.LayerNorm(hidden_states + input_tensor)


class BertLayer(nn.Module):
    """Without its attention."""

    def __init__(self, act=F.gelu):
        super().__init__()
        self.intermediate, self.output = BertIntermediate(act), BertOutput()

    def forward(self, hidden_states):
        return self.feed_forward_chunk(hidden_states)

    def feed_forward_chunk(self, attention_output):
        return self.output(self.intermediate(attention_output), attention_output)


class AlbertLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.ffn, self.ffn_output, self.activation = nn.Linear(D, H), nn.Linear(H, D), NewGELUActivation()
        self.norm = nn.LayerNorm(D)

    def forward(self, x):
        return self.norm(self.ff_chunk(x) + x)

    def ff_chunk(self, x):
        return self.ffn_output(self.activation(self.ffn(x)))


def stack(*more, act=None, between=()):
    return nn.Sequential(nn.Linear(D, H), act or nn.GELU(), *between, nn.Linear(H, D), *more)


def encoder_layer(**options):
    options = {"activation": "gelu", "batch_first": True, "dropout": 0.1, **options}
    return nn.TransformerEncoderLayer(D, 2, H, **options)


def tied():
    model = nn.Sequential(stack(), stack())
    model[1][0].weight = model[0][0].weight
    return model


MODELS = {
    "a stack": stack,
    "a stack in tanh form": lambda: stack(act=nn.GELU("tanh")),
    "a stack with dropouts": lambda: stack(nn.Dropout(0.2), between=[nn.Dropout(0.1)]),
    "stacks in a longer Sequential": lambda: nn.Sequential(nn.LayerNorm(D), *stack(), nn.Tanh(), *stack(), nn.ReLU()),
    "a stack after a stack, sharing a layer": lambda: nn.Sequential(*stack(), nn.GELU(), nn.Linear(D, D)),
    "an encoder layer": encoder_layer,
    "an encoder layer, norm first": lambda: encoder_layer(norm_first=True, activation=nn.GELU("tanh")),
    "BERT": BertLayer,
    "BERT, its activation a module": lambda: BertLayer(nn.GELU()),
    "GPT-2": GPT2MLP,
    "nanoGPT": lambda: GPT2MLP(nn.GELU(), layer=nn.Linear),
    "timm": lambda: TimmMlp(0.1),
    "GELU as a function": FunctionalMLP,
    "GELU as a function, in tanh form": lambda: FunctionalMLP(approximate="tanh"),
    "an argument and a size that are not used": WithUnused,
    "ALBERT": AlbertLayer,
    "stacks with a weight in common": tied,
}
models = pytest.mark.parametrize("name", MODELS)
KINDS = (
    "stacks in a longer Sequential",
    "an encoder layer",
    "BERT",
    "GPT-2",
    "GELU as a function",
    "ALBERT",
)  # one of each class of swapped blocks, and both kinds of layers
kinds = pytest.mark.parametrize("name", KINDS)
floats = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-13}


def pair(name, dtype=torch.float64):
    """A model and its copy, which is swapped."""
    torch.manual_seed(0)
    model = MODELS[name]().to(dtype).eval()
    other = copy.deepcopy(model)
    replaced = lt.replace_mlps(other)
    assert replaced.swapped, str(replaced)
    return model, other, replaced


def some(dtype=torch.float64):
    return torch.randn(2, 5, D, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def calls(monkeypatch):
    """The arguments of loopnest's MLP in each call by a swapped block."""
    seen = []

    def spy(*args, **options):
        seen.append(args)
        return lt.mlp(*args, **options)

    monkeypatch.setattr(swapped, "mlp", spy)
    return seen


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These arrays are small: on a busy machine threads would wait for each other for most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- what is swapped computes what it did


@models
@floats
def test_outputs_and_gradients_are_the_originals(name, dtype, calls):
    model, other, replaced = pair(name, dtype)
    calls.clear()
    results = []
    for m in (model, other):
        x = some(dtype).requires_grad_()
        y = m(x)
        y.backward(torch.cos(y.detach()))
        results.append([y, x.grad, *(p.grad for p in m.parameters())])
    assert len(calls) == len(replaced.swapped)
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, atol=TOLERANCE[dtype] * theirs.abs().max().item(), rtol=0)


@kinds
def test_parameters_stay_the_objects_they_were_and_no_weight_is_copied(name, calls):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    before, parameters = {k: v.clone() for k, v in model.state_dict().items()}, list(model.parameters())
    lt.replace_mlps(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert all(mine is theirs for mine, theirs in zip(model.parameters(), parameters, strict=True))
    calls.clear()
    model(some(torch.float32))
    places = {p.data_ptr() for p in parameters}
    for _, *weights, _ in calls:
        assert {w.data_ptr() for w in weights if w is not None} <= places
    model.load_state_dict(before)


@kinds
def test_an_optimizer_made_before_the_swap_trains_the_model_as_before(name):
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    other = copy.deepcopy(model)
    steps = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (model, other)]
    lt.replace_mlps(other)
    for _ in range(3):
        for m, optimizer in zip((model, other), steps, strict=True):
            optimizer.zero_grad()
            m(some()).square().mean().backward()
            optimizer.step()
    for mine, theirs in zip(other.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=0)


@kinds
def test_dropout_draws_the_same_random_numbers_in_training(name):
    model, other, _ = pair(name)
    results = []
    for m in (model.train(), other.train()):
        torch.manual_seed(3)
        results.append(m(some()))
    torch.testing.assert_close(*results, atol=1e-12, rtol=0)


def test_dropout_between_gelu_and_the_second_layer_runs_the_original_in_training_alone(calls):
    model = stack(between=[nn.Dropout(0.5)])
    block = lt.replace_mlps(model).blocks[0]
    assert block.swapped
    assert block.why == "in training its own forward runs, for its dropout of 0.5 after GELU"
    calls.clear()
    model(some(torch.float32))
    assert not calls
    model.eval()(some(torch.float32))
    assert len(calls) == 1
    model.train()[2].p = 0.0
    model(some(torch.float32))
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["stacks in a longer Sequential", "an encoder layer", "BERT"])
def test_compiled_as_one_graph_that_calls_the_operator(name):
    model, other, _ = pair(name)
    called = []

    def backend(graph, inputs):
        called.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return lookup_backend("aot_eager")(graph, inputs)

    torch._dynamo.reset()
    compiled = torch.compile(other, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(some()), model(some()), atol=1e-12, rtol=0)
    assert torch.ops.loopnest.mlp_forward.default in called
    assert F.gelu not in called


def test_a_model_that_was_compiled_before_takes_the_swap_and_its_undoing(calls):
    model = stack().eval()
    torch._dynamo.reset()
    compiled, expected = torch.compile(model, backend="eager"), model(some(torch.float32))
    for swap, runs in ((lambda: None, 0), (lambda: lt.replace_mlps(compiled), 1), (lambda: lt.restore_mlps(model), 0)):
        swap()
        calls.clear()
        torch.testing.assert_close(compiled(some(torch.float32)), expected, atol=1e-6, rtol=0)
        assert len(calls) == runs


@pytest.mark.slow
def test_a_compiled_model_sees_each_exchange_of_a_weight():
    """torch.compile guards what our checks read: dtype, strides, class and the object that is the weight."""
    model, other, _ = pair("a stack")
    mlp = lt.MLP(D, H, dtype=torch.float64)
    mlp.load_state_dict(model.state_dict())
    torch._dynamo.reset()
    compiled = [torch.compile(module, backend="aot_eager") for module in (other, mlp)]
    new = torch.randn(H, D, dtype=torch.float64)
    exchanges = {
        "none": lambda weight: weight,
        "in place": lambda weight: weight.detach().mul_(2),
        "another": lambda _: new.clone(),
        "other strides": lambda _: new.t().contiguous().t(),
        "a class with a meaning": lambda _: new.clone().as_subclass(Scaled),
        "back again": lambda _: 2 * new,
    }
    for name, exchange in exchanges.items():
        for module in (model, other, mlp):
            module[0].weight = nn.Parameter(exchange(module[0].weight))
        for run in compiled:
            y, expected = run(some()), model(some())
            torch.testing.assert_close(y, expected, atol=1e-12, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@kinds
def test_deepcopy_pickle_and_torch_save(name, calls):
    _, other, replaced = pair(name)
    file = io.BytesIO()
    torch.save(other, file)
    file.seek(0)
    copies = copy.deepcopy(other), pickle.loads(pickle.dumps(other)), torch.load(file, weights_only=False)
    expected = other(some())
    for made in copies:
        calls.clear()
        assert torch.equal(made(some()), expected)
        assert len(calls) == len(replaced.swapped)
        assert next(made.parameters()) is not next(other.parameters())
        lt.restore_mlps(made)
        assert not any(isinstance(m, swapped.Swapped) for m in made.modules())


@kinds
def test_restoring_puts_back_what_was(name, calls):
    model, other, _ = pair(name)
    lt.restore_mlps(other)
    assert [type(m) for m in other.modules()] == [type(m) for m in model.modules()]
    assert [sorted(m.__dict__) for m in other.modules()] == [sorted(m.__dict__) for m in model.modules()]
    calls.clear()
    with torch.no_grad():
        assert torch.equal(other(some()), model(some()))
    assert not calls
    assert lt.restore_mlps(other) == ()


def test_a_second_call_looks_at_all_anew():
    model = nn.Sequential(nn.Linear(D, D), GPT2MLP(), nn.Sequential(*stack())).eval()
    first = lt.replace_mlps(model)
    assert lt.replace_mlps(model).blocks == first.blocks
    assert [block.path for block in first.swapped] == ["1", "2"]
    model.half()
    assert not lt.replace_mlps(model).swapped
    assert not any(isinstance(m, swapped.Swapped) for m in model.modules())


# --- the search itself changes nothing


@kinds
def test_the_search_leaves_mode_buffers_gradients_hooks_and_random_numbers_alone(name):
    class Watched(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.norm, self.model = nn.BatchNorm1d(5), model

    model = Watched(MODELS[name]())
    fired = []
    model.model.register_forward_hook(lambda *_: fired.append(1))
    next(model.model.children()).train(False)
    modes, buffers = [m.training for m in model.modules()], [b.clone() for b in model.buffers()]
    state = torch.get_rng_state()
    lt.replace_mlps(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(model.buffers(), buffers, strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert not fired


def test_hooks_on_the_block_itself_go_on(calls):
    model, fired = GPT2MLP(), []
    model.register_forward_hook(lambda *_: fired.append("before the swap"))
    assert lt.replace_mlps(model).swapped
    model.register_forward_pre_hook(lambda *_: fired.append("after the swap"))
    calls.clear()
    model(some(torch.float32))
    assert fired == ["after the swap", "before the swap"]
    assert calls


def test_hooks_on_what_follows_the_second_layer_go_on_and_do_not_see_the_search():
    fired, gpt2, bert = [], GPT2MLP(), BertLayer()
    gpt2.dropout.register_forward_hook(lambda *_: fired.append("dropout"))
    bert.output.LayerNorm.register_forward_hook(lambda *_: fired.append("norm"))
    for model in (gpt2, bert):
        assert lt.replace_mlps(model).swapped
    assert not fired
    gpt2(some(torch.float32))
    bert(some(torch.float32))
    assert fired == ["dropout", "norm"]


@pytest.mark.parametrize("register", ["forward_hook", "forward_pre_hook", "full_backward_hook"])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@kinds
def test_hooks_on_layers_are_a_reason_and_go_on_when_they_come_later(name, register):
    model = MODELS[name]()
    layer = next(m for m in model.modules() if hasattr(m, "weight") and sorted(m.weight.shape) == [D, H])
    fired = []
    handle = getattr(layer, f"register_{register}")(lambda *_: fired.append(1))
    first = lt.replace_mlps(model).blocks[0]
    assert not first.swapped
    assert "has hooks" in first.why
    handle.remove()
    assert lt.replace_mlps(model).blocks[-1].swapped
    getattr(layer, f"register_{register}")(lambda *_: fired.append(1))
    model(some(torch.float32)).sum().backward()
    assert fired


# --- what changes after the swap is seen


def test_what_is_put_in_the_place_of_a_module_runs(calls):
    model = GPT2MLP(nn.GELU(), layer=nn.Linear).eval()
    lt.replace_mlps(model)
    calls.clear()
    x = some(torch.float32)
    model.act = nn.ReLU()
    torch.testing.assert_close(model(x), model.c_proj(F.relu(model.c_fc(x))))
    model.act = nn.GELU(approximate="tanh")
    torch.testing.assert_close(model(x), model.c_proj(F.gelu(model.c_fc(x), approximate="tanh")))
    model.act = nn.GELU()
    torch.nn.utils.parametrizations.weight_norm(model.c_fc)
    torch.testing.assert_close(model(x), model.c_proj(F.gelu(model.c_fc(x))))
    assert not calls


def test_a_function_that_is_put_in_the_place_of_gelu_runs(calls):
    layer, bert = encoder_layer().eval(), BertLayer().eval()
    bert.requires_grad_(False)
    assert lt.replace_mlps(layer).swapped
    assert lt.replace_mlps(bert).swapped
    layer.activation = F.relu
    bert.intermediate.intermediate_act_fn = nn.ReLU()
    calls.clear()
    x = some(torch.float32)
    torch.testing.assert_close(layer._ff_block(x), layer.linear2(F.relu(layer.linear1(x))))
    torch.testing.assert_close(bert(x), bert.output(F.relu(bert.intermediate.dense(x)), x))
    assert not calls


def test_a_sequential_may_be_changed_and_cut(calls):
    model = nn.Sequential(nn.Tanh(), *stack()).eval()
    lt.replace_mlps(model)
    x = some(torch.float32)
    calls.clear()
    assert torch.equal(model[:2](x), model[1](torch.tanh(x)))
    assert not calls
    expected = model(x)
    model.append(nn.ReLU())
    assert torch.equal(model(x), F.relu(expected))
    del model[0]
    torch.testing.assert_close(model(x), F.relu(model[2](model[1](model[0](x)))))
    del model[1:3]
    assert torch.equal(model(x), F.relu(model[0](x)))
    lt.restore_mlps(model)
    assert type(model) is nn.Sequential
    short = stack().eval()
    lt.replace_mlps(short)
    del short[2]
    assert torch.equal(short(x), short[1](short[0](x)))


def test_new_weights_are_read_where_they_are(calls):
    model, other, _ = pair("timm")
    with torch.no_grad():
        other.fc1.weight.mul_(2)
        model.fc1.weight.mul_(2)
    other.fc2.bias = nn.Parameter(torch.ones(D, dtype=torch.float64))
    model.fc2.bias = nn.Parameter(torch.ones(D, dtype=torch.float64))
    calls.clear()
    torch.testing.assert_close(other(some()), model(some()), atol=1e-12, rtol=0)
    assert calls


@kinds
def test_half_is_refused_with_the_fix_and_back_again_it_works(name):
    model, other, _ = pair(name)
    other.half()
    with pytest.raises(TypeError, match=r"weights of torch\.float16 on cpu, expected .* restore_mlps\(model\)"):
        other(some(torch.float16))
    other.double()
    model.half().double()
    torch.testing.assert_close(other(some()), model(some()), atol=1e-12, rtol=0)


class Scaled(torch.Tensor):
    """A weight that means twice its numbers."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is F.linear:
            x, weight, *bias = args
            return func(x, 2 * weight.as_subclass(torch.Tensor), *bias)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_weight_that_becomes_a_tensor_subclass_runs_the_original(calls):
    model, other, _ = pair("a stack")
    for m in (model, other):
        m[0].weight = nn.Parameter(m[0].weight.detach().as_subclass(Scaled))
    calls.clear()
    assert torch.equal(other(some()), model(some()))
    assert not calls


def test_modes_of_torch_functions_and_hooks_on_all_modules_run_the_original(calls):
    _, other, _ = pair("a stack")
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    calls.clear()
    with Mode():
        other(some())
    assert seen.count(F.linear) == 2
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        other(some())
    finally:
        hook.remove()
    assert seen.count(nn.Linear) == 2
    assert not calls
    with torch.device("cpu"):  # a mode too, which changes nothing of what is computed
        other(some())
    assert len(calls) == 1


def test_autocast_is_torchs_own(calls):
    model, other, _ = pair("a stack", torch.float32)
    calls.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = other(some(torch.float32))
        assert torch.equal(y, model(some(torch.float32)))
    assert y.dtype == torch.bfloat16
    assert not calls


# --- torch's encoder layers have a fast path


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_without_gradients_runs_the_mlp_but_on_nested_tensors(nested, calls):
    torch.manual_seed(0)
    model = nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=nested).eval()
    other = copy.deepcopy(model)
    assert len(lt.replace_mlps(other).swapped) == 2
    x, padding = some(torch.float32), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    for m in (model, other):
        m.requires_grad_(False)
    for options in ({}, {"mask": mask, "is_causal": True}, {"src_key_padding_mask": padding}):
        calls.clear()
        mine, theirs = other(x, **options), model(x, **options)
        if nested and "src_key_padding_mask" in options:
            assert torch.equal(mine, theirs)  # by the same kernels
            assert not calls
        else:
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
            assert len(calls) == 2


def test_a_decoder_layer(calls):
    torch.manual_seed(0)
    model = nn.TransformerDecoderLayer(D, 2, H, activation="gelu", batch_first=True).double().eval()
    other = copy.deepcopy(model)
    assert lt.replace_mlps(other).swapped
    calls.clear()
    torch.testing.assert_close(other(some(), some()), model(some(), some()), atol=1e-12, rtol=0)
    assert calls


# --- what is not swapped, and why


class Residual(GPT2MLP):
    def forward(self, hidden_states):
        return hidden_states + super().forward(hidden_states)


class Branching(GPT2MLP):
    def forward(self, hidden_states):
        return super().forward(hidden_states) if hidden_states.sum() > 0 else hidden_states


class OnlyInEval(GPT2MLP):
    def forward(self, hidden_states):
        return self.act(super().forward(hidden_states)) if self.training else super().forward(hidden_states)


class GELU(nn.Module):
    """Not what its name says."""

    def forward(self, x):
        return torch.clamp(F.gelu(x), max=1.0)


class LoraLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.base_layer, self.lora_A, self.lora_B = nn.Linear(D, H), nn.Linear(D, 2), nn.Linear(2, H)
        self.in_features, self.out_features = D, H

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


def with_(model, **changes):
    for name, value in changes.items():
        setattr(model, name, value)
    return model


def spectral():
    model = stack()
    torch.nn.utils.parametrizations.spectral_norm(model[2])
    return model


def patched():
    model = GPT2MLP()
    model.forward = functools.partial(GPT2MLP.forward, model)
    return model


class NoChunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.intermediate, self.output = BertIntermediate(F.gelu), BertOutput()

    def forward(self, x):
        return self.output(self.intermediate(x), x)


class OwnForward(nn.TransformerEncoderLayer):
    def forward(self, x):
        return self._ff_block(x)


class OldConv1D(nn.Module):
    nf = H

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(D, H))

    def forward(self, x):
        return x @ self.w


OldConv1D.__name__ = "Conv1D"


class Packed(torch.Tensor):
    """As quantizing libraries put weights of their own into a plain nn.Linear."""


def packed():
    model = stack()
    model[0].weight = nn.Parameter(model[0].weight.detach().as_subclass(Packed))
    return model


def poisoned():
    model = stack()
    nn.init.constant_(model[0].weight, float("nan"))
    return model


class NoSum(BertLayer):
    def feed_forward_chunk(self, attention_output):
        return self.output.LayerNorm(self.output.dropout(self.output.dense(self.intermediate(attention_output))))


class PreNorm(BertLayer):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(D)

    def feed_forward_chunk(self, attention_output):
        return self.output(self.intermediate(self.ln(attention_output)), attention_output)


NOT_SWAPPED = {
    "ReLU": (lambda: stack(act=nn.ReLU()), "its activation is nn.ReLU, not GELU"),
    "SiLU": (lambda: GPT2MLP(nn.SiLU()), "its activation is nn.SiLU, not GELU"),
    "QuickGELU": (lambda: GPT2MLP(QuickGELUActivation()), r"its activation is \S*QuickGELUActivation, not GELU"),
    "ReLU in BERT": (lambda: BertLayer(nn.ReLU()), "its activation is nn.ReLU, not GELU"),
    "ReLU as a function in BERT": (lambda: BertLayer(F.relu), "it does more than layer, GELU, layer: relu"),
    "tanh as a function in BERT": (lambda: BertLayer(torch.tanh), "it does more than layer, GELU, layer: tanh"),
    "ReLU in an encoder layer": (lambda: encoder_layer(activation="relu"), "relu"),
    "a class that only is called GELU": (lambda: GPT2MLP(GELU()), "its result on random input is not the original's"),
    "a rounded constant in float64": (lambda: GPT2MLP(FastGELUActivation()).double(), "is not the original's"),
    "NaN": (poisoned, "is not the original's: nan"),
    "half": (lambda: stack().half(), r"0\.weight has dtype float16, not float32 or float64"),
    "bfloat16": (lambda: BertLayer().bfloat16(), r"intermediate\.dense\.weight has dtype bfloat16"),
    "meta": (lambda: stack().to("meta"), r"0\.weight is on the device meta"),
    "parametrized": (spectral, r"2 is a torch\.ParametrizedLinear, not a plain nn\.Linear"),
    "a layer without a weight": (lambda: with_(GPT2MLP(), c_fc=OldConv1D()), "c_fc has no weight"),
    "a weight of another class": (packed, r"0\.weight is a \S*Packed, not a plain tensor"),
    "LoRA": (
        lambda: with_(GPT2MLP(layer=nn.Linear), c_fc=LoraLinear()),
        "c_fc is a .*LoraLinear, not a plain nn.Linear",
    ),
    "a patched forward": (patched, "its forward was replaced on this object"),
    "a residual": (Residual, "the sum with its input follows the second layer, where only dropout may"),
    "branches": (Branching, "cannot trace its forward"),
    "another function in training": (OnlyInEval, "another function in training mode"),
    "BERT without its method": (NoChunk, "no feed_forward_chunk to swap"),
    "BERT without the sum": (NoSum, "its second layer is not followed by a LayerNorm of the sum with its input"),
    "BERT with a norm before": (PreNorm, "it begins with ln, not with its first layer"),
    "an encoder layer's own forward": (lambda: OwnForward(D, 2, H, activation="gelu"), "a forward of its own"),
    "layer norm in between": (lambda: stack(between=[]).insert(2, nn.LayerNorm(H)), None),
    "no stack": (lambda: nn.Sequential(nn.Linear(D, H), nn.Linear(H, D)), None),
}


@pytest.mark.parametrize("name", NOT_SWAPPED)
def test_what_is_left_alone_and_why(name):
    make, why = NOT_SWAPPED[name]
    model = make()
    classes = [type(m) for m in model.modules()]
    replaced = lt.replace_mlps(model)
    assert [type(m) for m in model.modules()] == classes
    assert not [b for b in replaced.swapped if b.path in ("", "0")]
    if why is None:
        assert not replaced.blocks
        assert str(replaced).startswith("no MLPs found: nothing was swapped.")
    else:
        assert re.search(why, replaced.blocks[0].why), replaced.blocks[0].why


@pytest.mark.filterwarnings("ignore")
def test_dynamically_quantized_layers_are_left_alone():
    engine = next((e for e in torch.backends.quantized.supported_engines if e != "none"), None)
    if engine is None:
        pytest.skip("this torch has no engine for quantized layers")
    torch.backends.quantized.engine = engine
    model = torch.ao.quantization.quantize_dynamic(stack(), {nn.Linear}, dtype=torch.qint8)
    (block,) = lt.replace_mlps(model).blocks
    assert not block.swapped
    assert "not a plain nn.Linear" in block.why


def slightly_wrong(*args, **options):
    return lt.mlp(*args, **options) * (1 + 1e-9)


def broken(*args, **options):
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (slightly_wrong, "where rounding explains"),
        (broken, f"it cannot run on a tensor (2, 3, {D}): RuntimeError: no such thing"),
    ],
)
@kinds
def test_a_kernel_that_errs_is_found_and_nothing_is_swapped(name, kernel, why, monkeypatch):
    monkeypatch.setattr(swapped, "mlp", kernel)
    model = MODELS[name]()
    replaced = lt.replace_mlps(model)
    assert not replaced.swapped
    assert why in replaced.blocks[0].why
    assert not any(isinstance(m, swapped.Swapped) for m in model.modules())


def test_a_kernel_that_errs_is_found_under_hooks_on_all_modules_and_autocast_too(monkeypatch):
    for error in (0, 1):
        monkeypatch.setattr(swapped, "mlp", lambda *args, error=error: lt.mlp(*args) + error)
        hook = nn.modules.module.register_module_forward_hook(lambda *_: None)
        try:
            assert len(lt.replace_mlps(stack()).swapped) == 1 - error
        finally:
            hook.remove()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert len(lt.replace_mlps(stack()).swapped) == 1 - error


def test_other_arguments_are_refused():
    with pytest.raises(TypeError, match=r"^replace_mlps: model is a dict, expected a torch\.nn\.Module"):
        lt.replace_mlps({})
    with pytest.raises(TypeError, match=r"^restore_mlps: model is a list, expected a torch\.nn\.Module"):
        lt.restore_mlps([])


# --- the record


def test_the_record_as_a_table_of_80_columns():
    model = nn.ModuleDict(
        {
            "layers": nn.ModuleList([GPT2MLP() for _ in range(12)]),
            "head": nn.Sequential(nn.LayerNorm(D), *stack(act=nn.ReLU()), nn.Tanh(), *stack(between=[nn.Dropout(0.1)])),
            "plain": lt.MLP(D, H),
        }
    )
    replaced = lt.replace_mlps(model)
    assert len(replaced.blocks) == 15
    assert len(replaced.swapped) == 13
    assert (
        str(replaced)
        == """\
13 of 15 MLPs swapped

swapped  class       d x h    GELU   module
yes      GPT2MLP     12 x 40  tanh   layers.0 … layers.11
no       Sequential  12 x 40         head[1:4]
           its activation is nn.ReLU, not GELU
no       Sequential  40 x 12         head[3:6]
           its activation is nn.Tanh, not GELU
yes      Sequential  12 x 40  exact  head[5:9]
           in training its own forward runs, for its dropout of 0.1 after GELU"""
    )
    assert replaced.blocks[0] == lt.Block("layers.0", "GPT2MLP", D, H, "tanh", True, "")


# --- transformers' own classes

SMALL = {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 30}
REAL = {
    "Bert": (SMALL, 2),
    "Roberta": (SMALL, 2),
    "Electra": (SMALL | {"embedding_size": 16}, 2),
    "Albert": (SMALL | {"embedding_size": 16}, 1),
    "DistilBert": ({"dim": 16, "hidden_dim": 48, "n_layers": 2, "n_heads": 2, "vocab_size": 30}, 2),
    "GPT2": ({"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30, "bos_token_id": 0, "eos_token_id": 0}, 2),
}


@pytest.fixture(scope="module")
def transformers():
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed: pip install 'loopnest[minilm]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        import transformers

        yield transformers


@pytest.mark.parametrize("name", REAL)
def test_models_of_transformers(name, transformers, calls):
    options, count = REAL[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**options)
    model = getattr(transformers, f"{name}Model")(config).double().eval()
    other = copy.deepcopy(model)
    replaced = lt.replace_mlps(other)
    assert len(replaced.swapped) == len(replaced.blocks) == count, str(replaced)
    assert list(other.state_dict()) == list(model.state_dict())
    calls.clear()
    ids = torch.randint(0, 30, (2, 7), generator=torch.Generator().manual_seed(0))
    mine, theirs = (m(ids, output_hidden_states=True).hidden_states for m in (other, model))
    assert len(mine) == 3
    assert len(calls) == 2
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=0)
    for m in (other, model):
        m(ids).last_hidden_state.square().sum().backward()
    for a, b in zip(other.parameters(), model.parameters(), strict=True):
        if b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, atol=1e-9 * b.grad.abs().max().item() + 1e-12, rtol=0)
