"""Whole models in torch, each with another kind of layers, to port with `propose`."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tagger(nn.Module):
    """Words to tags: both directions, attention, a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.norm = nn.LayerNorm(12)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.lstm(self.embedding(x))
        mixed, _ = self.attention(h, h, h)
        return self.head(self.drop(self.norm(h + mixed)))


class Speech(nn.Module):
    """Frames to letters: convolutions with batch norm, flattened into a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
        )
        self.rnn = nn.GRU(20, 7, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(14, 6)

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, T, 5)
        h = self.conv(x).transpose(1, 2)  # (B, T, 4, 5)
        h, _ = self.rnn(h.flatten(2))
        return self.fc(h).log_softmax(-1)


class Translator(nn.Module):
    """An encoder and a decoder of cells, with additive attention."""

    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(20, 6)
        self.target = nn.Embedding(20, 6)
        self.encoder = nn.GRUCell(6, 6)
        self.decoder = nn.LSTMCell(12, 6)
        self.query = nn.Linear(6, 6, bias=False)
        self.key = nn.Linear(6, 6, bias=False)
        self.score = nn.Linear(6, 1, bias=False)
        self.out = nn.Linear(12, 20)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        h = torch.zeros(len(source), 6, dtype=self.score.weight.dtype)
        states = []
        for x in self.source(source).unbind(1):
            h = self.encoder(x, h)
            states.append(h)
        memory, c, outputs = torch.stack(states, 1), torch.zeros_like(h), []
        for x in self.target(target).unbind(1):
            scores = self.score(torch.tanh(self.query(h)[:, None] + self.key(memory)))
            context = (scores.softmax(1) * memory).sum(1)
            h, c = self.decoder(torch.cat([x, context], -1), (h, c))
            outputs.append(self.out(torch.cat([h, context], -1)))
        return torch.stack(outputs, 1)


class LanguageModel(nn.Module):
    """The head has the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Embedding(30, 8)
        self.rnn = nn.LSTM(8, 8, num_layers=2, dropout=0.2)
        self.decoder = nn.Linear(8, 30)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        h, state = self.rnn(self.encoder(x))
        return self.decoder(h), state


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.rnn = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(self.norm(self.project(x)))[0][:, -1]


class Branches(nn.Module):
    """Two branches of the same shapes throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Branch(), Branch()
        self.mix = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.tanh(self.left(x)) * 2 + self.right(x))


class Classifier(nn.Module):
    """For ports that write their cell by hand."""

    def __init__(self, cell: type = nn.LSTM) -> None:
        super().__init__()
        self.rnn = cell(6, 6, batch_first=True)
        self.head = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Wave(nn.Module):
    """Sound: convolutions and their transposes, other norms, a learned position, a fixed one."""

    fixed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 8, 5, padding=2))
        self.group = nn.GroupNorm(2, 8)
        self.slope = nn.PReLU()
        self.position = nn.Parameter(torch.randn(1, 10, 8) * 0.1)
        angles = torch.arange(10)[:, None] / 10000 ** (torch.arange(8)[None] / 8)
        self.register_buffer("fixed", torch.sin(angles))
        self.rms = nn.RMSNorm(8, eps=1e-6)
        self.rnn = nn.RNN(8, 8, nonlinearity="relu", batch_first=True)
        self.back = nn.ConvTranspose1d(8, 2, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, 10)
        h = self.slope(self.group(self.front(x))).transpose(1, 2)
        h = self.rms(h + self.position + self.fixed)
        return self.back(self.rnn(h)[0].transpose(1, 2))


class Pixels(nn.Module):
    """Images: what is flattened has the channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.fc1 = nn.Linear(36, 36)
        self.fc2 = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:  # (B, 2, 7, 7)
        h = F.gelu(self.conv2(torch.tanh(self.conv1(x))))
        return self.fc2(torch.tanh(self.fc1(h.flatten(1)))) / math.sqrt(2)
