"""How the next token of a text is drawn: the options, and what they may be.

A token is drawn by the Gumbel-max trick (Gumbel 1954): it is the largest of
logits / temperature + noise. The noise is drawn in NumPy. So both frameworks draw the same token
wherever their logits differ by rounding alone.
"""

from dataclasses import dataclass

from shared.errors import InvalidInput

COLDEST, HOTTEST = 1e-6, 1e6
"""Limits of the temperature, so that logits divided by it are numbers of float32."""


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    """Logits are divided by it; 0 takes the most probable token (greedy decoding)."""
    top_k: int | None = None
    """Only the k most probable tokens."""
    top_p: float = 1.0
    """Only the fewest tokens that together have this probability (Holtzman et al. 2020)."""
    seed: int = 0

    def check(self) -> None:
        """Checks the options.

        Raises:
            InvalidInput: one line naming the option.
        """
        if self.temperature != 0 and not COLDEST <= self.temperature <= HOTTEST:
            raise InvalidInput(
                f"--temperature: expected 0 or a number from {COLDEST:g} to {HOTTEST:g}, "
                f"got {self.temperature}"
            )
        if self.top_k is not None and not 0 < self.top_k < 2**31:
            raise InvalidInput(f"--top-k: expected a positive number below 2^31, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InvalidInput(f"--top-p: expected a number in (0, 1], got {self.top_p}")
        if not 0 <= self.seed < 2**63:
            raise InvalidInput(f"--seed: expected a number from 0 to 2^63 - 1, got {self.seed}")
