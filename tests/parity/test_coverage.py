"""What a proof did not exercise, from the traces of its steps: each kind appears, and is absent."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shared.parity.coverage import Coverage
from shared.protocol.gaps import Gap, Rows, joined, summary
from tests.support.pair_cases import Classifier

TOLERANCE = 1e-9


def trained(
    module: nn.Module,
    batches: list[tuple[Any, torch.Tensor]],
    rate: float = 0.1,
    tolerance: float = TOLERANCE,
    optimizer: Any = torch.optim.SGD,
) -> Coverage:
    """Trains as a pair does, and gives each step's gradients and weights to the coverage."""
    module = module.double()
    params = dict(module.named_parameters())
    trained_ = [p for p in params.values() if p.requires_grad]
    update = optimizer(trained_, rate) if optimizer else None

    def arrays(phase: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        return {phase + name: t.detach().numpy().copy() for name, t in tensors.items()}

    coverage = Coverage(arrays("", params), tolerance)
    for inputs, targets in batches:
        module.zero_grad()
        outputs = module(*(inputs if isinstance(inputs, tuple) else (inputs,)))
        nn.functional.cross_entropy(outputs, targets).backward()
        grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in params.items()}
        trace = arrays("gradients/", grads)
        if update is not None:
            update.step()
            trace |= arrays("weights/", params)
        coverage.add(trace)
    return coverage


def sequences(steps: int, features: int = 2, count: int = 2) -> list[tuple[Any, torch.Tensor]]:
    rng = torch.Generator().manual_seed(steps)
    return [
        (
            torch.randn(5, steps, features, generator=rng, dtype=torch.float64),
            torch.randint(0, 4, (5,), generator=rng),
        )
        for _ in range(count)
    ]


def described(gaps: list[Gap]) -> list[str]:
    return [gap.described for gap in gaps]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_nothing_is_said_where_everything_is_covered(cell: str) -> None:
    coverage = trained(Classifier(cell), sequences(3))
    assert coverage.gaps() == []
    assert summary(coverage.gaps()) == ""
    covered = coverage.of("rnn.weight_hh_l0")
    assert (covered.gradient, covered.moved) == (1, 1)
    assert 1e-3 < covered.movement < 1


def test_one_step_exercises_nothing_recurrent() -> None:
    """The gates that only c or the recurrence would need are named."""
    gaps = trained(Classifier("lstm"), sequences(1)).gaps()
    assert described(gaps) == [
        "rnn.weight_ih_l0: gate f never had a gradient",
        "rnn.weight_hh_l0 never had a gradient",
    ]
    assert summary(joined(gaps)) == "not exercised: rnn.weight_hh_l0, gate f of rnn.weight_ih_l0"
    gaps = trained(Classifier("gru"), sequences(1)).gaps()
    # n has r ⊙ (W_hn h + b_hn), so a bias there has a gradient, and the weight has none.
    assert described(gaps) == ["rnn.weight_hh_l0 never had a gradient"]


@pytest.mark.parametrize("letters", ["ifgo", "rzn"])
def test_each_gate_by_its_letter(letters: str) -> None:
    """Its rows stand where torch has them, in layers and in cells."""
    for i, letter in enumerate(letters):
        for ending in ("_l0", ""):
            start = {f"rnn.{name}{ending}": np.ones((2 * len(letters), 2)) for name in WEIGHTS}
            gradient = np.ones((2 * len(letters), 2))
            gradient[2 * i : 2 * i + 2] = 0
            gradient[2 * i - 1] = 0  # a row of the gate before it
            coverage = Coverage(start, TOLERANCE)
            coverage.add({f"gradients/{name}": gradient for name in start})
            row = (2 * i - 1) % len(gradient)
            assert described(coverage.gaps()) == [
                line
                for name in start
                for line in (
                    f"{name}: gate {letter} never had a gradient",
                    f"{name}: row {row} of {len(gradient)} never had a gradient",
                )
            ]


WEIGHTS = ("weight_ih", "weight_hh")


