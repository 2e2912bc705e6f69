"""Values with large arrays in one file, which several processes map into their memory.

    packed = pack(task, scores)                      # in the process that made them
    start = packed.write(file)
    task, scores = mapped(path, start, 2)            # in all processes of the host

The memory then holds the arrays once, however many processes read them, and they are read-only.
Small arrays are copied with the rest. The file may be removed as soon as it is mapped. Arrays that
share memory, such as windows of a text, share it in the file. An array that is itself mapped from a
file is not copied: it is mapped again from there.
"""

import io
import mmap
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.lib.array_utils import byte_bounds

SMALL = 2**12
"""Bytes up to which an array is copied: a page of memory."""
ALIGNED = 64
"""Bytes to which arrays are aligned in the file, as NumPy aligns its own at most."""


class Stretch(NamedTuple):
    """Bytes of an array that owns its memory, from the first to the last that others refer to."""

    owner: np.ndarray
    low: int
    high: int

    @property
    def bytes(self) -> memoryview:
        return self.owner.ravel(order="K").view(np.uint8).data[self.low : self.high]


class Packed(NamedTuple):
    stretches: list[Stretch]
    pickled: bytes

    @property
    def size(self) -> int:
        """Bytes of the file, at most."""
        spare = ALIGNED * 2 * (len(self.stretches) + 1)
        return sum(high - low for _, low, high in self.stretches) + len(self.pickled) + spare

    def write(self, file: BinaryIO) -> int:
        """Writes the file, and returns the place in it that `mapped` needs."""
        begins: list[int] = []
        for stretch in self.stretches:
            # The stretch keeps its place between two multiples, and so its arrays theirs.
            file.seek(-(-file.tell() // ALIGNED) * ALIGNED + stretch.low % ALIGNED)
            begins.append(file.tell() - stretch.low)
            file.write(stretch.bytes)
        start = file.tell()
        pickle.dump(begins, file)
        file.write(self.pickled)
        return start


def pack(*values: Any) -> Packed:
    """Prepares values for the file; what two of them share stays shared.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: a value cannot be pickled.
    """
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    for value in values:
        pickler.dump(value)
    return Packed(pickler.stretches, pickled.getvalue())


def mapped(path: Path, start: int, count: int) -> list[Any]:
    """Returns the first values of a file that a process of the same program wrote.

    Raises:
        OSError: the file, or one that an array was mapped from, cannot be read.
    """
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    pickled = io.BytesIO(memory[start:])
    unpickler = _Unpickler(pickled, memory, pickle.load(pickled))
    return [unpickler.load() for _ in range(count)]


class _Again(NamedTuple):
    """An array that is mapped from a file already."""

    number: int
    file: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class _Part(NamedTuple):
    """An array that is a part of a stretch."""

    number: int
    stretch: int
    offset: int
    """Bytes from the beginning of the owner to the first element."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Pickler(pickle.Pickler):
    """Leaves large arrays out, and notes which bytes of which arrays they are."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, protocol=5)
        self.stretches: list[Stretch] = []
        self._places: dict[int, int] = {}  # of the stretches, by the identity of their owners
        self._numbers: dict[int, int] = {}
        self._arrays: list[np.ndarray] = []  # kept: the identity of one let go may come again

    def persistent_id(self, obj: Any) -> _Again | _Part | None:
        if type(obj) is not np.ndarray and type(obj) is not np.memmap:
            return None
        array = cast(np.ndarray, obj)
        if array.nbytes <= SMALL:
            return None
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        # Objects, and texts of any length, are not in the bytes of their array.
        if owner.dtype.hasobject or not owner.flags.forc:
            return None
        self._arrays.append(array)
        number = self._numbers.setdefault(id(array), len(self._numbers))
        if isinstance(owner, np.memmap) and owner.filename and array.flags.c_contiguous:
            offset = owner.offset + array.ctypes.data - owner.ctypes.data
            return _Again(number, Path(owner.filename), offset, array.dtype, array.shape)
        return self._part(number, array, owner)

    def _part(self, number: int, array: np.ndarray, owner: np.ndarray) -> _Part:
        begin = owner.ctypes.data
        low, high = (int(bound) - begin for bound in byte_bounds(array))
        place = self._places.setdefault(id(owner), len(self.stretches))
        if place == len(self.stretches):
            self.stretches.append(Stretch(owner, low, high))
        known = self.stretches[place]
        self.stretches[place] = Stretch(owner, min(low, known.low), max(high, known.high))
        offset = array.ctypes.data - begin
        return _Part(number, place, offset, array.dtype, array.shape, array.strides)


class _Unpickler(pickle.Unpickler):
    """Makes the arrays that were left out, of the memory that a file is mapped to."""

    def __init__(self, file: BinaryIO, memory: mmap.mmap, begins: list[int]):
        super().__init__(file)
        self._memory, self._begins = memory, begins
        self._made: dict[int, np.ndarray] = {}

    def persistent_load(self, pid: _Again | _Part) -> np.ndarray:
        if pid.number not in self._made:
            self._made[pid.number] = self._array(pid)
        return self._made[pid.number]

    def _array(self, pid: _Again | _Part) -> np.ndarray:
        if isinstance(pid, _Again):
            return np.memmap(pid.file, pid.dtype, "r", pid.offset, pid.shape)
        begin = self._begins[pid.stretch] + pid.offset
        return np.ndarray(pid.shape, pid.dtype, self._memory, begin, pid.strides)
