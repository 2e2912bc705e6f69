"""Trace that several tests of comparisons share."""

import pytest

from shared.config.settings import NetworkConfig
from shared.protocol.trace import Trace
from tests.support.traces import take, text, words


@pytest.fixture(scope="module", params=["words", "text"])
def trace(request) -> Trace:
    """Real steps with tensors of every phase: in words lengths and a reverse direction, in a text
    a carried state and an embedding; in both masks."""
    if request.param == "words":
        config = words(NetworkConfig("lstm", "tanh", 3, 2, bidirectional=True, dropout=0.3))
    else:
        config = text(NetworkConfig("gru", "tanh", 3, 2, dropout=0.3, embedding_size=2))
    return take(config, "torch/handcrafted").trace
