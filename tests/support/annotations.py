"""Annotations, shapes included, are checked at each call of rnn_jax and rnn_torch, for tests that
ask for it: those of the layers. Everywhere else that would take half of the time."""

import pkgutil
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping


def install() -> None:
    """Before the packages are imported; `checked` switches it on."""
    # Not where there are generic named tuples such as Batch, which beartype does not know.
    generic = {"backend", "scans", "step", "tracing", "traps"}
    for package in ("rnn_jax", "rnn_torch"):
        modules = {module.name for module in pkgutil.iter_modules([package])} - generic
        names = [f"{package}.{name}" for name in modules]
        jaxtyping.install_import_hook(names, "tests.support.annotations.check")
    checked(False)


def checked(yes: bool) -> None:
    jaxtyping.config.update("jaxtyping_disable", not yes)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """What checks a function's annotations; of one that is made anew at each call of another only
    while they are checked."""
    inner = "<locals>" in getattr(function, "__qualname__", "")
    off = jaxtyping.config.jaxtyping_disable  # pyright: ignore[reportAttributeAccessIssue]
    return function if inner and off else beartype.beartype(function)
