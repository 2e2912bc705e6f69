"""Update rules in NumPy against torch.optim: 30 steps in float64, every option."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rnn_torch.update_rules import learning_rates, update_rules
from shared.errors import InvalidInput
from shared.parity.updates import Memory, update
from shared.protocol.update_rule import UpdateRule

STEPS = 30
OPTIMIZERS: list[tuple[Any, dict]] = [
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.05, "dampening": 0.3}),
    (torch.optim.SGD, {"momentum": 0.8, "nesterov": True, "maximize": True}),
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"betas": (0.8, 0.97), "eps": 1e-3, "weight_decay": 0.05}),
    (torch.optim.Adam, {"amsgrad": True, "maximize": True, "weight_decay": 0.05}),
    (torch.optim.AdamW, {"weight_decay": 0.3}),
    (torch.optim.AdamW, {"weight_decay": 0.3, "amsgrad": True, "fused": True}),
    (torch.optim.NAdam, {"betas": (0.8, 0.97), "weight_decay": 0.05}),
    (torch.optim.NAdam, {"decoupled_weight_decay": True, "weight_decay": 0.3,
                         "momentum_decay": 0.1}),
    (torch.optim.RAdam, {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.05}),
    (torch.optim.RAdam, {"decoupled_weight_decay": True, "weight_decay": 0.3}),
    (torch.optim.Adamax, {"betas": (0.8, 0.97), "eps": 1e-3, "weight_decay": 0.05}),
    (torch.optim.Adadelta, {"rho": 0.8, "eps": 1e-4, "weight_decay": 0.05, "maximize": True}),
    (torch.optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.05}),
    (torch.optim.Adagrad, {"initial_accumulator_value": 0.2, "eps": 1e-3}),
    (torch.optim.RMSprop, {}),
    (torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.05}),
    (torch.optim.RMSprop, {"centered": True, "momentum": 0.7, "maximize": True}),
]  # fmt: skip


def ids(case: Any) -> str:
    return case.__name__ if isinstance(case, type) else ",".join(map(str, case)) or "plain"


@pytest.fixture
def float64_by_default():
    """As in a step of a pair. NAdam keeps the product of its momenta in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=ids)
def test_a_rule_makes_the_updates_of_torch(kind: Callable, options: dict) -> None:
    rng = np.random.default_rng(3)
    param = torch.nn.Parameter(torch.tensor(rng.standard_normal((4, 3))))
    optimizer = kind([param], lr=0.02, **options)
    (rule,) = update_rules(optimizer, {"w": param})
    assert rule.names == ("w",)
    assert rule.source == kind.__name__
    memory: Memory = {}
    weights = param.detach().numpy().copy()
    for count in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = rate = 0.02 / count**0.3
        gradient = rng.standard_normal((4, 3)) * 10.0 ** rng.integers(-3, 1, (4, 3))
        param.grad = torch.tensor(gradient)
        optimizer.step()
        assert learning_rates(optimizer, {"w": param}) == {"w": rate}
        weights = weights + update(rule, memory, count, rate, weights, gradient)
        np.testing.assert_allclose(weights, param.detach().numpy(), rtol=1e-12, atol=1e-12)
    for name, moment in optimizer.state[param].items():
        if name in memory and moment.shape == param.shape:
            np.testing.assert_allclose(memory[name], moment.numpy(), rtol=1e-11, atol=1e-13)


def test_every_group_is_a_rule_with_its_own_names_and_rate() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    params = dict(module.named_parameters())
    groups: Any = [
        {"params": [params["0.weight"], params["1.weight"]], "weight_decay": 0.1},
        {"params": [params["0.bias"]], "lr": 0.5},
    ]
    optimizer = torch.optim.AdamW(groups, 0.01, weight_decay=0.0)
    first, second = update_rules(optimizer, params)
    assert (first.names, second.names) == (("0.weight", "1.weight"), ("0.bias",))
    assert (first.decay, first.decay_form, second.decay) == (0.1, "decoupled", 0.0)
    rates = {"0.weight": 0.01, "1.weight": 0.01, "0.bias": 0.5}
    assert learning_rates(optimizer, params) == rates


class Sparing(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})


class Own(torch.optim.SGD):
    pass


def test_a_class_that_is_not_known_is_named() -> None:
    params = {"w": torch.nn.Parameter(torch.ones(2))}
    (rule,) = update_rules(Sparing(params.values()), params)
    assert (rule.kind, rule.source, rule.names) == ("unknown", "Sparing", ("w",))
    (rule,) = update_rules(Own(params.values(), 0.1), params)
    assert (rule.kind, rule.source) == ("sgd", "Own")
    one = np.ones(2)
    with pytest.raises(InvalidInput, match=r"rule: expected one of sgd, .*, got unknown"):
        update(UpdateRule("unknown", "Sparing"), {}, 1, 0.1, one, one)
