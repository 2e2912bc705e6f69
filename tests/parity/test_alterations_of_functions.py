"""Alterations of norms, activations, attention, dropout, embeddings, convolutions."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.alterations import altered
from tests.support.altered_models import close, float64, names, run

__all__ = ["float64"]
pytestmark = pytest.mark.usefixtures("float64")


class Calling(nn.Module):
    """Calls a function, which an instance does not show among its submodules."""

    def __init__(self, function: Any):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


# Norms ----------------------------------------------------------------------------------------


def normalised(x: Tensor, axes: Any, eps: float, root: bool = False, ddof: int = 0) -> Tensor:
    values = x.numpy()
    mean, variance = values.mean(axes, keepdims=True), values.var(axes, ddof=ddof, keepdims=True)
    down = np.sqrt(variance) + eps if root else np.sqrt(variance + eps)
    return torch.tensor((values - mean) / down)


def affine(module: Any) -> None:
    for one in module.parameters():
        nn.init.uniform_(one, 0.5, 1.5)


NORMS = {
    "layer-norm": (nn.LayerNorm([6, 5]), (2, 3)),
    "batch-norm": (nn.BatchNorm2d(4), (0, 2, 3)),
    "instance-norm": (nn.InstanceNorm2d(4, affine=True), (2, 3)),
    "group-norm": (nn.GroupNorm(4, 4), (2, 3)),
}


@pytest.mark.parametrize("kind", NORMS)
def test_epsilon_of_a_norm(kind: str) -> None:
    module, axes = NORMS[kind]
    module = module.double()
    affine(module)
    x = 0.01 * torch.randn(3, 4, 6, 5)
    shape = (6, 5) if kind == "layer-norm" else (4, 1, 1)
    weight, bias = (p.detach().view(shape) for p in (module.weight, module.bias))
    for eps in (1e-3, 1e-6, 1e-12):
        expected = normalised(x, axes, eps) * weight + bias
        close(run(module, f"{kind}-epsilon:{eps:g}", x), expected)
    expected = normalised(x, axes, 1e-5, root=True) * weight + bias
    close(run(module, f"{kind}-epsilon:outside", x), expected)
    assert f"{kind}-epsilon:1e-05" not in names(module, kind)  # it has that


def test_epsilon_of_rms_norm_and_the_variance_of_layer_norm() -> None:
    x = 0.01 * torch.randn(3, 4, 5)
    square = x.square().mean(-1, keepdim=True)
    module = nn.RMSNorm(5)
    affine(module)
    for name, down in (
        ("1e-05", (square + 1e-5).sqrt()),
        ("1.19209e-07", (square + 2.0**-23).sqrt()),
        ("outside", square.sqrt() + 2.0**-52),
    ):
        close(run(module, f"rms-norm-epsilon:{name}", x), x / down * module.weight, module)
    module = nn.LayerNorm(5)
    close(run(module, "layer-norm-variance", x), normalised(x, 2, 1e-5, ddof=1))
    expected = normalised(x, 2, 1e-5, root=True, ddof=1)
    close(run(module, "layer-norm-variance:outside", x), expected)


def test_one_norm_of_several_and_one_that_is_called_as_a_function() -> None:
    x = 0.01 * torch.randn(3, 5)
    module = nn.Sequential(nn.LayerNorm(5), nn.Tanh(), nn.LayerNorm(5, eps=1e-3))
    one = normalised(x, 1, 1e-8).tanh()
    close(run(module, "layer-norm-epsilon:1e-08:0", x), normalised(one, 1, 1e-3))
    both = normalised(one, 1, 1e-8)
    close(run(module, "layer-norm-epsilon:1e-08", x), both)
    called = Calling(lambda x: F.layer_norm(x, (5,), None, None, 1e-6))
    close(run(called, "layer-norm-epsilon:0.001", x), normalised(x, 1, 1e-3))
    assert not names(Calling(torch.tanh), "layer-norm")


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5)])
def test_momentum_and_variance_of_batch_norm(shape: tuple[int, ...]) -> None:
    module, x = nn.BatchNorm1d(4, momentum=0.3), torch.randn(shape)
    axes = (0, 2)[: len(shape) - 1]
    mean = x.numpy().mean(axes)
    for value in (0.7, 0.1, 0.9, 0.99, 0.01, 0.001):
        module.reset_running_stats()
        run(module, f"batch-norm-momentum:{value}", x)
        unbiased = x.numpy().var(axes, ddof=1)
        close(module.running_mean, torch.tensor(value * mean))
        close(module.running_var, torch.tensor((1 - value) + value * unbiased))
    module.reset_running_stats()
    close(run(module, "batch-norm-variance", x), nn.BatchNorm1d(4)(x))
    close(module.running_mean, torch.tensor(0.3 * mean))
    close(module.running_var, torch.tensor(0.7 + 0.3 * x.numpy().var(axes)))
    assert module.num_batches_tracked == 1
    assert "batch-norm-momentum:0.3" not in names(module, "batch-norm")


def test_which_statistics_batch_norm_takes() -> None:
    module: Any = nn.BatchNorm1d(4)
    x = torch.randn(6, 4)
    module(3 * x + 1)
    held = module.running_mean.clone(), module.running_var.clone()
    expected = (x - held[0]) / (held[1] + 1e-5).sqrt()
    close(run(module, "batch-norm-mode:running", x), expected)
    module.eval()
    close(run(module, "batch-norm-mode:batch", x), normalised(x, 0, 1e-5))
    close((module.running_mean, module.running_var), held)


# Activations, softmax, dropout ----------------------------------------------------------------


def erf(x: Tensor) -> Tensor:
    return torch.tensor([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.flatten().tolist()])


def test_gelu_in_its_other_form() -> None:
    x = torch.randn(20)
    tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    close(run(nn.Sequential(nn.GELU()), "gelu", x), tanh)
    close(run(nn.GELU("tanh"), "gelu", x), erf(x))
    close(run(Calling(lambda x: F.gelu(x)), "gelu", x), tanh)
    layer = nn.TransformerEncoderLayer(4, 1, 4, 0.0, F.gelu)
    assert names(layer, "gelu") == ["gelu"]


def test_other_activations_and_constants() -> None:
    x = torch.randn(20)
    slope, one = torch.where(x > 0, x, 0.2 * x), torch.where(x > 0, x, 1.6732632423543772)
    close(run(nn.LeakyReLU(), "leaky-relu-negative-slope:0.2", x), slope)
    close(run(Calling(lambda x: F.leaky_relu(x)), "leaky-relu-negative-slope:0.2", x), slope)
    expected = torch.where(x > 0, x, one * x.expm1())
    close(run(nn.ELU(), "elu-alpha:1.67326", x), expected)
    close(run(nn.SiLU(), "activation:silu:relu", x), x.clamp(min=0))
    close(run(nn.Sequential(nn.ReLU()), "activation:relu:silu", x), x / (1 + torch.exp(-x)))
    close(run(Calling(lambda x: torch.relu(x)), "activation:relu:tanh", x), torch.tanh(x))


def test_softmax_along_another_axis() -> None:
    x = torch.randn(3, 4, 5)
    for axis in (-1, -2, 0, 1):
        exp = torch.exp(x)
        expected = exp / exp.sum(axis, keepdim=True)
        for module in (
            nn.Softmax(dim=2),
            Calling(lambda x: x.softmax(0)),
            Calling(lambda x: torch.softmax(x, dim=-1)),
        ):
            close(run(module, f"softmax-axis:{axis}", x), expected)
        module = Calling(lambda x: F.log_softmax(x, 1))
        close(run(module, f"log-softmax-axis:{axis}", x), expected.log())


def test_dropout_that_does_not_scale() -> None:
    x = torch.randn(30)
    for module in (nn.Dropout(0.25), Calling(lambda x: F.dropout(x, 0.25, training=True))):
        torch.manual_seed(2)
        plain = module(x)
        torch.manual_seed(2)
        close(run(module, "dropout-scale", x), torch.where(plain != 0, x, 0.0))
    module = nn.Dropout(0.25).eval()
    close(run(module, "dropout-scale:evaluation", x), 0.75 * x)
    assert not names(nn.Dropout(0.0), "dropout")


# Attention, embeddings, convolutions ----------------------------------------------------------


def attention(module: nn.MultiheadAttention, x: Tensor, scale: float, mask: Any = 0.0) -> Tensor:
    """(T, B, 4) by two heads of width 2."""
    q, k, v = (x @ module.in_proj_weight.T + module.in_proj_bias).chunk(3, -1)
    heads = []
    for head in (slice(0, 2), slice(2, 4)):
        scores = torch.einsum("tbd,sbd->bts", q[..., head], k[..., head]) * scale + mask
        heads.append(
            torch.einsum("bts,sbd->tbd", scores.exp() / scores.exp().sum(-1, True), v[..., head])
        )
    return torch.cat(heads, -1) @ module.out_proj.weight.T + module.out_proj.bias


@pytest.mark.parametrize("weights", [True, False])
def test_attention_without_its_scale_or_masks(weights: bool) -> None:
    module, x = nn.MultiheadAttention(4, 2), torch.randn(5, 3, 4)
    nn.init.uniform_(module.in_proj_bias)
    padded = torch.zeros(3, 5, dtype=torch.bool)
    padded[0, 3:] = True
    later = torch.ones(5, 5).triu(1).bool()
    minus = {  # what is added to the scores
        "padding": torch.where(padded, -torch.inf, 0.0)[:, None],
        "later": torch.where(later, -torch.inf, 0.0),
    }
    for name, scale, mask in (
        ("attention-scale", 1.0, minus["padding"] + minus["later"]),
        ("attention-scale:width", 0.5, minus["padding"] + minus["later"]),
        ("attention-mask", 0.5**0.5, minus["padding"]),
        ("attention-padding", 0.5**0.5, minus["later"]),
    ):
        with altered(module, name):
            found = module(x, x, x, padded, weights, later)[0]
        close(found, attention(module, x, scale, mask), module)


def test_attention_by_a_function() -> None:
    q, k, v = torch.randn(3, 2, 4, 6)
    module = Calling(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    later = torch.where(torch.ones(4, 4).triu(1).bool(), -torch.inf, 0.0)
    scores = (q @ k.transpose(-1, -2) + later).softmax(-1)
    close(run(module, "attention-scale", q, k, v), scores @ v)
    scores = (q @ k.transpose(-1, -2) / 6**0.5).softmax(-1)
    close(run(module, "attention-mask", q, k, v), scores @ v)


def test_rows_and_scales_of_an_embedding() -> None:
    x = torch.tensor([[1, 2, 0], [2, 2, 3]])
    module = nn.Embedding(5, 4, padding_idx=2)
    nn.init.normal_(module.weight)
    rows = module.weight[x]
    close(run(module, "padding-row", x), rows, module)  # with the gradient of every row
    kept = (x != 2)[..., None]
    close(run(module, "padding-row:zero", x), rows * kept, module)
    close(run(module, "embedding-scale", x), module(x) * 2, module)
    close(run(module, "embedding-scale:divided", x), module(x) / 2, module)
    module = nn.Embedding(5, 4)
    rows, zero = module.weight[x], (x != 0)[..., None]
    close(run(module, "padding-row:0:zero", x), rows * zero, module)
    close(run(module, "padding-row:0", x), torch.where(zero, rows, rows.detach()), module)
    assert "padding-row" not in names(module, "padding-row")


@pytest.mark.parametrize("axes", [1, 2])
def test_kernels_and_padding_of_convolutions(axes: int) -> None:
    kind, turned = ((nn.Conv1d, nn.ConvTranspose1d), (nn.Conv2d, nn.ConvTranspose2d))[axes - 1]
    convolve = (F.conv1d, F.conv2d)[axes - 1]
    x = torch.randn(2, 3, *[8] * axes)
    module = kind(3, 4, 3, stride=2, padding=1)
    flipped = module.weight.flip(*range(2, 2 + axes))
    expected = convolve(x, flipped, module.bias, stride=2, padding=1)
    close(run(module, "kernel-flip", x), expected, module)
    for name, pad in (("same", (0, 1)), ("same-start", (1, 0)), ("causal", (1, 0))):
        expected = convolve(F.pad(x, pad * axes), module.weight, module.bias, stride=2)
        close(run(module, f"convolution-padding:{name}", x), expected, module)
    module = kind(3, 4, 3, padding="same", dilation=2)
    expected = convolve(F.pad(x, (4, 0) * axes), module.weight, module.bias, dilation=2)
    close(run(module, "convolution-padding:causal", x), expected, module)
    module: Any = turned(3, 4, 3, stride=2)
    other = turned(3, 4, 3, stride=2)
    other.load_state_dict(
        {**module.state_dict(), "weight": module.weight.flip(*range(2, 2 + axes))}
    )
    close(run(module, "kernel-flip:transposed", x), other(x))
