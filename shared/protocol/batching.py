"""The order of examples → stacked batches of fixed shape, the same bytes for every framework.

    batches = Batches(task.train, batch_size=64, window=None, shuffle=True, seed=0, dtype="float32")
    batch = batches.take(start=0, count=10)         # steps 0 … 9, leading axis 10

`take` is a pure function of the step numbers: a resumed run needs no other position than its step.
The data set stays one array (it may be a memory-mapped file); a call copies only the rows it needs.
"""

import functools
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from shared.protocol.buckets import EVALUATION_BUCKETS, TRAINING_BUCKETS, Buckets, bucketed
from shared.protocol.dataset import Split
from shared.protocol.row_parts import part_of_rows
from shared.protocol.windows import Windows
from shared.system.randomness import generator

Array = TypeVar("Array")

CHUNK_BYTES = 32 * 2**20
CHUNK_STEPS = 128
EVALUATION_ROWS = 512
EVALUATION_CALL = 2048
"""Rows in a call that evaluates, and in one of batches by length."""
EVALUATION_ROWS_BY_LENGTH = 128
"""Rows of a batch that evaluates where batches are made by length: the fewer, the less padding."""
RUNS = 32
"""Least number of runs of an epoch where batches are made by length, so that long and short
sequences alternate. A part of fewer batches has runs of one."""
EVALUATION_WINDOW = 256
"""Steps of a stream that are scored at once. The number does not matter, as the state is
carried."""


class Batch(NamedTuple, Generic[Array]):
    """S batches, stacked: everything that one call of a backend needs.

    inputs:  (S, B, T, I) in the run's precision, or (S, B, T) int32 token numbers.
    targets: int32 classes, (S, B), or (S, B, T) for outputs at every step; values for mean squared
             error have one more axis at the end.
    weights: shaped like the classes; 0 for a target that only fills the shape, and for a real one
             the weight of its split, 1 by default. A mean over a batch is
             sum(weights · losses) / sum(weights), so a ragged batch counts by its real size.
    reset:   (S,) True where a new sequence begins and the carried state starts from zero.
    masks:   (S, L-1, B, T, D·H) dropout between layers, values 0 or 1/(1-p); None without dropout.
    lengths: (S, B) int32, the steps of each sequence; None if all have T.
    """

    inputs: Array
    targets: Array
    weights: Array
    reset: Array
    masks: Array | None
    lengths: Array | None = None


class Dropout(NamedTuple):
    probability: float
    layers: int
    width: int


