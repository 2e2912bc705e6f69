"""What both frameworks agree on: the backend, layers, canonical weights, batches, traces."""

from shared.protocol.backend import Backend, Snapshot, load_backend
from shared.protocol.batching import Batch
from shared.protocol.layer import LayerConfig

__all__ = ["Backend", "Batch", "LayerConfig", "Snapshot", "load_backend"]
