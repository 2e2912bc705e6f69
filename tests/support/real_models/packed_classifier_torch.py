"""A classifier of padded sentences: a packed LSTM in both directions, read at its ends and on
average."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WORDS, SIZE, HIDDEN, CLASSES = 11, 5, 6, 3


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, SIZE, padding_idx=0)
        self.drop = nn.Dropout(0.2)
        self.lstm = nn.LSTM(
            SIZE, HIDDEN, num_layers=2, dropout=0.3, bidirectional=True, batch_first=True
        )
        self.head = nn.Sequential(
            nn.Linear(4 * HIDDEN, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, CLASSES)
        )
        for name, weight in self.lstm.named_parameters():
            if "weight" in name:
                nn.init.xavier_uniform_(weight)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        h0 = torch.zeros(4, len(words), HIDDEN)
        c0 = torch.zeros(4, len(words), HIDDEN)
        packed = pack_padded_sequence(
            self.drop(self.embedding(words)), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        packed, (h, _) = self.lstm(packed, (h0, c0))
        outputs, _ = pad_packed_sequence(packed, batch_first=True)
        mean = outputs.sum(1) / lengths.unsqueeze(1)
        return self.head(torch.cat([h[-2], h[-1], mean], 1))


loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]))


def optimizer(params) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, 0.01, weight_decay=1e-3)


def scheduler(optimizer: torch.optim.Optimizer):
    """Once an epoch."""
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)


def batches(count: int, steps: int = 5, size: int = 4) -> list:
    """Returns made-up batches: padded words and their lengths, and classes."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        lengths = np.append(rng.integers(1, steps, size - 1), steps)
        words = rng.integers(1, WORDS, (size, steps))
        words[np.arange(steps) >= lengths[:, None]] = 0
        found.append(((words, lengths), rng.integers(0, CLASSES, size)))
    return found
