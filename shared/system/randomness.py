"""One seed, many independent streams, each with a name."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Returns the generator of one purpose: `generator(seed, "order", epoch)`.

    Streams of different purposes or indices are independent (numpy.random.SeedSequence), so that
    drawing more of one never moves another.
    """
    entropy = [seed, zlib.crc32(purpose.encode()), *index]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
