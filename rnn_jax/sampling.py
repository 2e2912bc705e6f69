"""Choice of the next token, given its logits and the noise that decides it."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Integer


def choose(
    logits: Float[Array, " V"],
    noise: Float[Array, " V"],
    temperature: Float[Array, ""],
    top_k: Integer[Array, ""],
    top_p: Float[Array, ""],
) -> Integer[Array, ""]:
    """Returns the token with the largest logit / temperature + noise among those that are left.

    Args:
        noise: standard Gumbel, which makes this a draw from the softmax.
        temperature: above 0.
        top_k: leaves the k most probable tokens, and those as probable as the last; V leaves all.
        top_p: leaves of those the fewest that together have this probability; 1 leaves all.
    """
    scaled = logits / temperature
    largest = jnp.sort(scaled, descending=True)
    kept = jnp.where(jnp.arange(len(largest)) < top_k, largest, -jnp.inf)
    share = jax.nn.softmax(kept)
    before = jnp.cumsum(share) - share
    kept = jnp.where((before < top_p) | (top_p >= 1), kept, -jnp.inf)
    least = jnp.where(jnp.isfinite(kept), kept, jnp.inf).min()
    return jnp.argmax(jnp.where(scaled >= least, scaled + noise, -jnp.inf)).astype(jnp.int32)
