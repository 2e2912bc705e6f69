"""Both frameworks in one process: torch first, because importing jax before it has crashed."""

import os

# Neither this process nor those that tests start write to the user's cache.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import torch  # noqa: I001
import importlib
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jaxtyping
import pytest

from shared import cli
from shared.interruption import SIGNALS
from tests.support.fuzz import SEED

# Tests started in the background ignore Ctrl-C, and so would the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Without it JAX silently computes float64 in float32; float32 runs must stay float32 beside it.
jax.config.update("jax_enable_x64", True)
# Two, whatever the machine has, so that tests can share a batch among them.
jax.config.update("jax_num_cpu_devices", 2)
# Tiny tensors: a second thread only waits for the first.
torch.set_num_threads(1)

# Every annotation, shapes included, is checked at each call. Not where there are generic named
# tuples such as Batch, which beartype does not know.
for package in ("rnn_jax", "rnn_torch"):
    modules = {module.name for module in pkgutil.iter_modules([package])} - {"backend", "traps"}
    jaxtyping.install_import_hook([f"{package}.{name}" for name in modules], "beartype.beartype")


def pytest_report_header() -> str:
    return f"cases of fuzz tests: FUZZ_SEED={SEED}"


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations are not checked, as for a user: wrong input reaches the checks of the layers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def call(tmp_path: Path, monkeypatch, capfd) -> Callable[..., subprocess.CompletedProcess]:
    """`script` in tmp_path without a process of its own, which would import a framework each time.

    What is left out is shown by the tests that do use a process: the exit status and the streams.
    """

    def called(name: str, *arguments: str) -> subprocess.CompletedProcess:
        module = importlib.import_module(f"scripts.{Path(name).stem}")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # pytest's, put back later
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.run(module.main)
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return subprocess.CompletedProcess(arguments, stop.value.code, out, err)

    return called


HANDLERS = {number: signal.getsignal(number) for number in SIGNALS}


@pytest.fixture(autouse=True)
def signals_as_at_the_start() -> None:
    """A script that has run to its end in this process ignores them from then on, and what a test
    starts would inherit that."""
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def few_mappings() -> Iterator[None]:
    """Compiled programs are memory mappings, some 80 a test, of which Linux allows a process 65530;
    beyond that XLA aborts it. So they are dropped now and then."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """For tests of many small programs, of which compiling takes most of the time: XLA leaves out
    most optimizations, and computes the same but for rounding."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
