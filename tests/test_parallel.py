"""loopnest.parallel: two ranks on loopback, which these tests start and end; the same results as one process.

A start of ranks takes seconds, most of it torch's import in each: tests/parallel_ranks.py does much with one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import loopnest as ln
import numpy as np
import pytest
from loopnest import nn, parallel
from loopnest.backends.threads import processors
from parallel_ranks import CURVES
from test_messages import refused

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="it has no C++ of its own")
needs_ranks = pytest.mark.skipif(parallel.why_unavailable() is not None, reason=str(parallel.why_unavailable()))
SCRIPT = Path(__file__).with_name("parallel_ranks.py")
LIMIT = 120  # seconds; a job takes less than ten where the machine is not busy


class Job:
    """Ranks that torchrun starts on loopback; all of it has ended when the block has."""

    def __init__(self, folder, *command, size=2, nodes=1, port=0, name="job"):
        self.mark = f"LOOPNEST_TEST_JOB={uuid.uuid4()}"
        variable, value = self.mark.split("=")
        started_by = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        inherited = {key: text for key, text in os.environ.items() if key not in started_by}
        torchrun = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nnodes",
            str(nodes),
            "--nproc-per-node",
            str(size),
        ]
        loopback = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1"]
        self._files = [open(folder / f"{name}.{stream}", "w+") for stream in ("out", "err")]  # noqa: SIM115
        self.process = subprocess.Popen(
            [*torchrun, *loopback, *map(str, command)],
            env={**inherited, "OMP_NUM_THREADS": "1", variable: value},
            stdout=self._files[0],
            stderr=self._files[1],
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pid in self.running():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        for file in self._files:
            file.close()

    def wait(self):
        return self.process.wait(LIMIT)

    @property
    def out(self):
        return self._read(0)

    @property
    def err(self):
        return self._read(1)

    def _read(self, i):
        self._files[i].seek(0)
        return self._files[i].read()

    def running(self, rank=None):
        """The processes of this job, or those of one rank."""
        wanted = {self.mark, *([] if rank is None else [f"RANK={rank}"])}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue  # ended, or another user's
            if wanted <= set(environment) and state != "Z":
                found.append(int(folder.name))
        return found

    def until(self, happened):
        limit = time.monotonic() + LIMIT
        while not happened():
            assert self.process.poll() is None or happened(), self.err
            assert time.monotonic() < limit, self.err
            time.sleep(0.05)


linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="a job's processes are found in /proc")


# --- much with one start


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two ranks found, by rank."""
    folder = tmp_path_factory.mktemp("ranks")
    with Job(folder, SCRIPT, folder) as job:
        status = job.wait()
        assert all((folder / f"{rank}.json").exists() for rank in range(2)), job.err
        more = {"folder": folder, "status": status, "said": job.err, "left": job.running()}
    return [json.loads((folder / f"{rank}.json").read_text()) | more for rank in range(2)]


@needs_ranks
@pytest.mark.slow
def test_an_mlp_in_parts_is_within_the_contracts_bound_by_every_backend(found):
    for record in found:
        assert len(record["tensor"]) >= 2 * 4  # two forms, and at least the backends that need nothing else
        for name, result in record["tensor"].items():
            assert max(result["shares"]) <= 1, name
            assert result["gathered"], name
            assert (
                result["held"] == (4, 3)[record["rank"]] if " 7 " in name else result["held"] == (1, 0)[record["rank"]]
            )
    for name, result in found[0]["tensor"].items():
        assert result["db2"] == found[1]["tensor"][name]["db2"], name  # the bias stays alike without a word
    assert any(share > 0 for result in found[0]["tensor"].values() for share in result["shares"])


@needs_ranks
def test_tensors_are_taken_and_the_callers_weights_left_alone(found):
    for record in found:
        tensors = record["tensors"]
        assert tensors["y"] < 1e-5
        assert tensors["dx"] < 1e-5
        assert tensors["kind"] == "Tensor"
        assert tensors["whole"] == [6, 7]
        assert tensors["untouched"]


@needs_ranks
def test_an_mlp_is_trained_in_parts_as_it_is_whole(found):
    for record in found:
        assert record["trained"]["apart"] < 1e-12
        assert record["trained"]["moved"] > 1e-2


@needs_ranks
def test_dtensor_and_ours_agree_with_one_all_reduce_forward_and_one_backward(found):
    for record in found:
        assert record["collectives"]["apart"] < 1e-12
        assert record["collectives"]["counts"] == [{"allreduce_": 1}] * 2 + [{"all_reduce": 1}] * 2


