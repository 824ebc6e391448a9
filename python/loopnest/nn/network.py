"""A network: linear layers with an activation between them, and its gradients by back-propagation.

    h0 = x,  z_l = h_(l-1) @ w_l + b_l,  h_l = activation(z_l),  and y = z of the last layer

Two layers with GELU are the transformer's MLP and run as its fused operations, mlp_forward and mlp_backward. Other
networks are composed of linear, matmul and the activation's two operations.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..arrays import FLOATS, Array
from ..operations import OPERATIONS
from .choose import Chosen, choose, one_of
from .initialise import initialise

ACTIVATIONS = ("gelu", "relu", "tanh", "sigmoid", "identity")
LOSSES = ("cross_entropy", "mse")


def linear_backward(x: Array, w: Array, b: Array, dy: Array) -> tuple[Array, Array, Array]:
    """The gradients of linear, y = x @ w + b: dx = dy wᵀ, dw = xᵀ dy, and db the sum of dy's rows, all by matmul.

    The derivation is in `ln.mlp_backward`'s docstring.

    >>> import numpy as np, loopnest as ln
    >>> from loopnest import nn
    >>> x, w, b = np.ones((3, 2)), np.ones((2, 4)), np.ones(4)
    >>> ln.gradcheck(ln.linear, x, w, b, backward=nn.linear_backward).passed
    True
    """
    matmul = OPERATIONS["matmul"]
    return matmul(dy, w.T), matmul(x.T, dy), matmul(np.ones((1, len(dy)), dy.dtype), dy)[0]


def operations_of(layers: int, activation: str, loss: str) -> tuple[str, ...]:
    """The operations of a network with this number of layers, its loss included."""
    losses = (loss, f"{loss}_backward")
    if layers == 2 and activation == "gelu":
        return ("mlp_forward", "mlp_backward", *losses)
    between = () if activation == "identity" or layers == 1 else (activation, f"{activation}_backward")
    return ("linear", "matmul", *between, *losses)


class Network:
    """Linear layers with an activation between them.

    sizes       features of the input, of each hidden layer, of the output: (64, 128, 10) has two layers
    activation  gelu (its tanh form), relu, tanh, sigmoid, or identity, which leaves a linear network
    init, seed  of the weights: zeros, constant, xavier or he; biases begin as 0
    dtype       float32 or float64, of all arrays
    impl        an id as `nn.choose` takes it
    parameters  w1, b1, w2, b2 …: arrays of shapes (inputs, outputs) and (outputs,), which optimizers update in place

    Raises ValueError or TypeError, naming the argument, for other values.

    >>> import numpy as np
    >>> from loopnest import nn
    >>> network = nn.Network((2, 8, 3), seed=1, dtype=np.float64)
    >>> network(np.ones((5, 2))).shape
    (5, 3)
    >>> loss, gradients = network.gradients(np.ones((5, 2)), np.array([0, 1, 2, 0, 1]))
    >>> gradients["w1"].shape
    (2, 8)
    """

    def __init__(
        self,
        sizes: Iterable[int],
        *,
        activation: str = "gelu",
        init: str = "he",
        seed: int = 0,
        dtype: Any = np.float32,
        impl: str | Chosen | None = None,
        loss: str = "cross_entropy",
    ) -> None:
        self.sizes = tuple(int(size) for size in sizes)
        self.layers = len(self.sizes) - 1
        self.is_mlp = self.layers == 2 and activation == "gelu"  # the transformer's, with operations of its own
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes is {self.sizes}, expected two or more numbers of features, 1 or more each")
        one_of("activation", activation, ACTIVATIONS)
        one_of("loss", loss, LOSSES)
        if np.dtype(dtype) not in FLOATS:
            raise TypeError(f"dtype is {dtype}, expected float32 or float64")
        self.activation = activation
        self.loss = loss
        self.dtype = np.dtype(dtype)
        self.parameters = initialise(self.sizes, init, seed, self.dtype)
        self.chosen: Chosen = choose(impl, operations_of(self.layers, activation, loss))

    def __call__(self, x: Array) -> Array:
        """The outputs (batch, last size) for inputs (batch, first size)."""
        return self.forward(x)[0]

    def forward(self, x: Array) -> tuple[Array, Any]:
        """The outputs, and a trace for `backward`: each layer's input and z, or the MLP's own cache."""
        p = self.parameters
        if self.is_mlp:
            y, cache = self.chosen["mlp_forward"](x, p["w1"], p["b1"], p["w2"], p["b2"])
            return y, cache
        trace = []
        h = z = x
        for layer in range(1, self.layers + 1):
            z = self.chosen["linear"](h, p[f"w{layer}"], p[f"b{layer}"])
            trace.append((h, z))
            if layer < self.layers:
                h = z if self.activation == "identity" else self.chosen[self.activation](z)
        return z, trace

    def backward(self, dy: Array, trace: Any) -> dict[str, Array]:
        """The gradients of the loss by each parameter, for dy, its gradient by the outputs."""
        if self.is_mlp:
            _, *gradients = self.chosen["mlp_backward"](dy, trace)
            return dict(zip(("w1", "b1", "w2", "b2"), gradients, strict=True))
        matmul = self.chosen["matmul"]
        found = {}
        for layer in range(self.layers, 0, -1):
            w, b = f"w{layer}", f"b{layer}"
            found[b] = matmul(np.ones((1, len(dy)), dy.dtype), dy)[0]
            found[w] = matmul(trace[layer - 1][0].T, dy)
            if layer > 1:  # no gradient by the network's input is needed
                dy = matmul(dy, self.parameters[w].T)
                if self.activation != "identity":
                    dy = self.chosen[f"{self.activation}_backward"](trace[layer - 2][1], dy)
        return found

    def gradients(self, x: Array, targets: Array) -> tuple[float, dict[str, Array]]:
        """The loss, a mean over the batch, and its gradients by each parameter.

        targets  for cross_entropy the classes, int64 (batch,); for mse an array of the outputs' shape and dtype
        """
        y, trace = self.forward(x)
        dy = self.chosen[f"{self.loss}_backward"](y, targets)
        return float(self.chosen[self.loss](y, targets)), self.backward(dy, trace)

    def accuracy(self, x: Array, labels: Array) -> float:
        """The share of inputs whose largest output belongs to their class."""
        return float(np.mean(np.argmax(self(x), axis=1) == labels)) if len(labels) else 0.0

    def __repr__(self) -> str:
        return f"<network {'-'.join(map(str, self.sizes))} {self.activation} {self.dtype}>"
