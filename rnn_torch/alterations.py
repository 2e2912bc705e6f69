"""Things that a port may do in another way than its original, done so in the original.

    for alteration in alterations(module):
        with altered(module, alteration.name):
            loss = criterion(module(x), targets)

A port that equals the original so altered has that mistake. What can be altered: the recurrence and
its states (`altered_layers.py`), what of it is used (`altered_outputs.py`), norms
(`altered_norms.py`), activations, attention, dropout, embeddings, convolutions
(`altered_functions.py`), losses (`altered_losses.py`), and where gradients flow
(`altered_gradients.py`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from rnn_torch.altered_calls import Calls, Try, confined, mentioned
from rnn_torch.altered_functions import function_tries
from rnn_torch.altered_gradients import gradient_tries
from rnn_torch.altered_layers import layer_tries
from rnn_torch.altered_losses import loss_tries
from rnn_torch.altered_norms import norm_tries
from rnn_torch.altered_outputs import output_tries
from shared.errors import InvalidInput
from shared.protocol.program import Alteration


def alterations(module: nn.Module, *, packed: bool = False) -> list[Alteration]:
    """Returns what can be altered in a module, the likely first; those of a loss are always there.

    A name is a kind, then after colons a value and the submodule, where there are several:
    "layer-norm-epsilon:1e-06:encoder.norm".

    Args:
        module: its submodules and the code of its own classes tell what can matter.
        packed: inputs are or hold a PackedSequence; one that the module makes itself is seen.
    """
    return [Alteration(*one[:3]) for one in _tries(module, packed)]


@contextmanager
def altered(module: nn.Module, name: str) -> Iterator[None]:
    """Does one thing in another way in a module, and in a loss that is computed meanwhile.

    Only the module that is given has hooks: a copy made before has none. Random draws keep their
    number and order; their shapes change where the shapes of outputs do, as with batch and time
    swapped. Afterwards all is as before, also after an exception.

    Args:
        module: the one that runs. Parameters may be loaded meanwhile, but take their list before:
            of tied weights untied, another tensor stands in one place.
        name: of an alteration, as `alterations` has it.

    Raises:
        InvalidInput: a name that is none of this module's.
    """
    found = [one for one in _tries(module, packed=True) if one.name == name]
    if not found:
        raise InvalidInput(f"alteration: expected one of alterations(module), got {name}")
    with ExitStack() as stack:
        path = found[0].path
        running = None if path is None else confined(module, path, stack)
        replaced = found[0].start(module, stack)
        if replaced:
            stack.enter_context(Calls(replaced, running))
        yield


def _tries(module: nn.Module, packed: bool) -> list[Try]:
    names = mentioned(module)
    packed = packed or bool({"pack_padded_sequence", "pack_sequence"} & names)
    return [
        *layer_tries(module, names, packed),
        *output_tries(module, packed),
        *function_tries(module, names),
        *norm_tries(module, names),
        *loss_tries(),
        *gradient_tries(module, names),
    ]
