"""Parts of torch that it does not promise to keep, gathered here: names that begin with an
underscore, and `torch.jit.is_tracing`.

A release may lack any of them. Then `MISSING` has its name, a run records it in its path, and what
needs it takes the plain path: layers compute by autograd, or something small takes longer.
"""

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

MISSING: list[str] = []
"""Full names of what this release of torch lacks."""


def _find(name: str) -> Any:
    """Returns the part of this name; None where there is none."""
    module, _, attribute = name.rpartition(".")
    try:
        owner: Any = torch._C if module == "torch._C" else importlib.import_module(module)
        return getattr(owner, attribute)
    except (ImportError, AttributeError):
        MISSING.append(name)
        return None


_transforms = _find("torch._C._are_functorch_transforms_active")
_legacy_batched = _find("torch._C._functorch.is_legacy_batchedtensor")
_find("torch.autograd.forward_ad._current_level")
_in_dispatch_mode = _find("torch.utils._python_dispatch.is_in_torch_dispatch_mode")
_is_tracing = _find("torch.jit.is_tracing")
_can_tell = not MISSING
_guard = _find("torch._C._ExcludeDispatchKeyGuard")
_keys, _key = _find("torch._C.DispatchKeySet"), _find("torch._C.DispatchKey")
_norms = _find("torch._foreach_norm")
DispatchMode = _find("torch.utils._python_dispatch.TorchDispatchMode")
"""The class of contexts that see every operation; None where there is none."""
tree_leaves = _find("torch.utils._pytree.tree_leaves")


def _autograd_keys() -> Any:
    """Returns the layers of torch's dispatcher that keep autograd's books; None if they have no
    names."""
    names = ("AutogradCPU", "ADInplaceOrView")
    if _keys is None or not all(hasattr(_key, name) for name in names):
        return None
    first, second = (_keys(getattr(_key, name)) for name in names)
    return first | second


_autograd = _autograd_keys()


def looked_into(tensors: Sequence[Tensor]) -> bool:
    """Tells whether something looks into the operations on tensors: torch.func's transformations,
    the vmap of `is_grads_batched=True`, forward-mode differentiation, dispatch modes,
    torch.jit.trace. The answer is also yes where this release of torch cannot tell."""
    return (
        not _can_tell
        or _is_tracing()
        or _transforms()
        or forward_ad._current_level >= 0
        or _in_dispatch_mode()
        or any(_legacy_batched(tensor) for tensor in tensors)
    )


def is_tracing() -> bool:
    """Tells whether torch.jit.trace runs this; False where torch cannot tell."""
    return bool(_is_tracing and _is_tracing())


def without_autograd() -> AbstractContextManager[Any]:
    """Sends operations straight to their kernels. Otherwise autograd notes views and writes into
    them, also of buffers that nobody else sees: a seventh of the time of a small network. It still
    does where this release of torch offers no way around."""
    if _guard is None or _autograd is None:
        return nullcontext()
    return _guard(_autograd)


def norms(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """Returns the norm of each gradient, in one operation where torch has it."""
    if _norms is None:
        return [torch.linalg.vector_norm(gradient) for gradient in gradients]
    return _norms(list(gradients))


def lacking() -> str:
    """Returns the addition to the path of a run where torch lacks something: "; torch lacks …"."""
    return f"; torch lacks {', '.join(MISSING)}" if MISSING else ""