@needs_ranks
@pytest.mark.parametrize("name", CURVES)
def test_ranks_train_to_the_curve_of_one_process_with_the_joined_batch(found, name):
    config = CURVES[name]
    alone = nn.train(nn.spirals(), config)
    bound = 1e-9 if config.dtype == "float64" else 1e-5
    for record in found:
        curve = record["curves"][name]
        np.testing.assert_allclose(curve["losses"], alone.losses, rtol=0, atol=bound)
        assert abs(curve["accuracy"] - alone.accuracy) <= 1 / 200
    assert found[0]["curves"][name] == found[1]["curves"][name]  # bit for bit: the ranks' networks stay alike
    assert abs(alone.losses[0] - alone.losses[-1]) > 0.01  # it learns


@needs_ranks
def test_ranks_stop_after_the_same_step_when_one_wishes_to_and_go_on_bit_for_bit(found):
    for record in found:
        stopped = record["stopped"]
        assert not stopped["finished"]
        assert stopped["steps"] == stopped["resumed"] == 18  # the wish, after step 17, travels with the 18th's loss
        assert stopped["same"]
        assert stopped["notes"] == []
        assert stopped["written"] == (record["rank"] == 0)


@needs_ranks
def test_one_rank_goes_on_with_the_training_of_two_to_the_same_curve_and_says_so(found):
    resumed = nn.Training.resume(found[0]["folder"] / "of_0.npz", nn.spirals())
    assert any("ranks 2, here 1" in note and "within rounding" in note for note in resumed.notes)
    run = resumed.run()
    np.testing.assert_allclose(run.losses, nn.train(nn.spirals(), run.config).losses, rtol=0, atol=1e-5)


@needs_ranks
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("batch", ("ValueError", "batch is 1 and there are 2 ranks", "take a batch of 2 or more")),
        ("data", ("ValueError", "the data is spirals", "on rank 1", "on rank 0")),
        ("config", ("ValueError", "'impl': 'numpy'", "on rank 1 (pid")),
        ("weights", ("ValueError", "the shapes of the weights", "(6, 7)", "give all ranks the same weights")),
        ("first", ("FileNotFoundError: nothing there",)),
        ("twice", ("RuntimeError: torch.distributed has been started",)),
    ],
)
def test_what_does_not_fit_is_refused_on_all_ranks(found, name, parts):
    for record in found:
        for part in parts:
            assert part in record["refusals"][name]


