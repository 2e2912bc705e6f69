"""Recurrent networks in PyTorch, handcrafted, with the weights and semantics of torch.nn."""

try:
    from rnn_torch.exchange import from_flax
    from rnn_torch.layers import GRU, LSTM, RNN
except ImportError as error:
    if (error.name or "").partition(".")[0] != "shared":
        raise
    from pathlib import Path

    import shared

    ours, found = Path(__file__).parents[1] / "shared", next(iter(shared.__path__), "nowhere")
    raise ImportError(
        f"rnn_torch needs the package shared in {ours}, but Python finds another one of that name "
        f"first: {found}; rename that one, or start Python in another folder"
    ) from None

__all__ = ["GRU", "LSTM", "RNN", "from_flax"]
