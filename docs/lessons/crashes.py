"""The tutorial's mistakes that have no curve: calls that fail, and what else can be counted."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from docs.lessons.mistakes import EARLY
from docs.lessons.trials import Size, losses_of, right, spelling
from rnn_torch.layers import RNN

B, T, I, H = 3, 7, 4, 8
"""Batch, steps, inputs and hidden units: all different, as they usually are."""
SEEDS = 10
"""Number of runs that show what a seed does."""


def misspelt() -> object:
    return getattr(nn, "Parmater")  # noqa: B009


def weight_added_to_all_steps() -> Tensor:
    """Computes (B, T, I) (I, H) + (I, H), which fits only where T = I."""
    weight = torch.ones(I, H)
    return torch.ones(B, T, I) @ weight + weight


def state_added_to_all_steps() -> Tensor:
    """Computes (B, T, H) + (B, H) (H, H), which fits only where T = B, and adds sequence t's state
    to step t."""
    return torch.ones(B, T, H) + torch.ones(B, H) @ torch.ones(H, H)


def last_of_one_step() -> Tensor:
    """Takes the last step of an output (B, H) that has no steps."""
    return torch.ones(B, H)[:, -1, :]


class Classifier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def state_not_taken() -> Tensor:
    return Classifier()(torch.ones(B, T, I), None)


def tensor_as_key() -> str:
    """Looks a tensor up in a dictionary. A tensor is equal to the number in it, but a dictionary
    looks for the same object."""
    return {0: "h", 1: "e"}[torch.tensor([1])]  # pyright: ignore[reportArgumentType]


CRASHES: dict[str, Callable[[], object]] = {
    "misspelt": misspelt,
    "weight-for-bias": weight_added_to_all_steps,
    "state-for-all-steps": state_added_to_all_steps,
    "last-of-one-step": last_of_one_step,
    "state-not-taken": state_not_taken,
    "tensor-as-key": tensor_as_key,
}


def message(attempt: Callable[[], object]) -> str:
    """Returns what Python says when a call fails: "KeyError: …".

    Raises:
        RuntimeError: it does not fail.
    """
    try:
        attempt()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise RuntimeError(f"{attempt.__name__}: expected an error, got none")


def facts(size: Size) -> dict[str, int | float | str]:
    """Returns numbers about mistakes that neither fail nor show in a curve."""
    early = min(EARLY, size.steps)
    jobs = [spelling(size._replace(seed=size.seed + i)) for i in range(SEEDS)]
    losses = [losses_of(job, right, early)[-1] for job in jobs]
    return {
        "states": T,
        "states_changed": _states_changed(),
        "seeds": SEEDS,
        "early": early,
        "lowest": min(losses),
        "highest": max(losses),
    }


def _states_changed() -> int:
    """Counts the states of a sequence that another first input changes."""
    torch.manual_seed(0)
    layer, x = RNN(I, H, batch_first=True), torch.randn(1, T, I)
    other = x.clone()
    other[:, 0] += 1
    return int((layer(x)[0] != layer(other)[0]).any(-1).sum())
