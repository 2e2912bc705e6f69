"""A recurrent policy and its loss, after PPO (Schulman et al. 2017, https://arxiv.org/abs/1707.06347)
as it is commonly written for games that are seen in part."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

SIZE, HIDDEN, ACTIONS, UPDATES = 6, 6, 3, 10
State = tuple[Tensor, Tensor]


def layer_init(layer: nn.Linear, gain: float = np.sqrt(2), bias: float = 0.1) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.constant_(layer.bias, bias)
    return layer


class Agent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            layer_init(nn.Linear(SIZE, HIDDEN)), nn.Tanh(),
            layer_init(nn.Linear(HIDDEN, HIDDEN)), nn.Tanh(),
        )  # fmt: skip
        self.lstm = nn.LSTM(HIDDEN, HIDDEN)
        for name, param in self.lstm.named_parameters():
            if "bias" in name:
                nn.init.constant_(param, 0.05)
            else:
                nn.init.orthogonal_(param, 1.0)
        self.actor = layer_init(nn.Linear(HIDDEN, ACTIONS), gain=0.5)
        self.critic = layer_init(nn.Linear(HIDDEN, 1), gain=1)

    def get_states(self, x: Tensor, state: State, done: Tensor) -> tuple[Tensor, State]:
        """Walks over (T, B, …); where an episode has ended before a step, the state is zero."""
        hidden = []
        for features, ended in zip(self.network(x), done, strict=True):
            left = (1.0 - ended).view(1, -1, 1)
            h, state = self.lstm(features.unsqueeze(0), (left * state[0], left * state[1]))
            hidden.append(h)
        return torch.cat(hidden), state

    def forward(self, observations: Tensor, state: State, done: Tensor) -> dict:
        hidden, state = self.get_states(observations, state, done)
        logits, values = self.actor(hidden), self.critic(hidden).squeeze(2)
        return {"logits": logits, "values": values, "state": state}


def loss(outputs: dict, targets: dict, clip: float = 0.2) -> Tensor:
    """The clipped surrogate, the clipped loss of the values, and the entropy, (T, B) each."""
    policy, values = Categorical(logits=outputs["logits"]), outputs["values"]
    before = targets["old"]
    advantages = targets["advantages"]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = (policy.log_prob(targets["actions"]) - before["log_prob"]).exp()
    surrogate = torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
    near = before["values"] + (values - before["values"]).clamp(-clip, clip)
    returns = targets["returns"]
    of_values = 0.5 * torch.max((values - returns) ** 2, (near - returns) ** 2).mean()
    return surrogate + 0.5 * of_values - 0.01 * policy.entropy().mean()


def optimizer(params) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, 5e-3, eps=1e-5)


def scheduler(optimizer: torch.optim.Optimizer):
    """Anneals the learning rate linearly, at every update."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1 - update / UPDATES)


def clip(params) -> None:
    nn.utils.clip_grad_norm_(params, 0.5)


def batches(count: int, steps: int = 6, size: int = 3) -> list:
    """Returns made-up rollouts: observations, the state before them and where episodes end; and
    what was done, what came of it, and what the policy of that time said."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        state = rng.uniform(-0.5, 0.5, (2, 1, size, HIDDEN))
        done = (rng.random((steps, size)) < 0.25).astype(float)
        advantages, returns, values = rng.standard_normal((3, steps, size))
        old = {"log_prob": -1 - rng.random((steps, size)) / 3, "values": values / 10}
        targets = {"actions": rng.integers(0, ACTIONS, (steps, size)), "old": old}
        targets |= {"advantages": advantages, "returns": 20 * returns}
        inputs = rng.standard_normal((steps, size, SIZE)), (state[0], state[1]), done
        found.append((inputs, targets))
    return found
