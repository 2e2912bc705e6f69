"""The job of the benchmark as a tutorial would write it, in PyTorch and nothing else.

An Elman network learns random labels of 100 000 sequences of 100 steps and 10 features, for one
epoch of batches of 64, and is scored on 10 000 and 20 000 others. `scripts/bench.py` times it as a
whole against `scripts/run.py --backend jax --task random-labels --epochs 1`.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, classes: int):
        super().__init__()
        self.rnn = nn.RNN(input_size, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, _ = self.rnn(x)
        return self.head(output[:, -1])


def dataset(examples: int) -> TensorDataset:
    return TensorDataset(torch.randn(examples, 100, 10), torch.randint(0, 2, (examples,)))


def train(
    model: nn.Module, data: DataLoader, optimizer: torch.optim.Optimizer, device: str
) -> float:
    """Trains for an epoch; returns the mean loss of the batches."""
    model.train()
    total = 0.0
    for inputs, targets in data:
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(data)


@torch.inference_mode()
def evaluate(model: nn.Module, data: DataLoader, device: str) -> tuple[float, float]:
    """Returns mean loss and accuracy."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for inputs, targets in data:
        inputs, targets = inputs.to(device), targets.to(device)
        logits = model(inputs)
        loss += nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        correct += int((logits.argmax(1) == targets).sum())
        count += len(targets)
    return loss / count, correct / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--examples", type=int, nargs=3, default=[100_000, 10_000, 20_000])
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = arguments.device
    train_set, valid_set, test_set = map(dataset, arguments.examples)
    train_data = DataLoader(train_set, batch_size=64, shuffle=True)
    valid_data = DataLoader(valid_set, batch_size=256)
    test_data = DataLoader(test_set, batch_size=256)

    model = Classifier(10, 64, 2).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = train(model, train_data, optimizer, device)
    valid_loss, valid_accuracy = evaluate(model, valid_data, device)
    print(f"train loss {loss:.4f}  valid loss {valid_loss:.4f}  accuracy {valid_accuracy:.1%}")
    test_loss, test_accuracy = evaluate(model, test_data, device)
    print(f"test loss {test_loss:.4f}  accuracy {test_accuracy:.1%}")


if __name__ == "__main__":
    main()
