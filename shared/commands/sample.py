"""Has a trained network write on: the text after a prompt, or the translation of one.

For example:
    rnn-parity sample --run runs/text-jax-handcrafted-lstm-1 --prompt "The "
    rnn-parity sample --run runs/book --temperature 0.7 --top-p 0.9 --seed 3 --length 2000
    rnn-parity sample --run runs/translate-1 --prompt "forty-two" --beams 5
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from shared.commands import cli
from shared.errors import InvalidInput

if TYPE_CHECKING:
    from shared.inference.trained import Trained
    from shared.protocol.sampling import Sampling


@dataclass(frozen=True)
class Arguments:
    run: str
    """Run folder of the network."""
    prompt: str | None = None
    """Text to go on from, or to translate; by default the end of a line."""
    length: int = 500
    """Characters, or words, to write."""
    temperature: float = 0.8
    """Below 1 the probable becomes more probable; 0 always takes the most probable."""
    top_k: int | None = None
    """Draw only from the k most probable."""
    top_p: float = 1.0
    """Draw only from the fewest that together have this probability (nucleus sampling)."""
    seed: int = 0
    """The same seed writes the same text, in either framework."""
    beams: int = 5
    """Of a translation: answers that are followed at once; 1 takes the most probable character,
    one after the other (greedy decoding)."""
    backend: Literal["jax", "torch"] | None = None
    """Framework to compute in; by default the run's."""
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute."""


def main(argv: Sequence[str]) -> None:
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(run=tyro.MISSING), __doc__)
    if arguments.length < 1:
        raise InvalidInput(f"--length: expected 1 or more, got {arguments.length}")
    if not 1 <= arguments.beams <= 1000:
        raise InvalidInput(f"--beams: expected a number from 1 to 1000, got {arguments.beams}")
    from shared.protocol.sampling import Sampling

    how = Sampling(arguments.temperature, arguments.top_k, arguments.top_p, arguments.seed)
    how.check()
    from shared.inference import load_trained

    folder = Path(arguments.run)
    # In float64 both frameworks' logits agree to their last digits, and so do the texts.
    trained = load_trained(folder, arguments.backend, arguments.device, "float64")
    schema = trained.schema
    if not schema.continues:
        raise InvalidInput(
            f"--run {folder}: expected a network that writes text "
            "(tasks text, translate, pairs, hello), "
            f"got one of task {schema.task}"
        )
    translates = schema.between is not None
    for name in ("--temperature", "--top-k", "--top-p", "--seed", "--length"):
        if translates and cli.option(argv, name) is not None:
            raise InvalidInput(f"{name}: a translation is searched (--beams), expected no {name}")
    if not translates and cli.option(argv, "--beams") is not None:
        raise InvalidInput(f"--beams: a {schema.task} is drawn, expected no --beams")
    if translates:
        from shared.inference.texts import answer

        if arguments.prompt is None:
            raise InvalidInput("--prompt: expected a text to translate, got none")
        print(answer(trained, arguments.prompt, arguments.beams, "--prompt"))
        return
    for piece in _pieces(trained, arguments.prompt, how, arguments.length):
        print(piece, end="", flush=True)
    print()


def _pieces(trained: "Trained", prompt: str | None, how: "Sampling", length: int) -> Iterator[str]:
    """Yields the prompt, and the text that follows it as it is written."""
    from shared.inference.generate import stream
    from shared.inference.texts import encode
    from shared.tasks.text import END_OF_LINE, Writer

    schema = trained.schema
    if prompt is None:
        end = END_OF_LINE if schema.unit == "word" else "\n"
        if end not in schema.vocabulary:
            raise InvalidInput("--prompt: expected a text to go on from, got none")
        start = encode(schema, "\n", "--prompt")
    else:
        start = encode(schema, prompt, "--prompt")
        yield prompt
    writer = Writer(schema.unit, open=prompt is not None and not prompt[-1].isspace())
    for tokens in stream(trained.backend, trained.state, start, schema.output_size, how, length):
        yield writer.text([schema.vocabulary[int(token)] for token in tokens])
