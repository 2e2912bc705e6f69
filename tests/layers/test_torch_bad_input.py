"""Wrong input to rnn_torch.RNN, LSTM and GRU raises what torch.nn raises."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import rnn_torch
from tests.support.torch_cases import NAMES, pair, randn

BAD_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "1-D input": lambda layer, hx: layer(randn(3)),
    "4-D input": lambda layer, hx: layer(randn(2, 5, 3, 1)),
    "features": lambda layer, hx: layer(randn(5, 2, 7)),
    "no steps": lambda layer, hx: layer(randn(0, 2, 3)),
    "dtype": lambda layer, hx: layer(randn(5, 2, 3).float()),
    "integers": lambda layer, hx: layer(torch.ones(5, 2, 3, dtype=torch.long)),
    "state without layers": lambda layer, hx: layer(randn(5, 2, 3), hx(1, 2, 4)),
    "state of another batch": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 3, 4)),
    "state of another width": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 2, 5)),
    "2-D state for a batch": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 4)),
    "3-D state for no batch": lambda layer, hx: layer(randn(5, 3), hx(4, 1, 4)),
    "packed features": lambda layer, hx: layer(pack_sequence([randn(2, 7)])),
    "packed, other batch": lambda layer, hx: layer(pack_sequence([randn(2, 3)]), hx(4, 2, 4)),
    "state of another dtype": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 2, 4, torch.float32)),
    "dtype and features": lambda layer, hx: layer(randn(5, 2, 7).float()),
    "integers under autocast": lambda layer, hx: autocast(layer, torch.ones(5, 2, 3).long()),
    "packed rows that grow": lambda layer, hx: layer(growing()),
}


def autocast(layer: Any, x: torch.Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x)


def growing() -> PackedSequence:
    """The second step has more sequences than the first, which none can."""
    return PackedSequence(randn(5, 3), torch.tensor([1, 2, 2]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD_CALLS)
@pytest.mark.parametrize("name", NAMES)
def test_bad_calls_raise_what_torch_raises(name: str, bad: str) -> None:
    theirs, ours = pair(name, 3, 4, num_layers=2, bidirectional=True)

    def hx(*shape: Any) -> Any:
        dtype = shape[-1] if isinstance(shape[-1], torch.dtype) else torch.float64
        h = torch.ones([n for n in shape if isinstance(n, int)], dtype=dtype)
        return (h, h) if name == "LSTM" else h

    if bad.startswith("packed rows"):  # torch looks only at one direction
        theirs, ours = pair(name, 3, 4)
    if bad.endswith("autocast"):  # which leaves float64 alone
        theirs, ours = pair(name, 3, 4, dtype=torch.float32)
    with pytest.raises((ValueError, RuntimeError)) as expected:
        BAD_CALLS[bad](theirs, hx)
    # With integers, autocast makes torch find out late, with a RuntimeError.
    error = ValueError if bad.startswith("integers under") else expected.type
    with pytest.raises(error, match=f"{name}: expected .* got"):
        BAD_CALLS[bad](ours, hx)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", NAMES)
def test_packed_input_of_another_dtype(name: str) -> None:
    """A ValueError as for any input; torch.nn.LSTM finds out late, with a RuntimeError."""
    _, ours = pair(name, 3, 4)
    with pytest.raises(ValueError, match=r"input of torch.float64.* got torch.float32"):
        ours(pack_sequence([randn(2, 3).float()]))


@pytest.mark.usefixtures("unchecked")
def test_an_input_of_the_wrong_kind() -> None:
    for bad in (np.ones((5, 2, 3)), [[1.0, 2, 3]], None):
        with pytest.raises(TypeError, match=r"GRU: expected input to be a tensor or .* got "):
            rnn_torch.GRU(3, 4)(bad)  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("unchecked")
def test_a_state_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match=r"LSTM: expected a pair \(h_0, c_0\).* got one tensor"):
        rnn_torch.LSTM(3, 4)(torch.ones(5, 2, 3), torch.ones(1, 2, 4))  # pyright: ignore
    with pytest.raises(TypeError, match=r"GRU: expected one tensor h_0 .* got 2 in a tuple"):
        rnn_torch.GRU(3, 4)(torch.ones(5, 2, 3), (torch.ones(1, 2, 4),) * 2)  # pyright: ignore
    for empty in ((), []):
        with pytest.raises(TypeError, match=r"GRU: expected one tensor h_0 .* got 0 in a"):
            rnn_torch.GRU(3, 4)(torch.ones(5, 2, 3), empty)  # pyright: ignore
    arrays = (np.ones((1, 2, 4), np.float32),) * 2
    with pytest.raises(TypeError, match=r"LSTM: expected h_0 to be an array .* got numpy.ndarray"):
        rnn_torch.LSTM(3, 4)(torch.ones(5, 2, 3), arrays)  # pyright: ignore


@pytest.mark.usefixtures("unchecked")
def test_lengths_beyond_the_padding_are_noticed() -> None:
    """torch packs them without a word, with rows that do not exist."""
    packed = pack_padded_sequence(torch.ones(4, 2, 3), torch.tensor([6, 2]))
    with pytest.raises(RuntimeError, match=r"expected 8 packed rows, .* got 6"):
        rnn_torch.GRU(3, 4)(packed)


@pytest.mark.parametrize("masks", [(1, 5, 2, 4), (2, 5, 2, 8)])
@pytest.mark.usefixtures("unchecked")
def test_masks_of_another_shape(masks: tuple[int, ...]) -> None:
    layer = rnn_torch.GRU(3, 4, num_layers=2, bidirectional=True)
    with pytest.raises(ValueError, match=r"masks of shape .* = \(1, 5, 2, 8\), got"):
        layer(torch.ones(5, 2, 3), masks=torch.ones(masks))


@pytest.mark.usefixtures("unchecked")
def test_masks_for_packed_sequences_are_checked_too() -> None:
    layer = rnn_torch.GRU(3, 4, num_layers=2)
    packed = pack_sequence([torch.ones(3, 3), torch.ones(1, 3)])
    for masks in (torch.ones(1, 1), torch.ones(1, 3, 4), torch.ones(1, 4, 1)):
        with pytest.raises(ValueError, match=r"masks of shape .* = \(1, 4, 4\), got"):
            layer(packed, masks=masks)
    with pytest.raises(TypeError, match="expected masks to be a tensor, got list"):
        layer(packed, masks=[1.0])  # pyright: ignore[reportArgumentType]


def test_masks_for_an_empty_batch_and_of_another_dtype() -> None:
    layer, x = rnn_torch.GRU(3, 4, num_layers=2), randn(5, 2, 3).float()
    assert layer(x[:, :0], masks=torch.ones(1, 5, 0, 4))[0].shape == (5, 0, 4)
    masks = 2.0 * (randn(1, 5, 2, 4) > 0)
    assert torch.equal(layer(x, masks=masks.double())[0], layer(x, masks=masks.float())[0])


def test_masks_have_the_layout_of_the_output() -> None:
    """One sequence, a batch of two in both layouts, packed: each the same."""
    ours = rnn_torch.LSTM(3, 4, num_layers=2, dtype=torch.float64)
    xs, masks = randn(2, 5, 3), 2.0 * (randn(2, 1, 5, 4) > 0)
    alone = [ours(x, masks=mask)[0] for x, mask in zip(xs, masks, strict=True)]
    expected = torch.stack(alone, dim=1)
    assert not torch.allclose(alone[0], ours(xs[0])[0])
    assert torch.allclose(ours(xs.transpose(0, 1), masks=torch.stack([*masks], 2))[0], expected)
    assert torch.allclose(ours(pack_sequence([xs[0]]), masks=masks[0])[0].data, alone[0])
    ours.batch_first = True
    assert torch.allclose(ours(xs, masks=torch.stack([*masks], 1))[0].transpose(0, 1), expected)
