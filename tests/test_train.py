"""`loopnest train`: the digits, whole checkpoints, trainings that go on as if nothing had been."""

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from loopnest import nn
from loopnest.cli import main
from test_messages import refused

digits = pytest.mark.skipif(nn.why_no_digits() is not None, reason=str(nn.why_no_digits()))
drawn = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
DOCS = Path(__file__).parents[1] / "docs" / "training"
RUN = "from loopnest.cli import main; main(prog_name='loopnest')"
CONFIG = nn.Config(hidden=16, batch=32, epochs=6, seed=4)


def run(*args):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ("train", *map(str, args)), prog_name="loopnest")


def trained(config=CONFIG, data=None):
    training = nn.Training(data or nn.spirals(), config)
    training.run()
    return training


def same(training, other):
    """Bit for bit: losses, epochs, parameters and the optimizer's state."""
    assert training.losses == other.losses
    assert [(e.number, e.loss, e.accuracy) for e in training.epochs] == [
        (e.number, e.loss, e.accuracy) for e in other.epochs
    ]
    for name, array in training.network.parameters.items():
        np.testing.assert_array_equal(array, other.network.parameters[name])
        for state, values in training.optimizer.state[name].items():
            np.testing.assert_array_equal(values, other.optimizer.state[name][state])


# --- the digits


@digits
@pytest.mark.parametrize("optimizer", nn.OPTIMIZERS)
def test_the_digits_are_97_percent_right_in_less_than_10_seconds(optimizer):
    result = run("digits", "--impl", "cpp", "--optimizer", optimizer, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["accuracy"] >= 0.97
    assert record["seconds"] < 10
    assert len(record["losses"]) == 20 * 26
    assert {id.partition(".")[0] for id in record["implementations"].values()} == {"cpp"}


@digits
def test_the_digits_are_scikit_learns_and_a_tenth_of_each_is_held_out():
    from sklearn.datasets import load_digits

    data, whole = nn.digits(), load_digits()
    assert len(data.labels) + len(data.test_labels) == len(whole.target) == 1797
    for digit in range(10):
        count = int((whole.target == digit).sum())
        assert int((data.test_labels == digit).sum()) == round(count / 10)
    theirs = {row.tobytes() for row in whole.data / 8 - 1}
    assert {row.tobytes() for row in np.vstack([data.x, data.x_test])} == theirs
    assert data.fingerprint() == nn.digits().fingerprint()


def test_without_scikit_learn_the_command_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run("digits")
    assert result.exit_code == 1
    assert "pip install 'loopnest[train]'" in result.output


# --- what is printed


def test_the_command_prints_what_is_trained_the_epochs_and_what_came_of_it():
    result = run("spirals", "--hidden", 16, "--epochs", 30, "--impl", "numpy.vectorized", "--lr", 0.02)
    assert result.exit_code == 0
    for part in (
        "spirals: 400 examples to learn from, 200 held out",
        "network: 2 - 16 - 2, gelu, 82 parameters of float32, he, seed 0",
        "steps: adam, learning rate 0.02, batches of 64, cross_entropy",
        "note: no numpy.vectorized of mlp_forward, mlp_backward: numpy.composed instead",
        "epoch    loss  accuracy  seconds",
        "of the held-out spirals are right after 210 steps",
    ):
        assert part in result.output


def test_the_same_seed_prints_the_same_losses_and_another_one_others():
    losses = [json.loads(run("xor", "--seed", seed, "--epochs", 5, "--json").output)["losses"] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_a_training_that_diverges_says_so_and_its_json_is_json():
    result = run("spirals", "--optimizer", "momentum", "--lr", "1e200", "--dtype", "float64", "--epochs", 2)
    assert result.exit_code == 0
    assert "the loss is not finite from step" in result.output
    assert "try a smaller learning rate than 1e+200" in result.output
    options = ["--optimizer", "momentum", "--lr", "1e200", "--dtype", "float64", "--epochs", 2, "--json"]
    record = json.loads(run("spirals", *options).output, parse_constant=lambda name: pytest.fail(name))
    assert None in record["losses"]


@drawn
def test_the_curves_are_drawn(tmp_path):
    result = run("xor", "--epochs", 5, "--svg", tmp_path / "a.svg")
    assert result.exit_code == 0
    text = "".join(ElementTree.parse(tmp_path / "a.svg").getroot().itertext())
    assert "Loss of each step" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["xor", "--impl", "fortran"], "has an implementation 'fortran'"),
        (["xor", "--lr", "-1"], "lr is -1.0"),
        (["xor", "--resume", "nowhere.npz"], "nowhere.npz cannot be read"),
        (["xor", "--resume", "a.npz", "--seed", "1"], "--seed is in the checkpoint"),
        (["xor", "--checkpoint", "no/such/folder.npz"], "there is no folder"),
        (["letters"], "'letters' is not one of"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, said):
    result = run(*arguments)
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


# --- checkpoints


@pytest.mark.parametrize("optimizer", nn.OPTIMIZERS)
@pytest.mark.parametrize("stop", [0, 1, 13, 26, 40])  # in the midst of an epoch of 13 steps, and between two
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, optimizer, stop):
    config = dataclasses.replace(CONFIG, optimizer=optimizer)
    stopped = nn.Training(nn.spirals(), config)
    record = stopped.run(stop=lambda: stopped.step_number >= stop, checkpoint=tmp_path / "c.npz")
    assert not record.finished
    assert len(record.losses) == stop
    resumed = nn.Training.resume(tmp_path / "c.npz", nn.spirals())
    assert resumed.step_number == stop
    assert resumed.run().finished
    assert not resumed.notes
    same(resumed, trained(config))


