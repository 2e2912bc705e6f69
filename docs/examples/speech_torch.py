"""A recogniser of speech after Deep Speech 2 (Amodei et al. 2016, https://arxiv.org/abs/1512.02595),
smaller: convolutions over a spectrogram, GRUs in both directions, batch norm between them, CTC."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

BANDS, LETTERS, CHANNELS, HIDDEN = 8, 6, 4, 6


class MaskConv(nn.Module):
    """Runs layers one after the other, and puts zeros beyond each length after each of them."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
            mask = torch.arange(x.size(3)) >= lengths.unsqueeze(1)
            x = x.masked_fill(mask[:, None, None, :], 0)
        return x


class SequenceWise(nn.Module):
    """Calls a layer with all steps of all sequences at once: (T, B, F) as (T * B, F)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.reshape(-1, x.size(2))).view(x.size(0), x.size(1), -1)


class BatchRNN(nn.Module):
    """A GRU in both directions, whose outputs are added up."""

    def __init__(self, inputs: int, norm: bool):
        super().__init__()
        self.norm = SequenceWise(nn.BatchNorm1d(inputs)) if norm else None
        self.rnn = nn.GRU(inputs, HIDDEN, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if self.norm is not None:
            x = self.norm(x)
        packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        x, _ = pad_packed_sequence(self.rnn(packed)[0], total_length=x.size(0))
        return x.view(x.size(0), x.size(1), 2, -1).sum(2)


class Recogniser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = MaskConv(
            nn.Conv2d(1, CHANNELS, (5, 5), stride=(2, 2), padding=(2, 2)),
            nn.BatchNorm2d(CHANNELS), nn.Hardtanh(0, 20),
            nn.Conv2d(CHANNELS, CHANNELS, (3, 3), padding=(1, 1)),
            nn.BatchNorm2d(CHANNELS), nn.GELU(), nn.Dropout(0.2),
        )  # fmt: skip
        self.rnns = nn.ModuleList(
            [BatchRNN(CHANNELS * BANDS // 2, norm=False), BatchRNN(HIDDEN, norm=True)]
        )
        self.drop = nn.Dropout(0.3)
        self.fc = SequenceWise(
            nn.Sequential(nn.BatchNorm1d(HIDDEN), nn.Linear(HIDDEN, LETTERS, bias=False))
        )

    def forward(self, spectrogram: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        lengths = (lengths - 1) // 2 + 1
        x = self.conv(spectrogram.unsqueeze(1), lengths)  # (B, C, F, T)
        x = x.view(x.size(0), -1, x.size(3)).permute(2, 0, 1)  # (T, B, C * F)
        for rnn in self.rnns:
            x = rnn(x, lengths)
        x = self.fc(self.drop(x))
        return x.transpose(0, 1).log_softmax(2), lengths


def loss(outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    shares, lengths = outputs
    letters, counts = targets
    ctc = nn.CTCLoss(blank=0, reduction="mean", zero_infinity=True)
    return ctc(shares.transpose(0, 1), letters, lengths, counts)


def optimizer(params) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, 1e-3, weight_decay=0.05)


def scheduler(optimizer: torch.optim.Optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.01, total_steps=20, cycle_momentum=False
    )


def clip(params) -> None:
    nn.utils.clip_grad_norm_(params, 0.5)


def batches(count: int, steps: int = 12, size: int = 3) -> list:
    """Returns made-up batches: spectrograms and their lengths, letters and how many of them."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        lengths = np.append(rng.integers(7, steps, size - 1), steps)
        counts = rng.integers(1, 4, size)
        spectrograms = rng.standard_normal((size, BANDS, steps))
        letters = rng.integers(1, LETTERS, (size, 3))
        found.append(((spectrograms, lengths), (letters, counts)))
    return found
