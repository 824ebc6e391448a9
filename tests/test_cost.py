"""The cost model: its formulas against sums written out by hand, and its table."""

import pytest
from loopnest.learn.experiments import parallel_cost as cost
from loopnest.learn.experiments.parallel_cost import NETWORKS, PROCESSORS, Network, Processor, Work
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
    data = cost.run(network="ethernet-10")
    _, one, *_, most = cost.rows(data)
    assert one.count("100.0%") == 2
    network, ranks = NETWORKS["ethernet-10"], data.steps[0].ranks[-1]
    for share in (
        data.seconds / ranks / cost.tensor_parallel(data.work, ranks, data.processor, network),
        data.seconds / cost.data_parallel(data.work, ranks, data.processor, network),
    ):
        assert f"{share:.1%}" in most


def test_tensor_parallelism_is_fastest_where_the_formulas_derivative_is_zero():
    work, core, network = cost.stack("gpt2-small-mlp-512", 12), PROCESSORS["core"], NETWORKS["loopback"]
    w, n = work.flops / work.layers / core.flops, 4 * work.tokens * work.features
    expected = ((w - 4 * n / network.bandwidth) / (4 * network.latency)) ** 0.5
    assert abs(cost.fastest(work, core, network) - expected) < 1
    slow = Network("slow", 1.0, 1.0)
    assert cost.fastest(work, core, slow) == 1


def test_a_network_joins_no_more_ranks_than_it_can():
    assert "1,024" in str(cost.rows(cost.run(network="loopback")))
    assert "1,024" not in str(cost.rows(cost.run(network="nvlink-4", processor="h100-float32", layers=1)))


def test_what_the_model_does_not_take_it_refuses():
    refused(ValueError, lambda: cost.stack("gpt", 12), "'gpt'", "gpt2-small-mlp-512")
    refused(ValueError, lambda: cost.run(network="none"), "'none'", "nvlink-4")
    refused(ValueError, lambda: cost.run(processor="none"), "'none'", "h100-float32")
