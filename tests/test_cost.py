"""The cost model: its formulas against sums written out by hand, and its table."""

import pytest
from click.testing import CliRunner
from loopnest.cli.parallel import command
from loopnest.parallel import cost
from loopnest.parallel.cost import NETWORKS, PROCESSORS, Network, Processor, Work
from test_messages import refused

WIRE = Network("wire", latency=1e-3, bandwidth=1e6)
RANK = Processor("rank", flops=1e6, itemsize=4)
WORK = Work(tokens=5, features=10, hidden=20, layers=2)


def test_a_ring_passes_every_part_round_twice():
    p, n = 4, 1000
    messages = [1e-3 + n / p / 1e6 for _ in range(2 * (p - 1))]
    assert cost.all_reduce(n, p, WIRE) == pytest.approx(sum(messages))
    assert cost.all_reduce(n, 1, WIRE) == 0


def test_tensor_parallelism_waits_for_two_sums_a_layer():
    flops = 2 * 6 * 2 * 5 * 10 * 20  # layers, products, a multiply and an add, t d h
    expected = flops / 4 / 1e6 + 2 * 2 * cost.all_reduce(5 * 10 * 4, 4, WIRE)
    assert cost.tensor_parallel(WORK, 4, RANK, WIRE) == pytest.approx(expected)


def test_data_parallelism_waits_for_one_sum_of_all_gradients():
    compute, parameters = 2 * 6 * 2 * 5 * 10 * 20 / 1e6, 2 * (10 * 20 + 20 + 20 * 10 + 10)
    expected = compute + cost.all_reduce(4 * parameters, 3, WIRE)
    assert cost.data_parallel(WORK, 3, RANK, WIRE) == pytest.approx(expected)
    assert cost.data_parallel(WORK, 1, RANK, WIRE) == pytest.approx(compute)


def test_efficiency_is_the_share_of_a_step_that_computes():
    lines = cost.table(WORK, RANK, [WIRE], [1, 4])
    assert lines[5].count("100.0%") == 2
    compute = WORK.flops / RANK.flops
    for share in (
        compute / 4 / cost.tensor_parallel(WORK, 4, RANK, WIRE),
        compute / cost.data_parallel(WORK, 4, RANK, WIRE),
    ):
        assert f"{share:.1%}" in lines[6]


def test_tensor_parallelism_is_fastest_where_the_formulas_derivative_is_zero():
    work, core, network = cost.workload("gpt2-small-mlp-512"), PROCESSORS["core"], NETWORKS["loopback"]
    w, n = work.flops / work.layers / core.flops, 4 * work.tokens * work.features
    expected = ((w - 4 * n / network.bandwidth) / (4 * network.latency)) ** 0.5
    assert abs(cost.fastest(work, core, network) - expected) < 1
    slow = Network("slow", 1.0, 1.0)
    assert cost.fastest(work, core, slow) == 1
    assert "does not pay" in "\n".join(cost.table(work, core, [slow]))


def test_the_command_prints_the_table_of_each_network_within_80_columns():
    for arguments in ([], ["--processor", "h100-float32"], ["--network", "nvlink-4", "--layers", "1"]):
        result = CliRunner().invoke(command, ["cost", *arguments])
        assert result.exit_code == 0, result.output
        assert max(map(len, result.output.splitlines())) <= 80
    assert "loopback" not in result.output
    assert "1,024" not in result.output  # nvlink-4 joins 256 at most


def test_what_the_model_does_not_take_it_refuses():
    refused(ValueError, lambda: cost.workload("gpt"), "workload is 'gpt'", "gpt2-small-mlp-512")
    for option in ("--network", "--processor", "--workload"):
        assert "none" in CliRunner().invoke(command, ["cost", option, "none"]).output
