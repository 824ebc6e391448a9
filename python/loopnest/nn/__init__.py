"""How is a network trained on loopnest's own operations, without a framework?

Data and a Config come in; a Run comes out, with the loss of every step and the accuracy after every epoch. Each
product, activation and step is a rung, chosen by one id for all operations.

>>> from loopnest import nn
>>> data = nn.spirals(seed=0)
>>> run = nn.train(data, nn.Config(hidden=32, epochs=60, batch=32, lr=0.02, seed=1))
>>> run.accuracy > 0.95
True
"""

from .checkpoint import CheckpointError
from .choose import Chosen, choose
from .data import Data, batches, digits, spirals, why_no_digits, xor
from .initialise import INITIALISERS, initialise
from .network import ACTIVATIONS, LOSSES, Network, linear_backward
from .optimize import LEARNING_RATES, OPTIMIZERS, Optimizer
from .training import Config, Epoch, Run, Training, train

__all__ = [
    "ACTIVATIONS",
    "INITIALISERS",
    "LEARNING_RATES",
    "LOSSES",
    "OPTIMIZERS",
    "CheckpointError",
    "Chosen",
    "Config",
    "Data",
    "Epoch",
    "Network",
    "Optimizer",
    "Run",
    "Training",
    "batches",
    "choose",
    "digits",
    "initialise",
    "linear_backward",
    "spirals",
    "train",
    "why_no_digits",
    "xor",
]
