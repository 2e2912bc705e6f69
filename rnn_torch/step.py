"""One training step in PyTorch: loss, gradients, clipping, moments, weights. It changes a state in
place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from rnn_torch import cells, losses, optimizers, private, processes
from rnn_torch.network import Network
from shared.config import Config
from shared.protocol import Batch
from shared.protocol.dataset import Signature
from shared.protocol.trace import below, given
from shared.system.team import Team


@dataclass
class State:
    """State of a training: the network and its parameters, the optimizer with its moments, the
    recurrent state after the last batch, (L·D, B, H) each, and the number of steps taken."""

    network: Network
    params: dict[str, torch.Tensor]
    optimizer: torch.optim.Optimizer
    carry: cells.State
    step: int


@dataclass(frozen=True)
class Step:
    """All of a step that is no tensor.

    Args:
        parameters: names of the parameters whose norms it returns, in this order.
        own_masks: True if torch draws the dropout masks.
        team: processes that take the step together.
    """

    config: Config
    signature: Signature
    parameters: Sequence[str]
    own_masks: bool
    team: Team

    def take(
        self,
        state: State,
        batch: Batch[torch.Tensor],
        rate: float,
        count: torch.Tensor,
        seen: dict[str, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, Sequence[torch.Tensor]]:
        """Takes one optimizer step: loss, gradients, clipping, moments, weights.

        The summed loss is divided by the count of targets. In a team, the batch is the part of one
        process, and the count that of all: gradients, loss and metric are summed over them.

        Args:
            seen: gets all of them, by the names in `shared/protocol/trace.py`.

        Returns:
            Loss and metric before the step, and the norm of each parameter's gradient.
        """
        if self.own_masks:  # masks that belong to the step, also where a run is resumed
            torch.manual_seed(self.config.seed + state.step)
        before = state.carry
        if batch.reset:
            before = tuple(torch.zeros_like(part) for part in before)
        if seen is not None:
            rate_now = batch.weights.new_tensor(rate)
            seen |= _copied(given(batch, rate_now, state.params, before))
        state.optimizer.zero_grad()
        outputs, carry = state.network(batch.inputs, before, batch.lengths, batch.masks, seen)
        loss, metric, _ = losses.sums(self.signature.loss, outputs, batch.targets, batch.weights)
        loss, metric = loss / count, metric / count
        loss.backward()
        loss, metric = loss.detach(), metric.detach()
        gradients = [_gradient(state.params[name]) for name in self.parameters]
        if self.team.several:
            processes.total([*gradients, loss, metric])
        norms = private.norms(gradients)
        if seen is not None:
            seen |= {"loss/loss": loss, "loss/metric": metric}
            named = {name: _gradient(param) for name, param in state.params.items()}
            norm = torch.nn.utils.get_total_norm(named.values())
            seen |= below("gradients", _copied(named)) | {"norm/norm": norm}
        if self.config.optimization.clip_norm is not None:
            optimizers.clip(state.params, self.config.optimization.clip_norm)
        if seen is not None:
            named = {name: _gradient(param) for name, param in state.params.items()}
            seen |= below("clipped", _copied(named))
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        if seen is not None:
            optimization = self.config.optimization
            moments = optimizers.moments(optimization, state.optimizer, state.params)
            for kind, tensors in moments.items():
                named = {f"{kind}.{name}": tensor for name, tensor in tensors.items()}
                seen |= below("moments", _copied(named))
            seen |= below("weights", _copied(state.params))
        state.carry = tuple(part.detach() for part in carry)
        state.step += 1
        return loss, metric, norms


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies what the step is about to change in place, as it is now."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _gradient(param: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(param) if param.grad is None else param.grad
