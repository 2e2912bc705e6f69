"""Six pairs of real shape, each with its dropouts, its optimizer, clipping and schedule on.

    pair = compare_speech()                                  # the port as it is: proved
    pair = compare_speech(Wrong, loss=…, optimizer=…)        # changed ports

Each function is all that stands around two models in a comparison, in at most 15 lines. What else
it is given goes to `compare_programs`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import torch
from flax import nnx

from docs.examples import language_model_flax as lm
from docs.examples import language_model_torch as lm_torch
from docs.examples import policy_flax as policy
from docs.examples import policy_torch, speech_torch
from docs.examples import speech_flax as speech
from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.parity import Findings, compare_programs
from shared.parity.propose import propose
from shared.protocol.mapping import WeightMap
from tests.support.real_models import attention_decoder_flax as attention
from tests.support.real_models import attention_decoder_torch as attention_torch
from tests.support.real_models import packed_classifier_flax as classifier
from tests.support.real_models import packed_classifier_torch as classifier_torch
from tests.support.real_models import text_line_flax as line
from tests.support.real_models import text_line_torch as line_torch

Made = Callable[..., nnx.Module]
"""Makes a port with the dtypes and keys that it is given."""


def made(port: Made) -> nnx.Module:
    """Returns a port that computes in float64."""
    return port(dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))


@cache
def proposed(
    theirs: Callable[[], torch.nn.Module], ours: Made, batches: Any, known: Any = ()
) -> WeightMap:
    """Finds the mapping of a pair, once for all of its comparisons; `known` are places by name."""
    inputs, _ = batches(1)[0]
    sample = tuple(inputs.values()) if isinstance(inputs, dict) else inputs
    return propose(theirs(), made(ours), sample, known=dict(known), show=False)


def compare_language_model(
    ours: Made = lm.LanguageModel, loss: Any = lm.loss, optimizer: Any = None, **options: Any
) -> Findings:
    theirs = lm_torch
    *batches, (held_out, _) = theirs.batches(7)
    cell = {"weight_ih_l0": "inp.kernel.T", "bias_ih_l0": "inp.bias"}
    cell |= {"weight_hh_l0_raw": "rec.kernel.T", "bias_hh_l0": "bias"}
    names = {f"rnns.{i}.module.{n}": f"layers.{i}.{p}" for i in (0, 1) for n, p in cell.items()}
    names |= {"encoder.weight": "words.embedding", "decoder.bias": "bias"}
    port = JaxProgram(made(ours), None, loss, optimizer or lm.optimizer(2), names=names)
    torch.manual_seed(0)
    original = TorchProgram(
        theirs.LanguageModel, theirs.loss, theirs.optimizer,
        scheduler=theirs.scheduler, every=2, prepare=theirs.clip,
    )  # fmt: skip
    options = {"held_out": held_out, "dropout": "replay"} | options
    return compare_programs(port, original, batches, **options)


def compare_classifier(
    ours: Made = classifier.Classifier,
    loss: Any = classifier.loss,
    optimizer: Any = None,
    **options: Any,
) -> Findings:
    theirs = classifier_torch
    *batches, (held_out, _) = theirs.batches(7)
    names = proposed(theirs.Classifier, classifier.Classifier, theirs.batches)
    optimizer = optimizer or classifier.optimizer(2)
    port = JaxProgram(made(ours), None, loss, optimizer, names=names)
    torch.manual_seed(0)
    original = TorchProgram(
        theirs.Classifier(), theirs.loss, theirs.optimizer, scheduler=theirs.scheduler, every=2
    )
    options = {"held_out": held_out, "dropout": "replay"} | options
    return compare_programs(port, original, batches, **options)


def compare_speech(
    ours: Made = speech.Recogniser, loss: Any = speech.loss, optimizer: Any = None, **options: Any
) -> Findings:
    theirs = speech_torch
    *batches, (held_out, _) = theirs.batches(6)
    names = proposed(theirs.Recogniser, speech.Recogniser, theirs.batches)
    port = JaxProgram(made(ours), None, loss, optimizer or speech.optimizer(), names=names)
    torch.manual_seed(0)
    original = TorchProgram(
        theirs.Recogniser(), theirs.loss, theirs.optimizer,
        scheduler=theirs.scheduler, prepare=theirs.clip,
    )  # fmt: skip
    dropout = {"conv.layers.6": "front.drop BCFT->BFTC", "drop": "drop TBH->BTH"}
    options = {"held_out": held_out, "dropout": dropout} | options
    return compare_programs(port, original, batches, **options)


def compare_text_line(
    ours: Made = line.Reader, loss: Any = line.loss, optimizer: Any = None, **options: Any
) -> Findings:
    theirs = line_torch
    *batches, (held_out, _) = theirs.batches(9)
    flattened = "inp.kernel o (c=6 s)->(s c) o"
    known = ("", f"lower.right.{flattened}"), ("_reverse", f"lower.left.{flattened}")
    known = tuple((f"rnn.0.rnn.weight_ih_l0{end}", place) for end, place in known)
    names = proposed(theirs.Reader, line.Reader, theirs.batches, known)
    port = JaxProgram(made(ours), None, loss, optimizer or line.optimizer(), names=names)
    torch.manual_seed(0)
    original = TorchProgram(
        theirs.Reader(), theirs.loss, theirs.optimizer,
        scheduler=theirs.scheduler, prepare=theirs.clip,
    )  # fmt: skip
    options = {"held_out": held_out, "dropout": "replay"} | options
    return compare_programs(port, original, batches, **options)


def compare_attention(
    ours: Made = attention.Translator,
    loss: Any = attention.loss,
    optimizer: Any = None,
    **options: Any,
) -> Findings:
    theirs = attention_torch
    *batches, (held_out, _) = theirs.batches(9)
    names = proposed(theirs.Translator, attention.Translator, theirs.batches)
    port = JaxProgram(made(ours), None, loss, optimizer or attention.optimizer(), names=names)
    torch.manual_seed(0)
    original = TorchProgram(
        theirs.Translator(), theirs.loss, theirs.optimizer,
        scheduler=theirs.scheduler, accumulate=2, prepare=theirs.clip,
    )  # fmt: skip
    options = {"held_out": held_out, "dropout": "replay"} | options
    return compare_programs(port, original, batches, **options)


def compare_policy(
    ours: Made = policy.Agent, loss: Any = policy.loss, optimizer: Any = None, **options: Any
) -> Findings:
    theirs = policy_torch
    *batches, (held_out, _) = theirs.batches(7)
    names = proposed(theirs.Agent, policy.Agent, theirs.batches)
    port = JaxProgram(made(ours), None, loss, optimizer or policy.optimizer(), names=names)
    torch.manual_seed(0)
    original = TorchProgram(
        theirs.Agent(), theirs.loss, theirs.optimizer,
        scheduler=theirs.scheduler, prepare=theirs.clip,
    )  # fmt: skip
    options = {"held_out": held_out} | options
    return compare_programs(port, original, batches, **options)
