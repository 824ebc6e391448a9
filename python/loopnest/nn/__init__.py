"""How is a network trained on loopnest's own operations, without a framework?

Data and a Config come in; a Run comes out, with the loss of every step and the accuracy after every epoch. Each
product, activation and step is a rung, chosen by one id for all operations.

>>> from loopnest import nn
>>> data = nn.spirals(seed=0)
>>> run = nn.train(data, nn.Config(hidden=32, epochs=60, batch=32, lr=0.02, seed=1))
>>> run.accuracy > 0.95
True

network.py     Network: linear layers with an activation between them, their outputs and gradients
initialise.py  initial weights: zeros, Xavier, He
optimize.py    Optimizer: sgd, momentum, rmsprop and adam over all of a network's parameters
data.py        Data, mini-batches; the digits, XOR and spirals
training.py    Config, Training, train: the loop and its record; training_tables.py prints and draws it
checkpoint.py  a stopped training in a file
choose.py      the implementation of each operation that an id such as "cpp" means
"""

from .checkpoint import CheckpointError
from .choose import Chosen, choose
from .data import Data, batches, digits, spirals, why_no_digits, xor
from .initialise import INITIALISERS, constant, he, initialise, xavier, zeros
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
    "constant",
    "digits",
    "he",
    "initialise",
    "linear_backward",
    "spirals",
    "train",
    "why_no_digits",
    "xavier",
    "xor",
    "zeros",
]
