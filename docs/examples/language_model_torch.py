"""A word language model after AWD-LSTM (Merity et al. 2018, https://arxiv.org/abs/1708.02182), with
all of its dropouts: of words, of recurrent weights, and of whole sequences."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORDS, SIZE, HIDDEN = 19, 6, 7
Hidden = list[tuple[Tensor, Tensor]]


class LockedDropout(nn.Module):
    """Drops the same units at all steps of a sequence (T, B, F)."""

    def forward(self, x: Tensor, rate: float) -> Tensor:
        if not self.training or rate == 0:
            return x
        mask = x.new_empty(1, x.size(1), x.size(2)).bernoulli_(1 - rate) / (1 - rate)
        return x * mask.expand_as(x)


class WeightDrop(nn.Module):
    """Drops weights of a layer (DropConnect): the layer finds a tensor where its parameter was."""

    def __init__(self, module: nn.Module, name: str, rate: float):
        super().__init__()
        self.module, self.name, self.rate = module, name, rate
        raw = getattr(module, name)
        delattr(module, name)
        module.register_parameter(f"{name}_raw", nn.Parameter(raw.data))

    def forward(self, *inputs):
        raw = getattr(self.module, f"{self.name}_raw")
        weights = F.dropout(raw, self.rate) if self.training else raw.clone()
        setattr(self.module, self.name, weights)
        return self.module(*inputs)


def embedded_dropout(embedding: nn.Embedding, words: Tensor, rate: float) -> Tensor:
    """Looks words up in a table from which whole words are dropped."""
    weight = embedding.weight
    if rate:
        mask = weight.new_empty(weight.size(0), 1).bernoulli_(1 - rate) / (1 - rate)
        weight = weight * mask.expand_as(weight)
    return F.embedding(words, weight)


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lockdrop = LockedDropout()
        self.encoder = nn.Embedding(WORDS, SIZE)
        self.rnns = nn.ModuleList(
            WeightDrop(nn.LSTM(inputs, outputs), "weight_hh_l0", 0.5)
            for inputs, outputs in pairwise([SIZE, HIDDEN, SIZE])
        )
        self.decoder = nn.Linear(SIZE, WORDS)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.5, 0.5)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, words: Tensor, hidden: Hidden) -> dict:
        x = embedded_dropout(self.encoder, words, 0.1 if self.training else 0)
        x = raw = self.lockdrop(x, 0.4)
        after: Hidden = []
        for rnn, before, rate in zip(self.rnns, hidden, [0.25, 0.4], strict=True):
            raw, state = rnn(x, before)
            after.append(state)
            x = self.lockdrop(raw, rate)
        return {"scores": self.decoder(x), "hidden": after, "raw": raw, "dropped": x}


def loss(outputs: dict, targets: Tensor) -> Tensor:
    """Cross-entropy, and what keeps activations small (AR) and slow (TAR)."""
    entropy = F.cross_entropy(outputs["scores"].flatten(0, 1), targets.flatten())
    activation = outputs["dropped"].pow(2).mean()
    temporal = (outputs["raw"][1:] - outputs["raw"][:-1]).pow(2).mean()
    return entropy + 2 * activation + temporal


def optimizer(params) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, 0.5, momentum=0.9, weight_decay=1e-3)


def scheduler(optimizer: torch.optim.Optimizer):
    """Halves the learning rate after every second epoch."""
    return torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)


def clip(params) -> None:
    nn.utils.clip_grad_norm_(params, 0.25)


def batches(count: int, steps: int = 5, size: int = 3) -> list:
    """Returns made-up batches: words and the state before them, and the words that come next."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, WORDS, (count * steps + 1, size))

    def state(hidden: int) -> tuple[np.ndarray, np.ndarray]:
        h, c = rng.uniform(-0.5, 0.5, (2, 1, size, hidden))
        return h, c

    return [
        ((words[i : i + steps], [state(HIDDEN), state(SIZE)]), words[i + 1 : i + steps + 1])
        for i in range(0, count * steps, steps)
    ]
