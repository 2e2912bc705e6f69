"""A translator after Bahdanau et al. (2014, https://arxiv.org/abs/1409.0473): an encoder in both
directions, additive attention, and a decoder that reads its own words or those it is told."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SOURCE, TARGET, SIZE, HIDDEN, PAD = 13, 11, 5, 6, 0


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SOURCE, SIZE, padding_idx=PAD)
        self.dropout = nn.Dropout(0.2)
        self.rnn = nn.GRU(SIZE, HIDDEN, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(2 * HIDDEN)
        self.bridge = nn.Linear(2 * HIDDEN, HIDDEN)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        outputs, hidden = self.rnn(self.dropout(self.embedding(source)))
        hidden = torch.tanh(self.bridge(torch.cat([hidden[0], hidden[1]], 1)))
        return self.norm(outputs), hidden


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.key = nn.Linear(2 * HIDDEN, HIDDEN)
        self.energy = nn.Linear(HIDDEN, 1, bias=False)

    def forward(self, hidden: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        energy = self.energy(torch.tanh(self.query(hidden).unsqueeze(1) + self.key(memory)))
        shares = energy.squeeze(2).masked_fill(mask, -1e10).softmax(1)
        return torch.bmm(shares.unsqueeze(1), memory).squeeze(1), shares


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TARGET, SIZE, padding_idx=PAD)
        self.dropout = nn.Dropout(0.3)
        self.attention = Attention()
        self.rnn = nn.GRUCell(SIZE + 2 * HIDDEN, HIDDEN)
        self.out = nn.Linear(SIZE + 3 * HIDDEN, TARGET)

    def forward(self, word: Tensor, hidden: Tensor, memory: Tensor, mask: Tensor):
        embedded = self.dropout(self.embedding(word))
        context, shares = self.attention(hidden, memory, mask)
        hidden = self.rnn(torch.cat([embedded, context], 1), hidden)
        return self.out(torch.cat([hidden, context, embedded], 1)), hidden, shares


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        for name, parameter in self.named_parameters():
            if "weight" in name and "norm" not in name:
                nn.init.normal_(parameter, 0, 0.4)

    def forward(self, source: Tensor, target: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Takes words (B, S) and (B, T), and at which steps the decoder is told the word before,
        (T - 1,); returns scores (B, T - 1, words) and the attention's shares (B, T - 1, S)."""
        memory, hidden = self.encoder(source)
        mask, word = source == PAD, target[:, 0]
        outputs = torch.zeros(len(source), target.size(1) - 1, TARGET)
        shares = []
        for t in range(target.size(1) - 1):
            outputs[:, t], hidden, share = self.decoder(word, hidden, memory, mask)
            shares.append(share)
            word = target[:, t + 1] if told[t] else outputs[:, t].argmax(1)
        return outputs, torch.stack(shares, 1)


def loss(outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    scores, _ = outputs
    return F.cross_entropy(
        scores.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD, label_smoothing=0.1
    )


def optimizer(params) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, 0.02, betas=(0.9, 0.98), eps=1e-9)


def warm_up(step: int) -> float:
    return min((step + 1) ** -0.5, (step + 1) * 4**-1.5)


def scheduler(optimizer: torch.optim.Optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up)


def clip(params) -> None:
    nn.utils.clip_grad_norm_(params, 1.0)


def batches(count: int, size: int = 3) -> list:
    """Returns made-up batches: two languages' words, padded, and when the decoder is told."""
    rng, found = np.random.default_rng(0), []

    def sentences(words: int, steps: int) -> np.ndarray:
        lengths = np.append(rng.integers(2, steps, size - 1), steps)
        drawn = rng.integers(1, words, (size, steps))
        return np.where(np.arange(steps) < lengths[:, None], drawn, PAD)

    for _ in range(count):
        source, target = sentences(SOURCE, 5), sentences(TARGET, 5)
        inputs = {"source": source, "target": target, "told": rng.random(4) < 0.6}
        found.append((inputs, target))
    return found