class Projected(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(2, 6, proj_size=3, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0].sum(1))


def test_gates_are_those_of_the_hidden_size_not_of_the_projection() -> None:
    assert trained(Projected(), sequences(3)).gaps() == []
    said = described(trained(Projected(), sequences(1)).gaps())
    assert "rnn.weight_ih_l1_reverse: gate f never had a gradient" in said
    assert "rnn.weight_hh_l0_reverse never had a gradient" in said
    assert len(said) == 8


class Dense(nn.Module):
    """Two layers; a unit between them may be dead, an input may always be zero."""

    def __init__(self, dead: tuple[int, ...] = (), constant: tuple[int, ...] = ()):
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 4)
        with torch.no_grad():
            self.first.bias.add_(5)  # all others live
            for unit in dead:
                self.first.bias[unit] = -100
        self.constant = list(constant)

    def forward(self, x):
        x = x[:, 0].index_fill(1, torch.tensor(self.constant, dtype=torch.long), 0)
        return self.second(torch.relu(self.first(x)))


def test_dead_units_and_constant_inputs_are_rows_and_columns() -> None:
    """The bias of a row says nothing new."""
    gaps = trained(Dense((1, 3, 4, 5)), sequences(1, 5)).gaps()
    assert described(gaps) == [
        "first.weight: rows 1, 3-5 of 6 never had a gradient",
        "second.weight: columns 1, 3-5 of 6 never had a gradient",
    ]
    assert [(gap.count, gap.of) for gap in gaps] == [(4, 6), (4, 6)]
    gaps = trained(Dense(constant=(2,)), sequences(1, 5)).gaps()
    assert described(gaps) == ["first.weight: column 2 of 5 never had a gradient"]
    assert summary(gaps) == "not exercised: column 2 of first.weight"


def test_single_elements_without_gradients_are_no_noise() -> None:
    """An element is zero now and then in an array with sparse inputs."""
    start = {"weight": np.ones((3, 3)), "bias": np.ones(3)}
    coverage = Coverage(start, TOLERANCE)
    for step in (1, 2):
        weight = np.eye(3) * step
        trace = {"gradients/weight": weight, "gradients/bias": np.array([1.0, 0, 1])}
        coverage.add(trace | {"weights/weight": 1 - weight, "weights/bias": np.array([0.9, 1, 1])})
    assert coverage.of("weight").gradient == pytest.approx(1 / 3)
    assert described(coverage.gaps()) == [
        "bias: element 1 of 3 never had a gradient",
        "bias: 1 of 3 elements had gradients and never moved",
    ]


def test_a_gradient_at_one_step_is_enough() -> None:
    for last in (0.0, 1.0):
        coverage = Coverage({"a": np.ones(2), "b": np.ones(2)}, TOLERANCE)
        for step, b in enumerate((0.0, last, 0.0)):
            moved = 0.5 if step else 0.8
            coverage.add(
                {
                    "gradients/a": np.ones(2), "gradients/b": np.full(2, b),
                    "weights/a": np.full(2, moved), "weights/b": np.full(2, moved),
                }
            )  # fmt: skip
        assert described(coverage.gaps()) == ([] if last else ["b never had a gradient"])


class Kernels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 3, 3, padding=1), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.conv(x.transpose(1, 2)).mean(2))


def test_taps_of_a_kernel_that_only_saw_padding_are_slices() -> None:
    assert trained(Kernels(), sequences(2)).gaps() == []
    assert described(trained(Kernels(), sequences(1)).gaps()) == [
        "conv.weight: axis-2 slices 0, 2 of 3 never had a gradient"
    ]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 4)
        with torch.no_grad():
            self.mix.in_proj_bias.copy_(torch.linspace(-1, 1, 12))

    def forward(self, x):
        return self.head(self.mix(x, x, x, need_weights=False)[0].sum(1))


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.first(x[:, 0]))))


