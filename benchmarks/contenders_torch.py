"""The benchmark's contenders in PyTorch; see `benchmarks/cases.py`.

The loop of `torch.nn` is the best plain one: fused Adam, gradients set to None, the batch on the
device, and subnormal numbers flushed to zero, as XLA does and as our backend sets it.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.worker import Prepared
from rnn_torch import layers
from rnn_torch.backend import Backend
from shared.errors import InvalidInput
from shared.protocol import Snapshot
from shared.protocol.weights import layer_config


def start(name: str, device: str) -> str:
    """Gets the framework ready; returns where it computes.

    Raises:
        InvalidInput: PyTorch has no such device.
    """
    torch.set_flush_denormal(True)
    if device != "gpu":
        return f"cpu, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        raise InvalidInput("PyTorch sees no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.cuda.get_device_name()


def prepare(name: str, case: Case, device: str) -> Prepared:
    if case.kind == "product":
        return _product(case, device)
    if case.kind == "hello":
        return _hello(device)
    if name == "rnn_torch":
        return _backend(case, device)
    return _layer(name, case, device)


def _backend(case: Case, device: str) -> Prepared:
    """Prepares a case that trains as scripts/run.py does: S steps a call, from NumPy batches."""
    backend = Backend(cases.config(case, "torch", device), cases.SIGNATURE)
    state = backend.init(Snapshot.of(cases.weights(case)))
    if case.kind == "forward":
        inputs, _ = cases.examples(case)
        return Prepared(lambda: backend.predict(state, inputs))
    batch, rates = cases.stacked(case)

    def run() -> np.ndarray:
        _, (metrics,) = backend.advance([state], [batch], rates)
        return np.asarray(metrics.loss)

    return Prepared(run, len(rates))


class Classifier(nn.Module):
    """Recurrent layers → final state of each direction → linear."""

    def __init__(self, rnn: nn.Module, width: int):
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(width, cases.CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, final = self.rnn(x)
        h = final[0] if isinstance(final, tuple) else final
        directions = 2 if self.rnn.bidirectional else 1
        return self.head(torch.cat([*h[-directions:]], dim=-1))


def _layer(name: str, case: Case, device: str) -> Prepared:
    config = layer_config(case.network, cases.INPUT_SIZE)
    if name == "torch.nn":
        rnn = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[case.cell](**config.arguments())
    else:
        rnn = layers.make(config, device=torch.device("cpu"), dtype=torch.float32)
    model = Classifier(rnn, config.directions * case.hidden_size)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in cases.weights(case).items()})
    model.to(_device(device))
    inputs, targets = (torch.from_numpy(a).to(_device(device)) for a in cases.examples(case))
    targets = targets.long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    wait = _waiting(device)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        wait()
        return loss.detach().cpu()

    @torch.inference_mode()
    def forward() -> torch.Tensor:
        logits = model(inputs)
        wait()
        return logits

    return Prepared(step if case.kind == "train" else forward)


def _product(case: Case, device: str) -> Prepared:
    a = torch.randn(case.hidden_size, case.hidden_size, device=_device(device))
    b = torch.randn(case.hidden_size, case.hidden_size, device=_device(device))
    wait = _waiting(device)

    def run() -> torch.Tensor:
        c = a @ b
        wait()
        return c

    return Prepared(run)


def _hello(device: str) -> Prepared:
    """Prepares the steps of the task hello, in calls as training makes them."""
    config, signature, weights, calls = cases.hello("torch", device)
    backend = Backend(config, signature)
    states = [backend.init(Snapshot.of(weights))]

    def run() -> np.ndarray:
        losses = []
        for batch, rates in calls:
            (states[0],), (metrics,) = backend.advance([states[0]], [batch], rates)
            losses.append(metrics.loss)
        return np.concatenate(losses)

    return Prepared(run, cases.HELLO_STEPS)


def _device(device: str) -> torch.device:
    return torch.device("cuda" if device == "gpu" else "cpu")


def _waiting(device: str) -> Callable[[], None]:
    """Returns a function that waits for the device; a CPU has finished when a call returns."""
    return torch.cuda.synchronize if device == "gpu" else lambda: None