@needs_ranks
def test_ranks_share_the_processors(found):
    asked = os.environ.get("LOOPNEST_NUM_THREADS")
    for record in found:
        share = int(asked) if asked else max(1, processors() // 2)
        assert record["threads"] == [share, share]
        assert [place.partition(" (")[0] for place in record["places"]] == ["rank 0", "rank 1"]
        assert all(place.endswith(f"on {socket.gethostname()})") for place in record["places"])


@needs_ranks
@linux
def test_an_error_in_one_rank_ends_all_and_torchrun_names_it(found):
    record = found[0]
    assert record["status"] != 0
    assert record["left"] == []
    assert "ZeroDivisionError: this rank's own fault" in record["said"]
    assert "rank      : 1 " in record["said"][record["said"].index("Root Cause") :]


# --- the command


@needs_ranks
@pytest.mark.slow
@pytest.mark.skipif(nn.why_no_digits() is not None, reason=str(nn.why_no_digits()))
def test_torchrun_trains_the_digits_to_the_curve_of_one_process(tmp_path):
    options = ["digits", "--epochs", "4", "--impl", "cpp"]
    with Job(tmp_path, "-m", "loopnest", "train", *options, "--json", "--checkpoint", tmp_path / "c.npz") as job:
        assert job.wait() == 0, job.err
        record = json.loads(job.out)  # rank 0's alone
    alone = nn.train(nn.digits(), nn.Config(impl="cpp", epochs=4))
    np.testing.assert_allclose(record["losses"], alone.losses, rtol=0, atol=1e-5)
    assert record["accuracy"] > 0.95
    assert abs(record["accuracy"] - alone.accuracy) <= 2 / 179
    assert len(nn.Training.resume(tmp_path / "c.npz", nn.digits()).losses) == len(alone.losses)


def as_a_rank(*arguments, rank=0):
    command = [sys.executable, "-m", "loopnest", "train", *arguments]
    return subprocess.run(command, env={**os.environ, "RANK": str(rank)}, capture_output=True, text=True, timeout=120)


@needs_ranks
def test_a_rank_that_is_asked_for_help_gives_it():
    done = as_a_rank("--help")
    assert done.returncode == 0, done.stderr
    assert "--timeout" in done.stdout


@needs_ranks
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["letters"], 2, "'letters' is not one of"),
        (["xor", "--resume", "a.npz", "--seed", "1"], 2, "--seed is in the checkpoint"),
        (["xor"], 1, "rank 0: Error: the environment has RANK='0'"),
    ],
)
@pytest.mark.slow
def test_what_a_rank_cannot_do_it_refuses_once(arguments, code, said):
    done = as_a_rank(*arguments)
    assert done.returncode == code
    assert done.stderr.count(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    if code == 2:  # all ranks have this error, and the first prints it
        assert as_a_rank(*arguments, rank=1).stderr == ""


@needs_ranks
@pytest.mark.slow
def test_one_rank_trains_as_one_process_does_bit_for_bit(tmp_path):
    with Job(tmp_path, "-m", "loopnest", "train", "spirals", "--epochs", "2", "--json", size=1) as job:
        assert job.wait() == 0, job.err
        assert tuple(json.loads(job.out)["losses"]) == nn.train(nn.spirals(), nn.Config(epochs=2)).losses


# --- ranks that are lost


def under_way(job, checkpoint, than=0.0):
    """Wait until the training has written a checkpoint later than this; the second rank's process."""
    job.until(lambda: checkpoint.exists() and checkpoint.stat().st_mtime > than)
    (second,) = job.running(rank=1)
    return second


TRAIN = ["-m", "loopnest", "train", "spirals"]
LONG = ["--hidden", "16", "--batch", "32", "--seed", "4", "--epochs", "100000"]
CONFIG = nn.Config(hidden=16, batch=32, seed=4, epochs=100_000)


class TwoInOne(nn.Training):
    """One process that does what two ranks do, and adds what they add: the same numbers, bit for bit."""

    ranks = 2

    def _gradients(self, batch):
        parts = [batch[part] for part in parallel.split(len(batch), 2)]
        made = [self.network.gradients(self._x[part], self._targets[part]) for part in parts]
        loss = sum(of_part * len(part) / len(batch) for (of_part, _), part in zip(made, parts, strict=True))
        shares = [self.network.dtype.type(len(part) / len(batch)) for part in parts]
        first, second = ({name: array * s for name, array in g.items()} for (_, g), s in zip(made, shares, strict=True))
        return loss, {name: first[name] + second[name] for name in first}


def trained_alone(steps):
    """One process that has done what two ranks do in this number of steps."""
    straight = TwoInOne(nn.spirals(), CONFIG)
    straight.run(stop=lambda: straight.step_number >= steps)
    return straight


def is_bit_for_bit(training):
    straight = trained_alone(training.step_number)
    assert straight.losses == training.losses
    for name, array in straight.network.parameters.items():
        np.testing.assert_array_equal(array, training.network.parameters[name])


@pytest.mark.slow
@needs_ranks
@linux
def test_a_killed_rank_ends_the_job_torchrun_names_it_and_the_checkpoint_is_whole(tmp_path):
    path = tmp_path / "killed.npz"
    with Job(tmp_path, *TRAIN, *LONG, "--checkpoint", path) as job:
        second = under_way(job, path)
        os.kill(second, signal.SIGKILL)
        begin = time.monotonic()
        assert job.wait() != 0
        assert time.monotonic() - begin < 30
        assert job.running() == []
        said = job.err
    assert "rank 0: lost: a rank has ended, hangs or is late, and the " in said
    assert f"go on with it: --resume {path}" in said
    root = said[said.index("Root Cause") :]  # torchrun's own table
    assert f"(pid: {second})" in root
    assert "SIGKILL" in root
    saved = TwoInOne.resume(path, nn.spirals())
    assert saved.step_number >= 13  # an epoch
    is_bit_for_bit(saved)


@pytest.mark.slow
@needs_ranks
@linux
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL], ids=lambda kind: kind.name)
def test_ranks_go_on_with_a_checkpoint_and_write_one_when_their_torchrun_is_ended(tmp_path, ended_by):
    path = tmp_path / "c.npz"
    trained_alone(20).save(path)
    with Job(tmp_path, *TRAIN, "--resume", path) as job:
        under_way(job, path, than=path.stat().st_mtime)
        os.kill(job.process.pid, ended_by)  # torchrun passes SIGTERM on
        job.process.wait(LIMIT)
        limit = time.monotonic() + 30
        while job.running() and time.monotonic() < limit:
            time.sleep(0.05)
        assert job.running() == []
        out, said = job.out, job.err
    assert "going on after 20 steps" in out
    saved = TwoInOne.resume(path, nn.spirals())
    assert saved.step_number > 20
    assert f"stopped after {saved.step_number} steps; go on with it: --resume" in said
    assert ("since the torchrun that started it has ended" in said) == (ended_by == signal.SIGKILL)
    is_bit_for_bit(saved)