@dataclass(frozen=True)
class Batches:
    """The batches of one part of a data set.

    An epoch visits every sequence once. With `window`, a batch of sequences is read in windows of
    that many steps before the next batch of sequences begins.

    With several parts, a batch is shared among as many processes, and these are the batches of one
    of them: B = `batch_size` rows in all, in each part ceil(B / parts). Rows past the last one
    repeat it with weights of 0.

    With `by_length`, which needs lengths and no window, a batch has sequences of similar lengths
    and no more time steps than the longest of its bucket. A call takes steps of one run, as many as
    `alike` says.
    """

    split: Split
    batch_size: int
    window: int | None
    shuffle: bool
    seed: int
    dtype: str
    per_step: bool
    dropout: Dropout | None = None
    by_length: bool = False
    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if self.by_length and (self.split.lengths is None or self.window is not None):
            raise ValueError("expected sequences with lengths, and no window, got others by length")

    @property
    def rows(self) -> int:
        return len(self.split.inputs)

    @property
    def places(self) -> np.ndarray:
        """Numbers within the whole batch of the rows of this part, also of those past its end."""
        return part_of_rows(self.batch_size, self.part, self.parts)

    @property
    def length(self) -> int:
        return self.split.inputs.shape[1]

    @property
    def steps(self) -> int:
        """Number of time steps T of a batch; of the longest one where they are made by length."""
        if self.buckets is not None:
            return int(self.buckets.steps[0])
        return self.length if self.window is None else min(self.window, self.length)

    @property
    def windows(self) -> int:
        return 1 if self.window is None else -(-self.length // self.steps)

    @property
    def per_epoch(self) -> int:
        return -(-self.rows // self.batch_size) * self.windows

    @property
    def mean_steps(self) -> float:
        """Number of time steps of a batch, in the mean of an epoch."""
        return self.steps if self.buckets is None else float(self.buckets.steps.mean())

    @functools.cached_property
    def buckets(self) -> Buckets | None:
        """The batches by length; None where they are not made so."""
        lengths = self.split.lengths
        if not self.by_length or lengths is None:
            return None
        fitting = self._fitting(int(lengths.max()))
        run = max(1, min(fitting, EVALUATION_CALL // self.batch_size, self.per_epoch // RUNS))
        most = TRAINING_BUCKETS if self.shuffle else EVALUATION_BUCKETS
        return bucketed(lengths, self.batch_size, run, most)

    @property
    def evaluation_chunk(self) -> int:
        """Number of batches to stack in a call that evaluates.

        All calls have as many, so that only one program is compiled. They are so few that it costs
        little to fill up the last call. Where batches are made by length, a call takes no more
        than `alike` says.
        """
        most = max(1, min(self.chunk, EVALUATION_CALL // self.batch_size))
        calls = -(-self.per_epoch // most)
        return -(-self.per_epoch // calls)

    @property
    def chunk(self) -> int:
        """Number of batches to stack in a call: few enough for memory and for progress to show."""
        return self._fitting(self.steps)

    def _fitting(self, steps: int) -> int:
        """Returns the number of batches of T time steps to stack in a call."""
        features = int(np.prod(self.split.inputs.shape[2:], dtype=np.int64))
        if self.dropout is not None:
            features += self.dropout.layers * self.dropout.width
        bytes_per_batch = self.batch_size * steps * features * np.dtype(self.dtype).itemsize
        return max(1, min(CHUNK_STEPS, CHUNK_BYTES // bytes_per_batch))

    def alike(self, start: int, most: int) -> int:
        """Returns how many batches from a number on a call may take, so that all have the same
        number of time steps: at most `most`, and none after the end of a run."""
        if self.buckets is None:
            return most
        return min(most, self.buckets.left(int(self._batches(start, 1)[0])))

    def take(self, start: int, count: int) -> Batch[np.ndarray]:
        """Returns the batches with numbers start … start + count - 1, counted over all epochs from
        0.

        Raises:
            ValueError: they have different numbers of time steps.
        """
        inputs, targets, lengths = self.split.inputs, self.split.targets, self.split.lengths
        rows, begins, real = self._positions(start, count)
        features = np.issubdtype(inputs.dtype, np.floating)
        classes = np.issubdtype(targets.dtype, np.integer)
        target_type = np.int32 if classes else self.dtype
        length = self._steps(start, count)
        steps = np.arange(length)
        weights = self.places < real[:, None]
        if self.per_step:
            ends = self.length if lengths is None else lengths[rows][..., None]
            weights = weights[..., None] & (begins[:, None, None] + steps < ends)
        if self.split.weights is not None:
            own = self.split.weights
            weights = weights * (
                self._gather(own, rows, begins, length, own.dtype) if self.per_step else own[rows]
            )
        return Batch(
            self._gather(inputs, rows, begins, length, self.dtype if features else np.int32),
            self._gather(targets, rows, begins, length, target_type)
            if self.per_step
            else targets[rows].astype(target_type, copy=False),
            weights.astype(self.dtype),
            begins == 0,
            self._masks(start, count, length),
            None if lengths is None else lengths[rows].astype(np.int32, copy=False),
        )

    def _gather(
        self,
        part: np.ndarray | Windows,
        rows: np.ndarray,
        begins: np.ndarray,
        steps: int,
        dtype: DTypeLike,
    ) -> np.ndarray:
        """Returns (S, B, T, …) of (N, length, …): each step's rows from its first time step on.

        Time steps after the end of the sequence are zeros.
        """
        if self.windows == 1:
            taken = part[rows] if steps == self.length else part[rows, :steps]
            return taken.astype(dtype, copy=False)
        taken = np.zeros((*rows.shape, steps, *part.shape[2:]), dtype)
        for i, begin in enumerate(begins):
            window = part[rows[i], begin : begin + steps]
            taken[i, :, : window.shape[1]] = window
        return taken

    def _positions(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the places of each step's batch in the data.

        Returns:
            The rows of the batch (S, B), the first time step of its window (S,), and how many rows
            are real (S,).
        """
        epochs = np.arange(start, start + count) // self.per_epoch
        batch, window = np.divmod(self._batches(start, count), self.windows)
        first = batch * self.batch_size
        # A ragged batch repeats its last row: real numbers, kept out of the mean by weights of 0.
        places = np.minimum(self.places, self.batch_size - 1)
        rows = np.minimum(first[:, None] + places, self.rows - 1)
        if self.shuffle and self.rows > 1:
            sizes = (self.rows,) if self.buckets is None else self.buckets.sizes
            for epoch in np.unique(epochs):
                now = epochs == epoch
                rows[now] = _order(self.seed, int(epoch), sizes)[rows[now]]
        if self.buckets is not None:
            rows = self.buckets.rows[rows]
        return rows, window * self.steps, np.minimum(self.rows - first, self.batch_size)

    def _batches(self, start: int, count: int) -> np.ndarray:
        """Returns the number within its epoch of each step's batch, (S,)."""
        epochs, within = np.divmod(np.arange(start, start + count), self.per_epoch)
        if self.shuffle and self.buckets is not None:
            for epoch in np.unique(epochs):
                now = epochs == epoch
                within[now] = self.buckets.order(int(epoch))[within[now]]
        return within

    def _steps(self, start: int, count: int) -> int:
        """Returns the number of time steps T that some batches have."""
        if self.buckets is None:
            return self.steps
        found = np.unique(self.buckets.steps[self._batches(start, count)])
        if len(found) > 1:
            raise ValueError(
                f"steps {start} to {start + count - 1}: expected batches of one number of time "
                f"steps, as many as `alike` says, got {found.tolist()}"
            )
        return int(found[0])

    def _masks(self, start: int, count: int, steps: int) -> np.ndarray | None:
        if self.dropout is None:
            return None
        probability, layers, width = self.dropout
        shape = (layers, self.batch_size, steps, width)
        places = np.minimum(self.places, self.batch_size - 1)
        masks = np.empty((count, layers, len(places), steps, width), self.dtype)
        for i in range(count):
            # Of the whole batch, so that its rows have theirs however it is shared.
            drawn = generator(self.seed, "dropout", start + i).random(shape, np.float32)
            masks[i] = (drawn[:, places] >= probability) / (1 - probability)
        return masks


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, sizes: tuple[int, ...]) -> np.ndarray:
    """Returns all places in an order drawn from the seed, each within its bucket."""
    drawn = generator(seed, "order", epoch)
    found = np.arange(sum(sizes))
    begin = 0
    for size in sizes:
        drawn.shuffle(found[begin : begin + size])
        begin += size
    return found
