"""The allocator: freed pages stay, where it is glibc's and nobody has configured it otherwise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.system import allocator

# Takes and gives back memory as a step does, in the main thread and in another, and counts the
# pages that are faulted in.
FAULTS = """
import ctypes, resource, threading
from shared.system.allocator import described, keep_pages

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def step():
    for size in 2**24, 2**26:
        place = libc.malloc(size)
        libc.memset(place, 1, size)
        libc.free(place)

def faults():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def elsewhere():
    found = []
    thread = threading.Thread(target=lambda: found.append(faults()))
    thread.start()
    thread.join()
    return found[0]

if {tuned}:
    keep_pages()
print(faults(), elsewhere(), described(), sep="\\n")
"""


def run(code: str, **environment: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def own_glibc() -> bool:
    return run("from shared.system import allocator; print(allocator._glibc() is not None)") == [
        "True"
    ]


@pytest.mark.skipif(not own_glibc(), reason="another allocator than glibc's")
def test_freed_pages_stay_in_every_thread() -> None:
    main, thread, state = run(FAULTS.format(tuned=False))
    assert state == allocator.LEFT
    kept_main, kept_thread, state = run(FAULTS.format(tuned=True))
    assert state == allocator.KEPT.format(1024)
    assert int(main) > 0
    assert int(thread) > 0
    assert int(kept_main) < int(main) / 10
    assert int(kept_thread) < int(thread) / 10


@pytest.mark.skipif(not own_glibc(), reason="another allocator than glibc's")
@pytest.mark.parametrize(
    ("name", "value"),
    [("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072"), ("MALLOC_ARENA_MAX", "2")],
)
def test_what_the_user_configured_stays(name: str, value: str) -> None:
    assert run(FAULTS.format(tuned=True), **{name: value})[-1] == allocator.CONFIGURED


def test_another_system_is_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(allocator, "_state", allocator.LEFT)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_pages() == allocator.LEFT == allocator.described()


IN_FRONT = """
#include <stddef.h>
extern void *__libc_malloc(size_t size);
void *malloc(size_t size) { return __libc_malloc(size); }
"""


@pytest.mark.skipif(not own_glibc() or not shutil.which("cc"), reason="needs glibc and a compiler")
def test_an_allocator_in_front_of_glibcs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "front.c").write_text(IN_FRONT)
    library = tmp_path / "front.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "front.c")], check=True
    )
    code = "from shared.system.allocator import keep_pages; print(keep_pages())"
    assert run(code, LD_PRELOAD=str(library)) == [allocator.LEFT]
    assert run(code) == [allocator.KEPT.format(1024)]
