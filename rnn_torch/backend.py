"""The training protocol in PyTorch: one optimizer step after another.

See `shared/protocol/backend.py` for the contract. A state is the module and its optimizer, changed
in place.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from rnn_torch import (
    bptt,
    cells,
    devices,
    losses,
    native,
    optimizers,
    private,
    processes,
    sampling,
)
from rnn_torch.network import Network
from rnn_torch.step import State, Step
from shared.config import Config
from shared.protocol import Batch, Snapshot
from shared.protocol.backend import Evaluation, Metrics
from shared.protocol.dataset import Signature
from shared.protocol.row_parts import own_rows
from shared.protocol.sampling import Sampling
from shared.protocol.trace import Trace, ordered, row_axis
from shared.protocol.weights import layer_config, network_shapes
from shared.system.team import ALONE, Team


class Backend:
    """Trains a network in PyTorch.

    Products are computed in full precision on every device (no TF32, in cuDNN neither). Subnormal
    numbers count as zero in this process, as they do in XLA: gradients that vanish over a long
    sequence pass through them, and a CPU takes many times longer for each.

    On a CPU, small networks train and are scored in one thread, others in as many as torch has
    (`devices.threads_for`). The number depends on the
    configuration and not on a measurement, so that the same run gives the same bits. A trace is
    computed in as many as torch has.

    Raises:
        InvalidInput: PyTorch has no such device.
    """

    def __init__(self, config: Config, signature: Signature, team: Team = ALONE, rows: int = 0):
        self.team = team
        self.devices = team.count
        self._rows = rows
        self._device = devices.find(config.device)
        self.config = config
        self._threads = devices.threads_for(config)
        self.device = devices.named(self._device, self._threads, team.count)
        self.signature = signature
        shapes = network_shapes(config.network, signature.input_size, signature.output_size)
        self.parameters = [*shapes]
        self.compile_s = 0.0
        self.compilation = "nothing to compile"
        self.notes: list[str] = []
        self._dtype = {"float32": torch.float32, "float64": torch.float64}[config.precision]
        if config.implementation == "native":
            kind = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[config.network.cell]
            self.path = f"torch.nn.{kind}"
            self.notes = native.gaps(config.network)
        else:
            probe = torch.zeros(1, 1, device=self._device, dtype=self._dtype)
            self.path = "a Python loop over the handcrafted cell, gradients by autograd"
            mode = layer_config(config.network, 1).mode
            if bptt.supports(mode, probe, (probe,), cells.Weights(probe, probe)):
                self.path = "a loop over time with its own backward pass (rnn_torch/bptt.py)"
            self.path += private.lacking()
        self.own_masks = config.implementation == "native" and config.network.dropout > 0
        self._step = Step(config, signature, self.parameters, self.own_masks, team)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.set_flush_denormal(True)

    def init(self, snapshot: Snapshot) -> State:
        network = Network(
            self.config.network,
            self.signature,
            self.config.implementation,
            device=self._device,
            dtype=self._dtype,
        )
        weights = {name: self._tensor(array) for name, array in snapshot.weights.items()}
        network.load_state_dict(weights, strict=True)
        params: optimizers.Params = dict(network.named_parameters())
        optimizer = optimizers.make(self.config.optimization, params)
        if snapshot.step:
            tensors: dict[str, dict[str, torch.Tensor]] = {}
            for key, array in snapshot.moments.items():
                moment, name = key.split(".", 1)
                tensors.setdefault(moment, {})[name] = self._tensor(array)
            optimizers.set_moments(
                self.config.optimization, optimizer, params, tensors, snapshot.step
            )
        carry = tuple(self._tensor(self._own_rows(part)) for part in snapshot.carry)
        return State(network, params, optimizer, carry, snapshot.step)

    def advance(
        self, states: Sequence[State], batches: Sequence[Batch[np.ndarray]], rates: np.ndarray
    ) -> tuple[list[State], list[Metrics]]:
        pairs = zip(states, batches, strict=True)
        return [*states], [self._advance(state, batch, rates) for state, batch in pairs]

    def _advance(self, state: State, batch: Batch[np.ndarray], rates: np.ndarray) -> Metrics:
        """Takes the steps of one state, which changes in place."""
        self._prepare(state, batch)
        counts, taken = self._counts(batch), []
        with devices.threads(self._threads):
            for i, rate in enumerate(rates):
                now = self._batch(batch, i)
                taken.append(self._step.take(state, now, float(rate), counts[i]))
        loss, metric, norms = zip(*taken, strict=True)
        flat = torch.stack([norm for step in norms for norm in step])
        stacked = torch.stack(loss), torch.stack(metric), flat.view(len(norms), -1)
        return Metrics(*(values.cpu() for values in stacked))

    def together(self, operations: float) -> bool:
        return False  # nothing is saved: operations are started one by one, for each seed

    def trace(
        self, state: State, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[State, Trace]:
        self._prepare(state, batch)
        counts, steps = self._counts(batch), []
        for i, rate in enumerate(rates):
            seen: dict[str, torch.Tensor] = {}
            self._step.take(state, self._batch(batch, i), float(rate), counts[i], seen)
            if self.team.several:
                seen = {name: self._all_rows(name, tensor) for name, tensor in seen.items()}
            # Where torch has int64 tokens, `shared` gave int32.
            whole = {name: t if t.is_floating_point() else t.int() for name, t in seen.items()}
            steps.append({name: _array(tensor) for name, tensor in whole.items()})
        return state, {name: np.stack([s[name] for s in steps]) for name in ordered(steps[0])}

    @torch.no_grad()
    def evaluate(self, state: State, batches: Iterable[Batch[np.ndarray]]) -> Evaluation:
        state.network.eval()
        totals = torch.zeros(3, dtype=torch.float64, device=self._device)
        carry: cells.State = ()
        for stacked in batches:
            carry = carry or state.network.zero_state(stacked.inputs.shape[1])
            with devices.threads(self._threads):
                for i in range(len(stacked.reset)):
                    batch = self._batch(stacked, i)
                    if batch.reset:
                        carry = tuple(torch.zeros_like(part) for part in carry)
                    outputs, carry = state.network(batch.inputs, carry, batch.lengths)
                    sums = losses.sums(self.signature.loss, outputs, batch.targets, batch.weights)
                    totals += torch.stack(sums)
        if self.team.several:
            processes.total([totals])
        loss, metric, weight = totals.tolist()
        return Evaluation(loss / weight, metric / weight)

    @torch.no_grad()
    def predict(
        self,
        state: State,
        inputs: np.ndarray,
        lengths: np.ndarray | None = None,
        carry: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        state.network.eval()
        read = (
            self._tensor(inputs) if self.signature.tokens else self._tensor(inputs).to(self._dtype)
        )
        before = state.network.zero_state(len(inputs))
        if carry is not None:
            before = tuple(self._tensor(part) for part in carry)
        steps = None if lengths is None else self._tensor(lengths)
        with devices.threads(self._threads):
            outputs, after = state.network(read, before, steps)
        return outputs.cpu().numpy(), tuple(_array(part) for part in after)

    @torch.no_grad()
    def generate(
        self,
        state: State,
        logits: np.ndarray,
        carry: tuple[np.ndarray, ...],
        noise: np.ndarray,
        how: Sampling,
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        state.network.eval()
        now, after = self._tensor(logits), tuple(self._tensor(part) for part in carry)
        tokens = []
        with devices.threads(self._threads):
            for drawn in self._tensor(noise).to(self._dtype):
                token = sampling.choose(
                    now, drawn, how.temperature or 1.0, how.top_k or len(logits), how.top_p
                )
                outputs, after = state.network(token[None, None], after)
                now = outputs[0, 0]
                tokens.append(token)
        found = torch.stack(tokens).int()
        return _array(found), _array(now), tuple(_array(part) for part in after)

    def export(self, state: State) -> Snapshot:
        moments = optimizers.moments(self.config.optimization, state.optimizer, state.params)
        return Snapshot(
            {name: _array(param) for name, param in state.params.items()},
            {
                f"{kind}.{name}": _array(tensor)
                for kind, tensors in moments.items()
                for name, tensor in tensors.items()
            },
            tuple(_array(self._all_rows("before/carry.", part)) for part in state.carry),
            state.step,
        )

    def _counts(self, batch: Batch[np.ndarray]) -> torch.Tensor:
        """Returns the number of targets of each step, (S,), with their weights; in a team that of
        all processes."""
        weights = self._tensor(batch.weights)
        counts = torch.stack([weights[i].sum() for i in range(len(weights))])
        if self.team.several:
            processes.total([counts])
        return counts

    def _own_rows(self, carry: np.ndarray) -> np.ndarray:
        """Returns of a whole carry (L·D, B, H) the rows of this process."""
        return carry[:, own_rows(carry.shape[1], self.team)] if self.team.several else carry

    def _all_rows(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Returns a tensor of the whole batch, by its name in a trace."""
        axis = row_axis(name)
        if axis is None or not self.team.several:
            return tensor
        return processes.rows(tensor.detach(), axis).narrow(axis, 0, self._rows)

    def _prepare(self, state: State, batch: Batch[np.ndarray]) -> None:
        """Switches training mode on, and gives the state a carry of zeros where it has none yet."""
        state.network.train()
        if not state.carry:
            state.carry = state.network.zero_state(batch.inputs.shape[1])

    def _batch(self, batch: Batch[np.ndarray], i: int) -> Batch[torch.Tensor]:
        """Returns the i-th of the stacked batches, as tensors; nothing is copied on the CPU."""
        inputs, targets, weights, reset, masks, lengths = batch
        return Batch(
            self._tensor(inputs[i]),
            self._tensor(targets[i]),
            self._tensor(weights[i]),
            reset[i],
            None if masks is None else self._tensor(masks[i]),
            None if lengths is None else self._tensor(lengths[i]),
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        # Arrays that JAX exported are read-only, which torch.from_numpy warns of.
        array = array if array.flags.writeable else array.copy()
        tensor = torch.from_numpy(array).to(self._device)
        return tensor if tensor.is_floating_point() else tensor.long()


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
