"""A small speech synthesizer after Tacotron 2 (Shen et al. 2018, https://arxiv.org/abs/1712.05884):
letters in, frames of a spectrogram out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LETTERS, FRAME = 40, 20


class Encoder(nn.Module):
    """Letters → memory: convolutions with batch norm, then an LSTM in both directions."""

    def __init__(self, size: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(LETTERS, size)
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(size, size, 5, padding=2), nn.BatchNorm1d(size))
            for _ in range(3)
        )
        self.lstm = nn.LSTM(size, size // 2, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.5)

    def forward(self, letters: Tensor) -> Tensor:
        x = self.embedding(letters).transpose(1, 2)
        for layer in self.convolutions:
            x = self.drop(F.relu(layer(x)))
        return self.lstm(x.transpose(1, 2))[0]


class Attention(nn.Module):
    """Looks at the memory by what it holds and by where it looked before."""

    def __init__(self, state: int = 48, memory: int = 32, size: int = 24):
        super().__init__()
        self.query = nn.Linear(state, size, bias=False)
        self.memory = nn.Linear(memory, size, bias=False)
        self.location = nn.Conv1d(2, 8, 7, padding=3, bias=False)
        self.place = nn.Linear(8, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, h: Tensor, memory: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        place = self.place(self.location(seen).transpose(1, 2))
        mixed = torch.tanh(self.query(h)[:, None] + self.memory(memory) + place)
        shares = self.score(mixed).squeeze(2).softmax(1)
        return (shares[:, :, None] * memory).sum(1), shares


class Decoder(nn.Module):
    """Memory and the frame before → the next frame, and whether it was the last."""

    def __init__(self, memory: int = 32, state: int = 48):
        super().__init__()
        self.prenet = nn.Sequential(
            nn.Linear(FRAME, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 32), nn.ReLU()
        )
        self.attention_rnn = nn.LSTMCell(32 + memory, state)
        self.attention = Attention(state, memory)
        self.decoder_rnn = nn.LSTMCell(state + memory, state)
        self.frame = nn.Linear(state + memory, FRAME)
        self.stop = nn.Linear(state + memory, 1)

    def forward(self, memory: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        batch, length = memory.shape[:2]
        h = c = h2 = c2 = memory.new_zeros(batch, 48)
        context, shares = memory.new_zeros(batch, 32), memory.new_zeros(batch, length)
        total, outputs, stops = shares, [], []
        before = torch.cat([frames.new_zeros(batch, 1, FRAME), frames[:, :-1]], 1)
        for frame in self.prenet(before).unbind(1):
            h, c = self.attention_rnn(torch.cat([frame, context], 1), (h, c))
            context, shares = self.attention(h, memory, torch.stack([shares, total], 1))
            total = total + shares
            h2, c2 = self.decoder_rnn(torch.cat([h, context], 1), (h2, c2))
            both = torch.cat([h2, context], 1)
            outputs.append(self.frame(both))
            stops.append(self.stop(both))
        return torch.stack(outputs, 1), torch.cat(stops, 1)


class Synthesizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.postnet = nn.Sequential(
            nn.Conv1d(FRAME, 32, 5, padding=2), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.5),
            nn.Conv1d(32, FRAME, 5, padding=2), nn.BatchNorm1d(FRAME),
        )  # fmt: skip
        self.norm = nn.LayerNorm(FRAME)

    def forward(self, letters: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rough, stops = self.decoder(self.encoder(letters), frames)
        fine = rough + self.postnet(rough.transpose(1, 2)).transpose(1, 2)
        return rough, self.norm(fine), stops
