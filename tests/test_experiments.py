"""The experiments: their findings, tables and pictures."""

import importlib.util
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import loopnest as ln
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest import nn
from loopnest.cli import main
from loopnest.learn.experiments import EXPERIMENTS, summation

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="what they call is tested elsewhere")

DOCS = Path(__file__).parents[1] / "docs"
drawn = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")

QUICK = {"batch-size": {"draws": 100, "epochs": 3}, "summation": {"most": 20, "draws": 4}, "zero-init": {"epochs": 6}}
_done = {}


def data_of(name):
    """An experiment's data, made once; skipped with the reason where it cannot run."""
    if name not in _done:
        missing = EXPERIMENTS[name].missing()
        if missing:
            pytest.skip(missing)
        _done[name] = EXPERIMENTS[name].run(**QUICK.get(name, {}))
    return _done[name]


def run(*args):
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, ("experiment", *map(str, args)), prog_name="loopnest")


every = pytest.mark.parametrize("name", EXPERIMENTS)


# --- the findings


def test_without_an_activation_two_layers_are_one_and_part_neither_xor_nor_spirals():
    fits = {(fit.data, fit.activation): fit for fit in data_of("nonlinearity").fits}
    for data, most in (("xor", 0.75), ("spirals", 0.8)):
        linear, gelu = fits[data, "identity"], fits[data, "gelu"]
        assert linear.collapse < 1e-12 < gelu.collapse  # x (W1 W2) is all that it computes
        assert linear.accuracy <= most  # of XOR, no line has more than three of the four on its sides
        assert gelu.accuracy >= 0.95
        for axis in (0, 1):  # a plane over the plane: no second differences
            assert abs(np.diff(linear.map, 2, axis=axis)).max() < 1e-9 < abs(np.diff(gelu.map, 2, axis=axis)).max()
    assert fits["xor", "gelu"].accuracy == 1


def test_hidden_units_that_begin_alike_stay_alike_and_random_ones_do_not():
    found = data_of("zero-init")
    zeros, alike, random = (found.starts[init] for init in ("zeros", "constant", "he"))
    assert zeros.moved == (0,) * 8  # not one of them, not by a bit
    assert not zeros.w1.any()
    assert min(alike.moved) > 1  # they learn, but all the same:
    assert max(alike.apart) < 1e-9
    assert min(random.apart[1:]) > 1
    assert zeros.accuracy < 0.15
    assert alike.accuracy < found.single + 0.1
    assert random.accuracy > 0.85


def test_the_gradients_variance_is_inverse_to_the_batchs_size():
    found = data_of("batch-size")
    assert found.slope == pytest.approx(-1, abs=0.05)
    assert np.array(found.variances) * found.sizes == pytest.approx(found.variances[0], rel=0.35)


def test_larger_batches_need_fewer_steps_and_more_examples_for_the_same_loss():
    small, middle, _ = data_of("batch-size").curves
    target = max(small.losses[-1], middle.losses[-1]) * 1.05
    steps = [curve.steps[curve.first_below(target)] for curve in (small, middle)]
    assert steps[1] < 1.2 * steps[0]
    assert steps[1] * middle.batch > 2 * steps[0] * small.batch


def test_gradients_shrink_by_sigmoid_stay_with_relu_and_he_and_blow_up_with_twice_its_weights():
    found = data_of("depth")
    assert found.stacks["sigmoid, xavier"].factor < 0.25  # its slope is 1/4 at most
    assert found.stacks["relu, xavier"].factor == pytest.approx(2**-0.5, rel=0.05)
    assert found.stacks["relu, he"].factor == pytest.approx(1, rel=0.05)
    assert found.stacks["relu, he x 2"].factor == pytest.approx(2, rel=0.05)
    assert 0.85 < found.stacks["tanh, xavier"].factor < 1
    assert found.stacks["sigmoid, xavier"].gradients[0] < 1e-11
    assert found.stacks["relu, he x 2"].gradients[0] > 1e5


def test_depths_gradients_are_those_of_the_network():
    """By its own loop, against Network's back-propagation: the gradient by the first layer's bias sums dz's rows."""
    layers, rng = 3, np.random.default_rng(0)
    network = nn.Network((8,) * (layers + 1), activation="tanh", init="xavier", seed=0, dtype=np.float64)
    x, dy = rng.standard_normal((4, 8)), rng.standard_normal((4, 8))
    _, trace = network.forward(x)

    def gradient(x):
        dz = dy
        for layer in range(layers, 1, -1):
            dz = ln.tanh_backward(trace[layer - 2][1], dz @ network.parameters[f"w{layer}"].T)
        return dz.sum(axis=0)

    np.testing.assert_allclose(network.backward(dy, trace)["b1"], gradient(x))


