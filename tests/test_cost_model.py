"""The cost model: its formulas at values worked out by hand, its limits, what it says, and what was measured of it."""

import dataclasses
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from loopnest.parallel import cost
from loopnest.parallel.cost import (
    PROCESSORS,
    PUBLISHED,
    RANKS,
    Network,
    Processor,
    Sample,
    Work,
    all_reduce,
    data_parallel,
    efficiency_picture,
    fit,
    stops_paying,
    table,
    tensor_parallel,
    workloads,
)
from loopnest.parallel.cost_commands import cost_command, measure_command

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="what it calls is tested elsewhere")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
drawn = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FILE = DOCS / "cost-model.md", DOCS / "cost-model" / "measured.json"

NET = Network("a network", latency=10e-6, bandwidth=1e9)
CORE = Processor("a core", 100e9)
MLP = Work("an MLP", tokens=500, features=1000, hidden=4000)
WORK = 12 * 500 * 1000 * 4000 / 100e9  # 0.24 s


def by(algorithm):
    return dataclasses.replace(NET, algorithm=algorithm)


# --- the formulas


@pytest.mark.parametrize(
    ("algorithm", "ranks", "messages", "sent"),
    [
        ("ring", 2, 2, 1e6),
        ("ring", 4, 6, 1.5e6),
        ("ring", 1000, 1998, 1.998e6),
        ("halving", 2, 2, 1e6),
        ("halving", 4, 4, 1.5e6),
        ("halving", 1024, 20, 2e6 * 1023 / 1024),
        ("doubling", 2, 1, 1e6),
        ("doubling", 8, 3, 3e6),
        ("halving", 5, 6, 1.6e6),  # the rounds of 8
        ("doubling", 5, 3, 3e6),
    ],
)
def test_an_all_reduce_of_a_million_bytes(algorithm, ranks, messages, sent):
    found = all_reduce(1_000_000, ranks, by(algorithm))
    assert (found.messages, found.bytes) == (messages, pytest.approx(sent))
    assert found.latency == pytest.approx(messages * 10e-6)
    assert found.wire == pytest.approx(sent / 1e9)
    assert found.seconds == found.wire + found.latency


@pytest.mark.parametrize("algorithm", ["ring", "halving", "doubling"])
def test_one_rank_sends_nothing_and_loses_nothing(algorithm):
    assert all_reduce(10**9, 1, by(algorithm)) == cost.Exchange()
    for found in (tensor_parallel(MLP, 1, CORE, by(algorithm)), data_parallel(MLP, 1, CORE, by(algorithm))):
        assert (found.wire, found.latency, found.bytes, found.messages) == (0, 0, 0, 0)
        assert found.total == found.compute == pytest.approx(WORK)
        assert found.efficiency == 1


def test_tensor_parallel_by_hand():
    found = tensor_parallel(MLP, 4, CORE, NET)  # two sums of 500 x 1000 numbers of 4 bytes, of which 1.5 are sent
    assert found.compute == pytest.approx(0.06)
    assert found.wire == pytest.approx(2 * 1.5 * 2e6 / 1e9)
    assert found.latency == pytest.approx(2 * 6 * 10e-6)
    assert found.total == pytest.approx(0.06 + 0.006 + 0.00012)
    assert found.efficiency == pytest.approx(0.24 / 4 / 0.06612)
    twelve = tensor_parallel(dataclasses.replace(MLP, layers=12), 4, CORE, NET)
    assert twelve.total == pytest.approx(12 * found.total)