def test_what_is_zero_but_for_rounding_is_not_exercised() -> None:
    """The bias of attention's keys, and one before a normalisation."""
    coverage = trained(Attention(), sequences(3, 4))
    assert described(coverage.gaps()) == [
        "mix.in_proj_bias: elements 4-7 of 12 never had a gradient beyond rounding"
    ]
    coverage = trained(Centred(), sequences(3, 4))
    assert described(coverage.gaps()) == ["first.bias never had a gradient beyond rounding"]


def test_small_gradients_are_gradients() -> None:
    coverage = Coverage({"a": np.ones(2), "b": np.ones(2)}, TOLERANCE)
    coverage.add({"gradients/a": np.ones(2), "gradients/b": np.full(2, 1e-12)})
    assert coverage.gaps() == []
    coverage = Coverage({"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}, 1e-4)
    small = np.full(2, 1e-4, np.float32)
    coverage.add({"gradients/a": np.ones(2, np.float32), "gradients/b": small})
    assert coverage.gaps() == []


class Frozen(nn.Module):
    def __init__(self, frozen: str = "", unused: bool = False):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 4)
        self.unused = nn.Linear(2, 2) if unused else None
        for name, param in self.named_parameters():
            param.requires_grad_(not (frozen and name.startswith(frozen)))

    def forward(self, x):
        return self.second(self.first(x[:, 0]))


def test_frozen_parameters_are_no_gap_and_forgotten_ones_are() -> None:
    frozen = {"first.weight", "first.bias"}
    coverage = trained(Frozen("first"), sequences(1, 5))
    assert coverage.gaps(frozen) == []
    said = ["first.weight never had a gradient", "first.bias never had a gradient"]
    assert described(coverage.gaps()) == said
    gaps = trained(Frozen(unused=True), sequences(1, 5)).gaps(frozen)
    assert [gap.name for gap in gaps] == ["unused.weight", "unused.bias"]


def test_what_moves_too_little_is_told_of() -> None:
    for rate in (1e-30, 1e-13):  # the first moves nothing
        gaps = trained(Frozen(), sequences(1, 5), rate).gaps()
        assert described(gaps) == ["no weight moves by more than the tolerance"]
        assert summary(gaps) == "not exercised: updates of weights"
    assert trained(Frozen(), sequences(1, 5), 1e-7).gaps() == []
    assert trained(Frozen(), sequences(1, 5), 1e-30, optimizer=None).gaps() == []
    assert described(trained(Frozen(), sequences(1, 5), 1e-7, tolerance=1e-5).gaps()) == [
        "no weight moves by more than the tolerance"
    ]


def groups(rate: float) -> Any:
    """Returns an optimizer that has another rate for the last two parameters."""
    return lambda params, lr: torch.optim.SGD(
        [{"params": params[:-2]}, {"params": params[-2:], "lr": rate}], lr
    )


def test_a_parameter_that_an_optimizer_forgot_did_not_move() -> None:
    gaps = trained(Frozen(), sequences(1, 5), optimizer=groups(0.0)).gaps()
    assert described(gaps) == [
        "second.weight had gradients and never moved",
        "second.bias had gradients and never moved",
    ]
    assert summary(gaps) == (
        "not exercised: the update of second.weight, the update of second.bias"
    )
    gaps = trained(Classifier("gru"), sequences(2), optimizer=groups(1e-11)).gaps()
    assert described(gaps) == [
        "head.weight never moved by more than the tolerance",
        "head.bias never moved by more than the tolerance",
    ]
    gaps = trained(Classifier("gru"), sequences(2), optimizer=groups(1e-6)).gaps()
    assert gaps == []


def test_a_loss_that_nothing_changes_is_one_line() -> None:
    class Constant(Frozen):
        def forward(self, x):
            return 0 * super().forward(x)

    gaps = trained(Constant(), sequences(1, 5)).gaps()
    assert described(gaps) == [
        "every gradient is zero", "no weight moves by more than the tolerance",
    ]  # fmt: skip
    gaps = trained(Constant(), sequences(1, 5), optimizer=None).gaps()
    assert described(gaps) == ["every gradient is zero"]
    # Weight decay alone moves something.
    decayed = trained(
        Constant(), sequences(1, 5),
        optimizer=lambda p, lr: torch.optim.SGD(p, lr, weight_decay=0.1),
    ).gaps()  # fmt: skip
    assert described(decayed) == ["every gradient is zero"]


def test_what_moved_and_came_back_has_moved() -> None:
    coverage = Coverage({"a": np.ones(2), "b": np.ones(2)}, TOLERANCE)
    for weights in (0.5, 1.0):
        trace = {"gradients/a": np.ones(2), "gradients/b": np.ones(2)}
        coverage.add(trace | {"weights/a": np.full(2, weights), "weights/b": np.full(2, 2.0)})
    assert coverage.gaps() == []
    assert coverage.of("a") == (1, 1, 1)


def test_an_element_whose_step_is_less_than_rounding_is_no_noise() -> None:
    for small, count in ((1e-12, 0), (1e-3, 1)):
        coverage = Coverage({"a": np.ones(2)}, TOLERANCE)
        trace = {"gradients/a": np.array([1, small]), "weights/a": np.array([0.9, 1])}
        coverage.add(trace)
        assert [gap.count for gap in coverage.gaps()] == [1] * count


class Words(nn.Module):
    def __init__(self, padding: int | None = None, tied: bool = False):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, padding_idx=padding)
        self.head = nn.Linear(4, 9 if tied else 4, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens).sum(1))