def test_in_a_ravine_momentum_is_far_ahead_of_sgd_and_only_the_scaling_ones_notice_a_turn():
    found = data_of("ravine")
    along, turned = ({d.optimizer: d for d in descents} for descents in (found.along, found.turned))
    steps = {name: d.steps for name, d in along.items()}
    assert steps["momentum"] < 0.5 * steps["sgd"]
    assert steps["adam"] < 0.6 * steps["sgd"]
    assert steps["rmsprop"] < 0.8 * steps["sgd"]
    for name in ("sgd", "momentum"):
        assert turned[name].steps == pytest.approx(steps[name], abs=1)
    assert turned["rmsprop"].steps > 1.3 * steps["rmsprop"]
    assert along["sgd"].rate < 2 / found.kappa  # above, the steep axis blows up
    across = along["sgd"].path[:20, 1]
    assert (np.sign(across[1:]) == -np.sign(across[:-1])).all()  # it zigzags
    assert (along["rmsprop"].path[:20, 1] > -1e-6).all()


def test_a_running_sums_error_grows_with_n_and_a_pairwise_ones_does_not():
    found = data_of("summation")
    u = 2.0**-24
    naive, many, pairwise = found.errors.values()
    assert found.slopes["one running sum"] > 0.3
    assert abs(found.slopes["pairwise"]) < 0.2
    assert naive[-1] > 30 * many[-1]
    assert naive[-1] > 100 * pairwise[-1]
    assert max(pairwise) < 4 * u
    assert all(error < n * u for n, error in zip(found.n, naive, strict=True))
    assert set(summation.SUMS) == set(found.errors)


# --- how they are shown


@every
def test_an_experiment_says_what_it_asks_and_what_it_found(name):
    experiment = EXPERIMENTS[name]
    assert experiment.question.endswith("?")
    finding = experiment.finding(data_of(name))
    assert finding.endswith(".")
    assert any(character.isdigit() for character in finding)


@every
def test_an_experiments_table_fits_the_terminal(name):
    lines = EXPERIMENTS[name].table(data_of(name))
    assert len(lines) >= 3
    assert max(map(len, lines)) <= 80


@every
def test_an_experiments_data_are_json(name):
    again = json.loads(msgspec.json.encode(data_of(name), enc_hook=lambda x: x.tolist()))
    assert set(again) == set(data_of(name).__dataclass_fields__)


@drawn
@every
def test_an_experiments_picture_is_small_svg_with_a_title_and_the_docs_have_one_with_the_same_words(name):
    """Numbers in it depend on the machine's speed and last bits, so the words are compared, and not the bytes."""

    def words(svg):
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        texts = {"".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")}
        return {word for text in texts for word in text.replace(":", " ").split() if word.isalpha()}

    made = EXPERIMENTS[name].picture(data_of(name))
    kept = (DOCS / "experiments" / f"{name}.svg").read_text(encoding="utf-8")
    assert len(made) < 100_000
    assert len(kept) < 100_000
    assert len(words(made)) > 3
    assert words(made) == words(kept)


def test_the_docs_have_no_picture_of_an_experiment_that_there_is_not():
    pictures = {path.stem for path in (DOCS / "experiments").glob("*.svg")}
    assert pictures == set(EXPERIMENTS)
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert f"(experiments/{name}.svg)" in text
        assert f"`loopnest experiment {name}`" in text


# --- the command


def test_the_command_lists_the_questions():
    result = run()
    assert result.exit_code == 0
    for name, experiment in EXPERIMENTS.items():
        assert f"\n{name} " in "\n" + result.output
        assert experiment.question.split()[0] in result.output


@drawn
def test_the_command_prints_text_and_finding_and_draws(tmp_path):
    result = run("depth", "--svg", tmp_path / "a.svg", "--set", "seed=2", "--set", "layers=30")
    assert result.exit_code == 0, result.output
    assert "How do depth and activation change gradients?" in result.output
    assert "After 30 layers" in result.output
    ElementTree.parse(tmp_path / "a.svg")


def test_the_command_gives_json():
    record = json.loads(run("depth", "--json").output)
    assert record["name"] == "depth"
    assert record["layers"] == 20


def test_wrong_names_and_options_are_refused():
    result = run("ravin")
    assert result.exit_code == 2
    assert "did you mean ravine?" in " ".join(result.output.split())
    assert "no setting is called 'layer'; did you mean layers?" in " ".join(
        run("depth", "--set", "layer=3").output.split()
    )
    assert "layers is 'x', expected int, as layers=20" in run("depth", "--set", "layers=x").output
    assert "no network is called 'nvlink'" in run("parallel-cost", "--set", "network=nvlink").output


def test_an_experiment_that_cannot_run_here_says_why(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run("zero-init")
    assert result.exit_code == 1
    assert "pip install 'loopnest[train]'" in result.output
    assert "pip install 'loopnest[train]'" in run().output
