"""Parameters that have several names: they are trained as one."""

from collections.abc import Iterable, Mapping

from flax import nnx

from shared.protocol.exchange import earlier_names


def tied(module: nnx.Module, names: Iterable[str]) -> dict[str, str]:
    """Returns name → the earlier name of the same parameter."""
    return earlier_names({name: getattr(module, name) for name in names})


def tie(module: nnx.Module, names: Mapping[str, str]) -> None:
    """Makes one parameter of two, for each name → earlier name."""
    for name, earlier in names.items():
        setattr(module, name, getattr(module, earlier))
