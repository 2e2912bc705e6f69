"""What commonly lies beside the weights in a file of torch.save, and is let in without running it.

    with torch.serialization.safe_globals(ALLOWED):
        torch.load(path, weights_only=True)

Nothing beside the weights is used, so each class or function is replaced by a stand-in of this
file, which takes any arguments and keeps none. Dicts and lists of other kinds become plain ones,
since weights may lie in them, and so do NumPy's arrays. What is not in the list is refused by
torch, by its name.
"""

from collections import OrderedDict
from typing import Any

import numpy as np


class Beside:
    """Stands for an object that is not used."""

    def __init__(self, *arguments: Any) -> None:
        del arguments

    def __setstate__(self, state: Any) -> None:
        del state


class _Dtype:
    """Stands for a dtype of NumPy: its code, such as "f4", and its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = str(state[1])


class Array:
    """Stands for an array of NumPy, read as numbers or not at all."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def read(self) -> np.ndarray | None:
        """Returns the array; None if it is damaged or holds no plain numbers."""
        try:
            _, shape, dtype, fortran, content = self.state
            if dtype.code[:1] not in "fiu" or not isinstance(content, bytes):
                return None
            flat = np.frombuffer(content, np.dtype(dtype.order.replace("|", "=") + dtype.code))
            return flat.reshape(shape, order="F" if fortran else "C").copy()
        except (TypeError, ValueError, AttributeError):
            return None


def _array(*_: Any) -> Array:
    return Array()


def _dict(*_: Any) -> dict[Any, Any]:
    return {}


def _list(*_: Any) -> list[Any]:
    return []


_UNUSED = """
argparse.Namespace types.SimpleNamespace
pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath pathlib.Path
pathlib._local.PosixPath pathlib._local.WindowsPath pathlib._local.PurePosixPath
pathlib._local.PureWindowsPath pathlib._local.Path
datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone
uuid.UUID decimal.Decimal fractions.Fraction typing.Any
builtins.int builtins.float builtins.str builtins.bool builtins.bytes builtins.tuple builtins.list
builtins.dict builtins.frozenset builtins.range builtins.slice builtins.object
numpy.core.multiarray.scalar numpy._core.multiarray.scalar
numpy.bool_ numpy.bool numpy.float16 numpy.float32 numpy.float64 numpy.int8 numpy.int16 numpy.int32
numpy.int64 numpy.uint8 numpy.uint16 numpy.uint32 numpy.uint64
torch.torch_version.TorchVersion
omegaconf.dictconfig.DictConfig omegaconf.listconfig.ListConfig omegaconf.base.ContainerMetadata
omegaconf.base.Metadata omegaconf.nodes.AnyNode omegaconf.nodes.StringNode
omegaconf.nodes.IntegerNode omegaconf.nodes.FloatNode omegaconf.nodes.BooleanNode
pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint
pytorch_lightning.callbacks.early_stopping.EarlyStopping
"""
_DICTS = """
pytorch_lightning.utilities.parsing.AttributeDict lightning.pytorch.utilities.parsing.AttributeDict
lightning_fabric.utilities.data.AttributeDict lightning.fabric.utilities.data.AttributeDict
"""
ALLOWED: list[Any] = [
    *((Beside, name) for name in _UNUSED.split()),
    *((OrderedDict, name) for name in _DICTS.split()),
    (_dict, "collections.defaultdict"),
    (_list, "collections.deque"),
    (_Dtype, "numpy.dtype"),
    (Array, "numpy.ndarray"),
    (_array, "numpy.core.multiarray._reconstruct"),
    (_array, "numpy._core.multiarray._reconstruct"),
]
"""For `torch.serialization.safe_globals`: what is called → the name in the file."""
