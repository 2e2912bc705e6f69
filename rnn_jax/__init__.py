"""Recurrent networks in JAX and Flax, functional, with PyTorch's weights and semantics."""

try:
    from rnn_jax.exchange import from_flax, from_torch, to_flax
    from rnn_jax.layers import GRU, LSTM, RNN
    from rnn_jax.nnx_cells import GRUCell, LSTMCell, RNNCell
except ImportError as error:
    if (error.name or "").partition(".")[0] != "shared":
        raise
    from pathlib import Path

    import shared

    ours, found = Path(__file__).parents[1] / "shared", next(iter(shared.__path__), "nowhere")
    raise ImportError(
        f"rnn_jax needs the package shared in {ours}, but Python finds another one of that name "
        f"first: {found}; rename that one, or start Python in another folder"
    ) from None

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "from_flax",
    "from_torch",
    "to_flax",
]