def test_more_epochs_can_be_asked_for_and_not_fewer_than_there_are(tmp_path):
    trained().save(tmp_path / "c.npz")
    longer = nn.Training.resume(tmp_path / "c.npz", nn.spirals(), epochs=8)
    longer.run()
    same(longer, trained(dataclasses.replace(CONFIG, epochs=8)))
    refused(
        nn.CheckpointError,
        lambda: nn.Training.resume(tmp_path / "c.npz", nn.spirals(), epochs=2),
        "has 6 epochs behind it",
        "2 were asked for",
    )


def test_going_on_by_another_backend_says_that_the_last_bits_may_differ(tmp_path):
    trained().save(tmp_path / "c.npz")
    other = nn.Training.resume(tmp_path / "c.npz", nn.spirals(), impl="numpy")
    assert any("not bit for bit" in note and "numpy.composed" in note for note in other.notes)


KILLED_WHILE_WRITING = """
import os, signal, sys
from loopnest import nn
training = nn.Training(nn.spirals(), nn.Config(hidden=16, batch=32, epochs=6, seed=4))
training.run(stop=lambda: training.step_number >= 20)
training.save(sys.argv[1])
training.run(stop=lambda: training.step_number >= 30)
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)  # all is written, and not yet renamed
training.save(sys.argv[1])
"""


def test_a_new_checkpoint_takes_the_place_of_the_old_one_in_one_step(tmp_path):
    """Who has the old file open keeps it, whole: the new one is another file, renamed."""
    training = trained()
    training.save(tmp_path / "c.npz")
    with open(tmp_path / "c.npz", "rb") as old:
        training.step(np.arange(32))
        training.save(tmp_path / "c.npz")
        held = old.read()
    assert held != (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(held)
    assert nn.Training.resume(tmp_path / "c.npz", nn.spirals()).step_number == training.step_number - 1


def test_killed_in_the_midst_of_writing_the_old_checkpoint_is_there_whole(tmp_path, monkeypatch):
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path / "c.npz"], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".*")  # of the new one
    os.utime(left, (0, 0))
    resumed = nn.Training.resume(tmp_path / "c.npz", nn.spirals())
    assert resumed.step_number == 20
    monkeypatch.setattr("loopnest.output.files.ABANDONED", 0.0)
    resumed.run(checkpoint=tmp_path / "c.npz")
    same(resumed, trained())
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]  # the next one clears it away


