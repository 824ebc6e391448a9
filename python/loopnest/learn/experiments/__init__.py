"""What happens if …? Seven questions about networks and numbers, answered by experiment.

An experiment's options come in: a seed, sizes. Data come out, and from them the answer in a sentence, a small table and
a picture; docs/experiments.md shows them.

>>> from loopnest.learn.experiments import EXPERIMENTS
>>> depth = EXPERIMENTS["depth"]
>>> data = depth.run(layers=10)
>>> data.stacks["relu, he x 2"].factor > 1.5
True
>>> picture = depth.picture(data)  # SVG; needs matplotlib
"""

from . import batch_size, depth, nonlinearity, parallel_cost, ravine, summation, zero_init
from .experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (nonlinearity, zero_init, depth, batch_size, ravine, summation, parallel_cost)
}
"""All experiments by name, in the order in which they are best read."""

__all__ = ["EXPERIMENTS", "Experiment"]
