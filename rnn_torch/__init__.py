"""Recurrent networks in PyTorch, handcrafted, with the weights and semantics of torch.nn."""

from importlib.util import find_spec
from pathlib import Path

_ours, _found = Path(__file__).resolve().parents[1] / "shared", find_spec("shared")
_origin = Path((_found and _found.origin) or "nowhere").resolve()
if _origin.parent != _ours:
    raise ImportError(
        f"rnn_torch needs the package shared in {_ours}, but Python finds another one of that name "
        f"first: {_origin}; rename that one, or start Python in another folder"
    )

from rnn_torch.cell_modules import GRUCell, LSTMCell, RNNCell  # noqa: E402
from rnn_torch.exchange import from_flax  # noqa: E402
from rnn_torch.layers import GRU, LSTM, RNN  # noqa: E402

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "from_flax"]
