"""Both frameworks in one process: torch first, because importing jax before it has crashed."""

from tests.support import annotations, compiling

compiling.configure()

import torch  # noqa: E402, I001
import gc  # noqa: E402
import importlib  # noqa: E402
import itertools  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import matplotlib.figure  # noqa: E402
import pytest  # noqa: E402

annotations.install()

from shared.inference import evaluation  # noqa: E402
from shared.protocol import backend  # noqa: E402
from shared.system import process  # noqa: E402
from shared.system.signals import SIGNALS  # noqa: E402
from tests.support import numpy_backend  # noqa: E402
from tests.support.fuzz import SEED  # noqa: E402

# Tests started in the background ignore Ctrl-C, and so would the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Without it JAX silently computes float64 in float32; float32 runs must stay float32 beside it.
jax.config.update("jax_enable_x64", True)
# Two, whatever the machine has, so that tests can share a batch among them.
jax.config.update("jax_num_cpu_devices", 2)
# Tiny tensors: a second thread only waits for the first.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        compiling.make_room()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The tests of the documents import more than all others; those who leave them out need not."""
    left_out = "not docs" in config.option.markexpr
    return True if left_out and collection_path == Path(__file__).parent / "docs" else None


def pytest_collection_finish() -> None:
    """What is there by now stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    return f"cases of fuzz tests: FUZZ_SEED={SEED}"


@pytest.fixture
def unchecked() -> None:
    """Annotations are not checked, as for a user: wrong input reaches the checks of the layers."""
    annotations.checked(False)


@pytest.fixture(autouse=True)
def short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run of a text writes on at its end has 512 tokens, which would take most of the time
    of a test that trains three steps."""
    monkeypatch.setattr(evaluation, "LENGTH", 16)


@pytest.fixture
def in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever backend a configuration names, `tests.support.numpy_backend` takes its steps."""
    monkeypatch.setattr(backend, "part_of", lambda *_: numpy_backend)


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f"
    "0005fe02fe0def46b80000000049454e44ae426082"
)
"""A picture in PNG."""


@pytest.fixture(autouse=True)
def nothing_is_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are laid out and drawn only in tests that are marked for it: one takes a third of a
    second. The others get a file of one pixel. Processes of their own draw."""
    if request.node.get_closest_marker("draws") is None:
        figure = matplotlib.figure.Figure
        monkeypatch.setattr(figure, "tight_layout", lambda self, **_: None)
        monkeypatch.setattr(figure, "savefig", lambda self, file, **_: file.write(PIXEL))


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
            process.run(module.main)
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


_tests = itertools.count(1)


@pytest.fixture(autouse=True)
def few_mappings() -> Iterator[None]:
    """Compiled programs are memory mappings, some 80 a test, of which Linux allows a process 65530;
    beyond that XLA aborts it. So they are dropped now and then; to count them takes milliseconds.
    """
    yield
    maps = Path("/proc/self/maps")
    if next(_tests) % 50 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """For tests of many small programs, of which compiling takes most of the time: XLA leaves out
    most optimizations, and computes the same but for rounding."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