@pytest.mark.parametrize("bad", [OSError("no space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_and_no_other_file(tmp_path, monkeypatch, bad):
    training = trained()
    training.save(tmp_path / "c.npz")
    before = (tmp_path / "c.npz").read_bytes()

    def fails(descriptor):
        raise bad

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(type(bad)):
        training.save(tmp_path / "c.npz")
    assert (tmp_path / "c.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def _started(path, epochs=100_000):
    """A long training in a process of its own, once it has written a checkpoint."""
    command = [sys.executable, "-c", RUN, "train", "spirals", "--hidden", "16", "--batch", "32", "--seed", "4"]
    process = subprocess.Popen(
        [*command, "--epochs", str(epochs), "--checkpoint", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_training_that_is_stopped_from_outside_goes_on_bit_for_bit(tmp_path, number):
    path = tmp_path / "c.npz"
    process = _started(path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert f"go on with it: --resume {path}" in errors
    resumed = nn.Training.resume(path, nn.spirals(), epochs=100_000)
    steps = resumed.step_number
    assert steps >= 13
    resumed.run(stop=lambda: resumed.step_number >= steps + 20)
    straight = nn.Training(nn.spirals(), resumed.config)
    straight.run(stop=lambda: straight.step_number >= steps + 20)
    same(resumed, straight)


def test_resume_goes_on_and_writes_to_the_same_file(tmp_path):
    path = tmp_path / "c.npz"
    options = ["spirals", "--hidden", 16, "--batch", 32, "--seed", 4]
    assert run(*options, "--epochs", 2, "--checkpoint", path).exit_code == 0
    result = run("spirals", "--resume", path, "--epochs", 4)
    assert "going on after 26 steps" in result.output
    whole = json.loads(run(*options, "--epochs", 6, "--json").output)
    resumed = json.loads(run("spirals", "--resume", path, "--epochs", 6, "--json").output)
    assert resumed["losses"] == whole["losses"]
    assert nn.Training.resume(path, nn.spirals()).step_number == 6 * 13


def test_what_is_no_checkpoint_is_refused_with_the_reason(tmp_path):
    path, data = tmp_path / "c.npz", nn.spirals()
    trained().save(path)
    whole = path.read_bytes()

    def refuses(*parts, of=data):
        refused(nn.CheckpointError, lambda: nn.Training.resume(path, of), path, *parts)

    refuses("other data ('spirals'), expected xor", of=nn.xor())
    refuses("other data", of=nn.spirals(seed=1))
    for part in (len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:part])
        refuses("damaged")
    flipped = bytearray(whole)
    at = whole.index(b"parameter.w1") + 400
    flipped[at] ^= 0xFF
    path.write_bytes(bytes(flipped))
    refuses("damaged")  # the archive's checksum
    path.write_text("{}")
    refuses("no checkpoint")
    np.savez(path, x=np.ones(3))
    refuses("no checkpoint of loopnest's")
    with np.load(_written(tmp_path / "d.npz")) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "state.w1.m"}
    np.savez(path, **arrays)
    refuses("lacks what a training needs", "state.w1.m")
    path.unlink()
    refuses("cannot be read")


def _written(path):
    trained().save(path)
    return path


# --- the docs


def words(svg):
    """The words in a picture that do not depend on the machine."""
    root = ElementTree.fromstring(svg)
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]
    return {word for text in texts for word in text.replace(":", " ").replace(",", " ").split() if word.isalpha()}


@drawn
@digits
def test_the_docs_picture_can_be_made_again(tmp_path):
    assert run("digits", "--impl", "cpp", "--svg", tmp_path / "digits.svg").exit_code == 0
    kept = (DOCS / "digits.svg").read_text(encoding="utf-8")
    assert words((tmp_path / "digits.svg").read_text(encoding="utf-8")) == words(kept)
