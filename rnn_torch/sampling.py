"""Choice of the next token, given its logits and the noise that decides it."""

import math

import torch
from jaxtyping import Float, Integer
from torch import Tensor


def choose(
    logits: Float[Tensor, " V"],
    noise: Float[Tensor, " V"],
    temperature: float,
    top_k: int,
    top_p: float,
) -> Integer[Tensor, ""]:
    """Returns the token with the largest logit / temperature + noise among those that are left.

    Args:
        noise: standard Gumbel, which makes this a draw from the softmax.
        temperature: above 0.
        top_k: leaves the k most probable tokens, and those as probable as the last; V leaves all.
        top_p: leaves of those the fewest that together have this probability; 1 leaves all.
    """
    scaled = logits / temperature
    kept = torch.sort(scaled, descending=True).values[:top_k]
    share = torch.softmax(kept, 0)
    before = torch.cumsum(share, 0) - share
    least = kept[(before < top_p) | (top_p >= 1)].min()
    return torch.argmax(torch.where(scaled >= least, scaled + noise, -math.inf))
