"""A reader of text lines after CRNN (Shi et al. 2015, https://arxiv.org/abs/1507.05717):
convolutions and pooling make columns of a picture, two LSTMs read them in both directions."""

import numpy as np
import torch
from torch import Tensor, nn

HEIGHT, LETTERS, HIDDEN = 8, 7, 6


class BidirectionalLSTM(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.rnn = nn.LSTM(inputs, hidden, bidirectional=True)
        self.embedding = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        recurrent, _ = self.rnn(x)
        steps, batch, features = recurrent.size()
        return self.embedding(recurrent.view(steps * batch, features)).view(steps, batch, -1)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.MaxPool2d(2, 2), nn.Dropout2d(0.2),
            nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.MaxPool2d((2, 1)), nn.Dropout2d(0.2),
        )  # fmt: skip
        self.rnn = nn.Sequential(
            BidirectionalLSTM(6 * HEIGHT // 4, HIDDEN, HIDDEN),
            BidirectionalLSTM(HIDDEN, HIDDEN, HIDDEN),
        )
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(HIDDEN, LETTERS)
        self.apply(self.init_weights)

    @staticmethod
    def init_weights(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Takes (B, 1, H, W), returns scores (W / 2, B, L)."""
        x = self.cnn(images)
        batch, channels, height, width = x.size()
        x = x.view(batch, channels * height, width).permute(2, 0, 1)
        return self.head(self.drop(self.rnn(x)))


def loss(scores: Tensor, letters: Tensor) -> Tensor:
    """Cross-entropy of each column's letter; letters are (B, W / 2)."""
    return nn.functional.cross_entropy(scores.permute(1, 2, 0), letters)


def optimizer(params) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(params, 2e-3, alpha=0.95, momentum=0.9, weight_decay=1e-3)


def scheduler(optimizer: torch.optim.Optimizer):
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 7], 0.3)


def clip(params) -> None:
    nn.utils.clip_grad_value_(params, 0.05)


def batches(count: int, width: int = 10, size: int = 3) -> list:
    """Returns made-up batches: pictures, and a letter for each column."""
    rng, shape = np.random.default_rng(0), (size, 1, HEIGHT, width)
    letters = rng.integers(0, LETTERS, (count, size, width // 2))
    return [(rng.standard_normal(shape), of_one) for of_one in letters]