@pytest.mark.slow
@needs_ranks
@linux
def test_a_killed_rank_of_another_torchrun_ends_the_job(tmp_path):
    """As on two machines. Either torchrun may be the one that keeps the store."""
    path = tmp_path / "c.npz"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*TRAIN, *LONG, "--checkpoint", path]
    both = {"size": 1, "nodes": 2, "port": port}
    with Job(tmp_path, *command, name="a", **both) as a, Job(tmp_path, *command, name="b", **both) as b:
        a.until(path.exists)
        killed, left = (a, b) if a.running(rank=1) else (b, a)
        (second,) = killed.running(rank=1)
        os.kill(second, signal.SIGKILL)
        begin = time.monotonic()
        assert killed.wait() != 0
        assert left.wait() != 0
        assert time.monotonic() - begin < 30
        assert a.running() == b.running() == []
        assert "rank 0: lost: a rank has ended" in left.err
        assert "SIGKILL" in killed.err


@pytest.mark.slow
@needs_ranks
@linux
def test_a_rank_that_hangs_ends_the_job_when_the_collectives_time_is_over(tmp_path):
    path = tmp_path / "c.npz"
    with Job(tmp_path, *TRAIN, *LONG, "--checkpoint", path, "--timeout", "4") as job:
        second = under_way(job, path)
        os.kill(second, signal.SIGSTOP)
        begin = time.monotonic()
        job.until(lambda: "lost:" in job.err)
        assert 3 < time.monotonic() - begin < 30
        os.kill(second, signal.SIGCONT)  # or torchrun would wait half a minute before it kills it
        assert job.wait() != 0
        assert job.running() == []
    assert nn.Training.resume(path, nn.spirals()).step_number >= 13  # whole


# --- without a start


@pytest.mark.parametrize("length", [0, 1, 7, 64])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_parts_are_contiguous_and_differ_by_one_at_most(length, parts):
    slices = parallel.split(length, parts)
    assert [i for part in slices for i in range(part.start, part.stop)] == list(range(length))
    sizes = [part.stop - part.start for part in slices]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@needs_ranks
@pytest.mark.parametrize("asked", [None, "1"])
def test_a_rank_uses_its_share_of_the_processors_or_what_is_asked_for_and_gives_it_back(monkeypatch, asked):
    torch = pytest.importorskip("torch")
    monkeypatch.delenv("LOOPNEST_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("LOOPNEST_NUM_THREADS", asked)
    before = ln.num_threads(), torch.get_num_threads()
    with parallel.start() as ranks:
        assert ranks.threads == ln.num_threads() == torch.get_num_threads()
        assert ranks.threads == (int(asked) if asked else processors())
    assert (ln.num_threads(), torch.get_num_threads()) == before


@needs_ranks
def test_wrong_environments_and_backends_are_refused(monkeypatch):
    enter = lambda **how: parallel.start(**how).__enter__()  # noqa: E731
    refused(ValueError, lambda: enter(timeout=0), "timeout is 0")
    monkeypatch.setenv("RANK", "0")
    refused(ValueError, enter, "RANK='0'", "WORLD_SIZE", "torchrun --nproc-per-node 2")
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    refused(ValueError, enter, "MASTER_ADDR=''", "torchrun")


@needs_ranks
def test_wrong_weights_are_refused():
    ones = np.ones
    with parallel.start() as ranks:
        make = lambda *weights: parallel.TensorParallelMLP(*weights, ranks=ranks)  # noqa: E731
        refused(ValueError, lambda: make(ones(3), ones(4), ones((4, 2)), ones(2)), "w1 has shape (3,)", "2 axes")
        refused(ValueError, lambda: make(ones((3, 4)), ones(5), ones((4, 2)), ones(2)), "b1 has shape (5,)", "(4,)")
        refused(ValueError, lambda: make(ones((3, 4)), ones(4), ones((5, 2)), ones(2)), "w2 has shape (5, 2)", "(4, 2)")
