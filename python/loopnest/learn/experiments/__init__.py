"""Questions answered by experiment: each is a function that returns data, and the answer, a text and a picture of them.

>>> from loopnest.learn.experiments import EXPERIMENTS
>>> depth = EXPERIMENTS["depth"]
>>> data = depth.run(layers=10)
>>> data.stack("relu, he x 2").factor > 1.5
True
>>> picture = depth.picture(data)  # SVG; needs matplotlib
"""

from . import (
    batch_size,
    bias_correction,
    depth,
    nonlinearity,
    ravine,
    similarity,
    summation,
    zero_init,
)
from .experiment import Experiment, to_json

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (similarity, nonlinearity, zero_init, depth, batch_size, ravine, bias_correction, summation)
}
"""All experiments by name, in the order in which they are best read."""

__all__ = ["EXPERIMENTS", "Experiment", "to_json"]
