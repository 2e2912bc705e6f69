"""Published data sets, in `shared/tasks/data/`; SOURCES.md there says where they come from."""

import hashlib
import io
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput

FOLDER = Path(__file__).parent / "data"
SHA256 = {
    "digits": "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e",
    "sunspots": "9b189071b70fd62487b83a0e3728ada03cd3ba669f3ebc358e9768914d43fd38",
    "volume": "bcda37341e7f3c7cc133733db5a25482188793e70fbe28ceb3953a39fe40f995",
    "vowels": "44b5e6188d92f04c304be260b4c1eeb572aa2065fdaaf40f91a88aec415bfaad",
    "weather": "e33bf54e4291827b04e007c908a1b88fd56e173d49f88c58a7df959e282e8b9a",
}
SOURCES = {
    "digits": "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998)",
    "sunspots": "monthly sunspots 1749–1983 (Andrews and Herzberg 1985)",
    "volume": "New York Stock Exchange 1962–1986 (LeBaron and Weigend 1998)",
    "vowels": "Japanese Vowels (Kudo, Toyama and Shimbo 1999)",
    "weather": "Seattle 2012–2015 (NOAA)",
}


def load(name: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a data set by name.

    Raises:
        InvalidInput: the file is missing, or holds other bytes than those published.
    """
    file = FOLDER / f"{name}.npz"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file}: expected a data set, got: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise InvalidInput(f"{file}: expected SHA-256 {SHA256[name]}, got {found}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
