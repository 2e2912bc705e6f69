"""A configuration in a few words, for titles of pages and plots."""

from shared.config.settings import Config


def network_and_size(config: Config) -> str:
    """Names the cell, its directions, layers and hidden size: "GRU, both directions, 2 × 64"."""
    network = config.network
    parts = ["Elman" if network.cell == "rnn" else network.cell.upper()]
    parts += ["both directions"] * network.bidirectional
    layers = f"{network.num_layers} × " * (network.num_layers > 1)
    return f"{' '.join(parts)}, {layers}{network.hidden_size}"


def network_name(config: Config) -> str:
    """Names the network: "Elman RNN (tanh)", "LSTM"."""
    cell = config.network.cell
    return f"Elman RNN ({config.network.nonlinearity})" if cell == "rnn" else cell.upper()


def task_and_cell(config: Config) -> str:
    """Names task and cell, such as "hello: rnn (tanh)"."""
    network = config.network
    cell = f"rnn ({network.nonlinearity})" if network.cell == "rnn" else network.cell
    return f"{config.task}: {cell}"


def run_name(config: Config) -> str:
    """Names a run by task, cell, backend and precision: "hello: rnn (tanh), jax handcrafted,
    float32"."""
    where = f"{config.backend} {config.implementation}"
    return f"{task_and_cell(config)}, {where}, {config.precision}"
