"""Settings of Keras's recurrent layers in a model's config: which of them torch's layers have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from shared.config.settings import Nonlinearity
from shared.errors import InvalidInput
from shared.protocol.state_dict import FoundLayer

_CLASSES = ("SimpleRNN", "LSTM", "GRU")


class KerasSettings(NamedTuple):
    """A layer's entry in a model's config."""

    name: str
    """Class of the layer: "LSTM", "Bidirectional", or "RNN" around a cell."""
    config: Mapping[str, Any]


def with_settings(layer: FoundLayer, settings: Mapping[str, KerasSettings]) -> FoundLayer:
    """Returns a layer with what a model's config tells of it.

    Args:
        settings: prefix of a layer in the file → its entry in the config.

    Raises:
        InvalidInput: a setting that torch's layers do not have; the message names it.
    """
    where = layer.prefix
    found = settings[where]
    layers = {where: found}
    outer, _, inner = where.partition("cell/cells/")
    if inner and outer in settings:  # a cell of a stack walks as the layer around it
        backwards = settings[outer].config.get("go_backwards", False)
        layers = {where: found._replace(config={**found.config, "go_backwards": backwards})}
    if layer.config.bidirectional:
        if found.config.get("merge_mode") != "concat":
            raise InvalidInput(
                f"{where}: expected merge_mode='concat', got {found.config.get('merge_mode')!r}"
            )
        halves = [f"{where}{half}_layer/" for half in ("forward", "backward")]
        layers = {half: settings[half] for half in halves if half in settings}
    activations = {
        _nonlinearity(
            one, place, backwards=layer.config.bidirectional and "backward_layer" in place
        )
        for place, one in layers.items()
    }
    if len(activations) != 1:
        raise InvalidInput(f"{where}: expected one activation, got {sorted(activations)}")
    notes = [note for one in layers.values() for note in _not_carried_over(one)]
    return layer._replace(
        config=replace(layer.config, nonlinearity=activations.pop(), batch_first=True),
        assumed=(),
        told=("nonlinearity", "batch_first"),
        not_carried_over=tuple(dict.fromkeys(notes)),
    )


def _nonlinearity(found: KerasSettings, where: str, *, backwards: bool) -> Nonlinearity:
    """Returns a layer's activation, if torch has a layer with its settings.

    Args:
        where: the layer's place, for the refusal.
        backwards: whether it is the backward half of Bidirectional.

    Raises:
        InvalidInput: a setting that torch's layers do not have; the message names it.
    """
    layer, config = found.name.removesuffix("Cell"), dict(found.config)
    if layer == "RNN":
        cell: Any = config.get("cell") or {}
        layer = str(cell.get("class_name")).removesuffix("Cell")
        config |= cell.get("config") or {}
    if layer not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise InvalidInput(
            f"{where}: expected Keras's {known}, or RNN around their cells, got {layer}"
        )
    activations = ("tanh", "relu") if layer == "SimpleRNN" else ("tanh",)
    wanted: dict[str, tuple[Any, ...]] = {
        "activation": activations,
        "recurrent_activation": ("sigmoid",),
        "go_backwards": (backwards,),
        "time_major": (False,),
        "reset_after": (True,),
    }
    for setting, values in wanted.items():
        if setting in config and config[setting] not in values:
            expected = " or ".join(repr(value) for value in values)
            raise InvalidInput(
                f"{where}: expected {setting}={expected}, which torch's layer has, got "
                f"{config[setting]!r}"
            )
    return config.get("activation", "tanh")


def _not_carried_over(found: KerasSettings) -> list[str]:
    """Lists what a layer does beside its weights: dropout in training, a state that stays."""
    config = found.config
    if found.name == "RNN":
        config = dict(config) | ((config.get("cell") or {}).get("config") or {})
    settings = ("dropout", "recurrent_dropout", "stateful")
    return [f"{name}={config[name]}" for name in settings if config.get(name)]