def test_data_parallel_by_hand():
    parameters = 2 * 1000 * 4000 + 4000 + 1000
    assert MLP.parameters == parameters
    nbytes = 4 * parameters
    exchange = 1.5 * nbytes / 1e9
    one = data_parallel(MLP, 4, CORE, NET, bucket=nbytes)  # which is full when the backward pass has ended
    assert one.total == pytest.approx(WORK + exchange + 60e-6)
    assert one.efficiency == pytest.approx(WORK / one.total)
    # Two buckets: the second waits for its gradients, or for the first one's sum, whichever is later.
    two = data_parallel(MLP, 4, CORE, NET, bucket=-(-nbytes // 2))
    each, backward = exchange / 2 + 60e-6, 2 / 3 * WORK
    assert each < backward / 2
    assert two.total == pytest.approx(WORK + each)
    assert two.efficiency == pytest.approx(WORK / two.total)
    slow = dataclasses.replace(NET, bandwidth=1e8)
    two = data_parallel(MLP, 4, CORE, slow, bucket=-(-nbytes // 2))
    each = 10 * exchange / 2 + 60e-6
    assert each > backward / 2
    assert two.total == pytest.approx(WORK / 3 + backward / 2 + 2 * each)
    apart = data_parallel(MLP, 4, CORE, slow, overlap=False, bucket=-(-nbytes // 2))
    assert apart.total == pytest.approx(WORK + 2 * each)
    assert (two.wire, two.latency) == (apart.wire, apart.latency)


def test_overlap_never_costs_and_never_beats_either_part():
    for network in PUBLISHED.values():
        for ranks in RANKS[1:]:
            work = workloads()["gpt2-small-mlp-128"]
            beside, after = (data_parallel(work, ranks, CORE, network, overlap=o) for o in (True, False))
            assert max(beside.compute, beside.wire + beside.latency) <= beside.total <= after.total
            assert after.total == pytest.approx(after.compute + after.wire + after.latency)


@pytest.mark.parametrize("algorithm", ["ring", "halving", "doubling"])
def test_efficiency_falls_with_ranks_and_rises_with_bandwidth_and_with_less_latency(algorithm):
    for split in (tensor_parallel, data_parallel):
        shares = [split(MLP, 2**r, CORE, by(algorithm)).efficiency for r in range(11)]
        assert shares == sorted(shares, reverse=True)
        for better in ({"bandwidth": 2e9}, {"latency": 5e-6}):
            worse, network = by(algorithm), dataclasses.replace(by(algorithm), **better)
            for p in (2, 64):
                assert split(MLP, p, CORE, network).efficiency > split(MLP, p, CORE, worse).efficiency


def test_data_parallel_scales_by_the_wire_alone_when_ranks_are_many():
    no_latency = dataclasses.replace(NET, latency=0.0)
    far, farther = (data_parallel(MLP, p, CORE, no_latency, overlap=False).total for p in (10**5, 10**6))
    assert farther == pytest.approx(far, rel=1e-4)
    assert farther == pytest.approx(WORK + 2 * 4 * MLP.parameters / 1e9, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Network("", -1, 1), "latency is -1"),
        (lambda: Network("", 0, 0), "bandwidth 0"),
        (lambda: Network("", 0, 1, "star"), "algorithm is 'star'"),
        (lambda: Processor("", 0), "flops is 0"),
        (lambda: Work("", 1, 0, 1), "features is 0"),
        (lambda: all_reduce(1, 0, NET), "ranks is 0"),
        (lambda: data_parallel(MLP, 2, CORE, NET, bucket=0), "bucket is 0"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        make()


# --- where tensor parallelism stops paying


CASES = [
    (work, CORE, dataclasses.replace(network, algorithm=algorithm))
    for algorithm in ("ring", "halving", "doubling")
    for network in (*PUBLISHED.values(), NET)
    for work in (MLP, *(w for name, w in workloads().items() if name.startswith("gpt2")))
]


@pytest.mark.parametrize(("work", "core", "network"), CASES, ids=lambda x: getattr(x, "name", ""))
def test_the_closed_forms_find_what_trying_all_numbers_of_ranks_finds(work, core, network):
    found = stops_paying(work, core, network)
    most = min(work.hidden, network.most or work.hidden)
    times = [tensor_parallel(work, p, core, network).total for p in range(1, most + 1)]
    assert times[found.fastest - 1] == pytest.approx(min(times))
    assert found.speedup == pytest.approx(times[0] / min(times))
    assert found.pays == (times[1] < times[0])
    shares = [tensor_parallel(work, p, core, network).efficiency for p in range(1, most + 1)]
    assert found.half == max(p for p, share in enumerate(shares, 1) if share >= 0.5)


def test_by_halving_it_is_fastest_near_where_its_derivative_is_zero():
    for latency in (1e-4, 3e-4, 1e-3):
        network = dataclasses.replace(by("halving"), latency=latency)
        w, n = WORK, 4 * MLP.activation / NET.bandwidth
        p = (w - 4 * n) * math.log(2) / (4 * latency)
        assert p / 2 < stops_paying(MLP, CORE, network).fastest < 2 * p < MLP.hidden


def test_half_of_the_time_is_lost_where_the_quadratic_equation_says():
    w, n = WORK, 4 * MLP.activation / NET.bandwidth
    for latency in (1e-6, 1e-5, 1e-4):
        found = stops_paying(MLP, CORE, dataclasses.replace(NET, latency=latency))
        b = n - latency  # 4 (p - 1)(p α + n/B) = w
        root = (-b + math.sqrt(b * b + 4 * latency * (n + w / 4))) / (2 * latency)
        assert found.half == math.floor(root)
    none = stops_paying(MLP, CORE, dataclasses.replace(NET, latency=0.0))
    assert none.half == math.floor(none.half_bound)
    assert none.half_bound == pytest.approx(1 + 3 * 4000 * 1e9 / (100e9 * 4)) == pytest.approx(1 + w / (4 * n))
    assert none.fastest == MLP.hidden


def test_without_latency_half_is_lost_at_the_same_number_for_any_tokens_and_features():
    network = dataclasses.replace(NET, latency=0.0)
    for change in ({"tokens": 7}, {"features": 30}):
        other = dataclasses.replace(MLP, **change)
        assert stops_paying(other, CORE, network).half == stops_paying(MLP, CORE, network).half
    wider = dataclasses.replace(MLP, hidden=8000)
    assert stops_paying(wider, CORE, network).half_bound == pytest.approx(61)


def test_narrow_layers_do_not_pay_at_all():
    narrow = dataclasses.replace(MLP, hidden=100)  # less than F · itemsize / 3 B = 133
    found = stops_paying(narrow, CORE, NET)
    assert (found.pays, found.fastest, found.speedup) == (False, 1, 1)
    text = " ".join(cost.verdict(narrow, CORE, NET))
    assert "does not pay: two ranks are slower than one" in text
    assert "H is 100, and must be more than 133 for the wire alone" in text
    far = dataclasses.replace(NET, latency=1.0)
    assert "as h is more than 133; the latency does not" in " ".join(cost.verdict(MLP, CORE, far))


# --- a network from measurements


def test_a_fit_finds_the_network_that_made_the_times():
    for algorithm in ("ring", "halving", "doubling"):
        truth = Network("", 35e-6, 2.5e9, algorithm)
        samples = [Sample(64 << 2 * i, all_reduce(64 << 2 * i, 8, truth).seconds) for i in range(10)]
        found = fit(samples, 8, "fitted", algorithm)
        assert (found.name, found.algorithm) == ("fitted", algorithm)
        assert found.latency == pytest.approx(35e-6)
        assert found.bandwidth == pytest.approx(2.5e9)


def test_a_fit_weighs_small_and_large_arrays_alike():
    truth = Network("", 35e-6, 2.5e9)
    noisy = [
        Sample(64 << 2 * i, all_reduce(64 << 2 * i, 2, truth).seconds * (1.1 if i % 2 else 0.9)) for i in range(10)
    ]
    found = fit(noisy, 2)
    assert found.latency == pytest.approx(35e-6, rel=0.1)
    assert found.bandwidth == pytest.approx(2.5e9, rel=0.15)


def test_a_fit_has_no_negative_latency():
    found = fit([Sample(1000, 1e-6), Sample(2000, 2.2e-6), Sample(4000, 4.6e-6)], 2)
    assert found.latency == 0
    assert found.bandwidth == pytest.approx(0.9e9, rel=0.1)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="ranks is 1"):
        fit([Sample(1, 1.0), Sample(2, 2.0)], 1)
    with pytest.raises(ValueError, match="1 sizes"):
        fit([Sample(1, 1.0), Sample(1, 2.0)], 2)
    with pytest.raises(ValueError, match="measure larger ones"):
        fit([Sample(64, 1e-3), Sample(4096, 1e-5)], 2)


# --- what is told


def test_the_table_has_a_row_for_each_number_of_ranks_in_80_columns():
    for network in PUBLISHED.values():
        lines = table(workloads()["gpt2-small-mlp-512"], PROCESSORS["h100-float32"], network)
        assert max(map(len, lines)) <= 80
        reached = [p for p in RANKS if not network.most or p <= network.most]
        rows = [int(line[:6].replace(",", "")) for line in lines if re.match(r" *[\d,]+ +\d", line)]
        assert rows == 2 * reached
        assert ("256 ranks at most" in "\n".join(lines)) == (network.name == "nvlink-4")


def test_a_row_of_the_table():
    lines = table(MLP, CORE, NET, ranks=(4,))
    assert "     4    60.0 ms    6.00 ms     120 µs    66.1 ms       90.7%       6.00 MB" in lines


def test_every_published_figure_has_its_source():
    for thing in (*PUBLISHED.values(), *PROCESSORS.values()):
        assert len(thing.source) > 20


@drawn
def test_the_picture_has_a_line_for_each_network():
    svg = efficiency_picture(MLP, [(CORE, network) for network in PUBLISHED.values()])
    ElementTree.fromstring(svg)
    for name in PUBLISHED:
        assert name in svg


def run(*args):
    return CliRunner(env={"COLUMNS": "80"}).invoke(cost_command, list(map(str, args)))


@pytest.fixture
def measured(tmp_path):
    """A file of made-up measurements."""
    from loopnest.parallel.measure import Measured, Step

    work = Work("gpt2-small-mlp-512", 512, 768, 3072, 2)
    steps = (Step("tensor", 1, work, 0, 0.3, 0.29), Step("data, overlapped", 2, work, 4, 0.4, 0.35))
    found = Measured("a machine", CORE, Network("loopback", 20e-6, 1e9), 2, (Sample(64, 4e-5),), steps)
    (tmp_path / "measured.json").write_text(json.dumps(found.to_json()))
    return tmp_path / "measured.json"


def test_the_command_tells_all_networks_or_one(measured):
    all_of_them = run("--measured", measured)
    assert all_of_them.exit_code == 0, all_of_them.output
    assert max(map(len, all_of_them.output.splitlines())) <= 80
    for name in ("loopback", *PUBLISHED):
        assert name in all_of_them.output
    assert "measured: a machine" in all_of_them.output
    one = run("--measured", measured, "--network", "measured", "--ranks", "1,2")
    assert "network    loopback: 20.0 µs a message, 1.00 GB/s, all-reduce by ring" in one.output
    told = json.loads(run("--measured", measured, "--json", "--ranks", "1,1024").output)
    assert [n["network"]["name"] for n in told["networks"]] == ["loopback", *PUBLISHED]
    assert [c["ranks"] for c in told["networks"][0]["costs"]] == [1, 1, 1024, 1024]
    assert [c["ranks"] for c in told["networks"][-1]["costs"]] == [1, 1]  # nvlink joins no 1,024
    ring, halving = (
        run("--measured", measured, "--network", "ethernet-10", "--algorithm", a).output for a in ("ring", "halving")
    )
    assert "by halving" in halving
    assert ring != halving


def test_the_command_uses_this_machine_where_nothing_was_measured():
    done = run("--network", "ethernet-100", "--ranks", "1,2")
    assert done.exit_code == 0, done.output
    assert re.search(r"a rank +one core: [\d.]+ GFLOP/s, 32-bit", done.output)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--network", "measured"), "there is no measured network: torchrun"),
        (("--network", "carrier-pigeon"), "carrier-pigeon"),
        (("--ranks", "1,zero"), "'1,zero' is not a list of whole numbers"),
        (("--measured", "/nowhere.json"), "does not exist"),
    ],
)
def test_a_wrong_command_is_refused(args, words):
    done = run(*args)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_a_file_that_is_no_measurement_is_refused(tmp_path):
    file = tmp_path / "x.json"
    for text, words in (("{", "is no JSON"), ("[]", "measured costs of format 'list'"), ('{"format": 1}', "format 1")):
        file.write_text(text)
        done = run("--measured", file)
        assert done.exit_code == 1
        assert words in done.output


def test_measurements_are_joined_by_their_ranks():
    from loopnest.parallel.measure import Measured, Step

    work = Work("x", 1, 1, 1)
    one = Measured("m", CORE, steps=(Step("tensor", 1, work, 0, 1.0, 1.0),), notes=("busy",))
    two = Measured("m", CORE, NET, 2, (Sample(1, 1.0),), (Step("tensor", 2, work, 0, 2.0, 2.0),))
    both = one.joined(two)
    assert [step.ranks for step in both.steps] == [1, 2]
    assert both.network == NET
    again = both.joined(dataclasses.replace(one, steps=(Step("tensor", 1, work, 0, 3.0, 3.0),), notes=()))
    assert [step.seconds for step in again.steps] == [3.0, 2.0]
    assert (again.network, again.ranks, again.samples) == (NET, 2, two.samples)
    assert Measured.from_json(json.loads(json.dumps(again.to_json()))) == again


# --- measured


@pytest.mark.parametrize("overlap", [False, True])
def test_sums_are_begun_during_the_backward_pass_where_they_are_to_overlap(monkeypatch, overlap):
    from loopnest.parallel import data_parallel as dp
    from loopnest.parallel import measure

    events = []
    backward, ready = measure.mlp_backward, dp.Buckets.ready
    monkeypatch.setattr(measure, "mlp_backward", lambda *a, **how: events.append("backward") or backward(*a, **how))
    monkeypatch.setattr(dp.Buckets, "ready", lambda self, name: events.append(name) or ready(self, name))
    work = Work("x", 4, 3, 5, 2)
    step, buckets = measure._data_step(None, [measure._weights(work, i) for i in (0, 1)], measure._x(work), overlap)
    step()
    layers = [[f"{name}.{layer}" for name in ("b2", "w2", "b1", "w1")] for layer in (1, 0)]
    if overlap:
        assert events == ["backward", *layers[0], "backward", *layers[1]]
    else:
        assert events == ["backward", "backward", *layers[0], *layers[1]]
    assert buckets == 4


@needs_torch
def test_two_ranks_measure_their_network_and_their_steps(tmp_path):
    file = tmp_path / "measured.json"
    options = ["--workload", "mlp-64x256x1024", "--seconds", "0.02", "--out", str(file)]
    alone = CliRunner().invoke(measure_command, options)
    assert alone.exit_code == 0, alone.output
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    done = subprocess.run(
        [*torchrun, *rendezvous, "-m", "loopnest.parallel", "measure", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for output in (alone.output, done.stdout):
        assert "split " in output
        assert max(len(line) for line in output.splitlines() if not line.startswith("note")) <= 80
    from loopnest.parallel.measure import SIZES, load

    found = load(file)
    assert [(step.split, step.ranks) for step in found.steps] == [
        ("tensor", 1), ("data", 1), ("tensor", 2), ("data", 2), ("data, overlapped", 2),
    ]  # fmt: skip
    assert [sample.bytes for sample in found.samples] == list(SIZES)
    assert 1e-6 < found.network.latency < 0.1
    assert 1e7 < found.network.bandwidth < 1e12
    assert (found.network.name, found.ranks) == ("loopback", 2)
    assert "gloo between 2 ranks on one machine" in found.network.source
    assert found.steps[-1].buckets == 4  # w2 and w1 of two layers
    for step in found.steps[:2]:
        assert step.seconds > 0.8 * step.predicted(found.processor, None)  # no step of one core beats its limit


# --- the page


def blocks():
    """The page's commands, each with the output that follows it."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"```bash\npython -m loopnest\.parallel (cost [^\n]*)\n```\n+```text\n(.*?)```", text, re.DOTALL)


def test_the_pages_tables_are_what_the_commands_beside_them_print():
    found = blocks()
    assert len(found) >= 2
    for command, output in found:
        args = [word.replace("docs/cost-model", str(FILE.parent)) for word in command.split()[1:]]
        done = run(*args)
        assert done.exit_code == 0, done.output
        assert done.output.strip() == output.strip()


def test_the_pages_words_about_where_it_stops_are_the_models():
    from loopnest.parallel.measure import load

    here = load(FILE)
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    found = stops_paying(workloads()["gpt2-small-mlp-512"], here.processor, here.network)
    assert f"On the loopback above it is at {found.fastest} ranks." in text
    on_nvlink = stops_paying(workloads()["gpt2-small-mlp-512"], PROCESSORS["h100-float32"], PUBLISHED["nvlink-4"])
    assert f"no gain to share these 768 → 3,072 layers among more than {on_nvlink.fastest}:" in text
    told = {
        ("tensor", 1): r"\*\*One rank\*\* takes ([\d.]+) times the model's time",
        ("tensor", 2): r"\*\*Two ranks, tensor parallel\*\*: ([\d.]+)\.",
        ("data", 2): r"\*\*Two ranks, data parallel\*\*, summed after the backward pass: ([\d.]+),",
    }
    ratios = {(s.split, s.ranks): s.fastest / s.predicted(here.processor, here.network) for s in here.steps}
    for step, words in told.items():
        assert re.search(words, text)[1] == f"{ratios[step]:.2f}"


@drawn
def test_the_pages_picture_is_the_commands(tmp_path):
    made = tmp_path / "efficiency.svg"
    done = run("--measured", FILE, "--svg", made)
    assert done.exit_code == 0, done.output
    ours, there = (ElementTree.fromstring(p.read_text("utf-8")) for p in (made, FILE.parent / "efficiency.svg"))
    texts = [[node.text for node in tree.iter() if node.text and node.text.strip()] for tree in (ours, there)]
    assert texts[0] == texts[1]