TOKENS = torch.tensor([[1, 2, 3], [2, 0, 5]])


def test_rows_that_no_batch_read() -> None:
    batches = [(TOKENS, torch.tensor([0, 3]))]
    coverage = trained(Words(), batches)
    by_gradient = {"embedding.weight": coverage.rows("embedding.weight")}
    (gap,) = coverage.gaps(embeddings=by_gradient)
    assert gap.described == "embedding.weight: 4 of 9 rows were read by no batch"
    assert gap.short == "4 rows of embedding.weight"
    coverage = trained(Words(0), batches)
    (gap,) = coverage.gaps(embeddings={"embedding.weight": coverage.rows("embedding.weight", 0)})
    assert gap.count == 4
    every = [(torch.arange(9).view(3, 3), torch.tensor([0, 3, 1]))]
    coverage = trained(Words(0), every)
    rows = coverage.rows("embedding.weight", 0)
    assert coverage.gaps(embeddings={"embedding.weight": rows}) == []
    assert described(coverage.gaps()) == ["embedding.weight: row 0 of 9 never had a gradient"]


def test_rows_that_were_read_and_had_no_gradient_are_told_apart() -> None:
    """Exactly, where somebody saw the indices. A tied weight has gradients from elsewhere."""
    batches = [(TOKENS, torch.tensor([0, 3]))]
    read = np.isin(np.arange(9), [0, 1, 2, 3, 5, 8])
    rows = {"embedding.weight": Rows(None, read)}
    assert described(trained(Words(), batches).gaps(embeddings=rows)) == [
        "embedding.weight: 3 of 9 rows were read by no batch",
        "embedding.weight: row 8 of 9 never had a gradient",
    ]
    assert described(trained(Words(tied=True), batches).gaps(embeddings=rows)) == [
        "embedding.weight: 3 of 9 rows were read by no batch"
    ]
    read = np.arange(9) != 4
    rows = {"embedding.weight": Rows(4, read)}
    assert described(trained(Words(4, True), batches).gaps(embeddings=rows)) == [
        "embedding.weight: row 4, that of padding, was read by no batch"
    ]


def test_what_is_not_finite_is_a_gradient() -> None:
    """A comparison tells of it; nothing is said here that it would contradict."""
    coverage = Coverage({"a": np.ones(2), "b": np.ones(2)}, TOLERANCE)
    trace = {"gradients/a": np.array([np.nan, 1]), "gradients/b": np.array([np.inf, 1])}
    coverage.add(trace | {"weights/a": np.array([2, np.inf]), "weights/b": np.array([2, 1e308])})
    assert coverage.gaps() == []
