"""The networks whose steps are measured in several processes, and their batches."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from shared.config import Config, resolve
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig
from shared.protocol import Batch
from shared.protocol.dataset import Signature
from shared.protocol.weights import network_shapes

SCALARS = 3
"""Numbers of a step that are summed beside its gradients: loss, metric, and count of targets."""

Framework = Literal["jax", "torch"]


@dataclass(frozen=True)
class Size:
    """A network and its batch; data are random."""

    about: str
    network: NetworkConfig
    signature: Signature
    batch_size: int
    length: int
    """Time steps T of a sequence."""
    steps: int
    """Optimizer steps of a call of the backend."""

    def config(self, framework: Framework, device: Any, rows: int | None = None) -> Config:
        """Returns a configuration; `rows` replaces the batch size."""
        tokens = self.signature.tokens
        return resolve(
            Config(
                framework,
                task="text" if tokens else "random-labels",
                network=self.network,
                data=TextData() if tokens else GeneratedData(),
                batch_size=rows or self.batch_size,
                device=device,
            )
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, by name."""
        signature = self.signature
        return network_shapes(self.network, signature.input_size, signature.output_size)

    @property
    def reduced_bytes(self) -> int:
        """Bytes that a process gives into the sums of a step: float32."""
        return 4 * (SCALARS + sum(map(math.prod, self.shapes.values())))

    def batches(self, rows: np.ndarray) -> Batch[np.ndarray]:
        """Returns these rows of a random batch, once for each step of a call.

        Args:
            rows: numbers from 0; those past the batch's end repeat the last one with weights of 0.
        """
        rng = np.random.default_rng(0)
        classes, features = self.signature.output_size, self.signature.input_size
        shape = self.batch_size, self.length
        if self.signature.tokens:
            inputs = rng.integers(0, classes, shape, np.int32)
        else:
            inputs = rng.standard_normal((*shape, features), np.float32)
        outputs = shape if self.signature.per_step else shape[:1]
        targets = rng.integers(0, classes, outputs, np.int32)
        weights = np.ones(outputs, np.float32)
        places = np.minimum(rows, self.batch_size - 1)
        own = weights[places]
        own[rows >= self.batch_size] = 0
        times = partial(np.repeat, repeats=self.steps, axis=0)
        return Batch(
            times(inputs[None, places]),
            times(targets[None, places]),
            times(own[None]),
            np.ones(self.steps, bool),
            None,
        )


SIZES = {
    "small": Size(
        "Elman, H = 32, B = 64 sequences of T = 50 steps",
        NetworkConfig("rnn", hidden_size=32),
        Signature(10, 2, tokens=False, per_step=False, loss="cross_entropy"),
        batch_size=64,
        length=50,
        steps=64,
    ),
    "text": Size(
        "the task `text`: LSTM, H = 256, 104 characters, B = 32, T = 64",
        NetworkConfig("lstm", hidden_size=256),
        Signature(104, 104, tokens=True, per_step=True, loss="cross_entropy"),
        batch_size=32,
        length=64,
        steps=4,
    ),
    "large": Size(
        "LSTM, two layers, H = 512, 5 000 words, B = 20, T = 35",
        NetworkConfig("lstm", hidden_size=512, num_layers=2, embedding_size=512),
        Signature(5_000, 5_000, tokens=True, per_step=True, loss="cross_entropy"),
        batch_size=20,
        length=35,
        steps=1,
    ),
}
