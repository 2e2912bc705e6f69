"""One-line mistakes in every room, and the test that notices each: whether the suite still bites.

    python -m tests.support.mutations              # all, in a copy of the working tree
    python -m tests.support.mutations deviation    # those in whose file's name this stands

Each mutation is planted alone, in a copy, and the test that is named for it must fail. The tests
are those of `make test`: none is marked slow. `test_mutations.py` holds the table to the source.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

# ruff: noqa: E501  (a line is shown as it stands in its file)

ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    file: str
    was: str
    """A part of one line that stands in the file once."""
    becomes: str
    noticed_by: str
    """A test of `make test`."""


MUTATIONS = [
    # system
    Mutation(
        "shared/files.py", "temporary.unlink(missing_ok=True)", "pass",
        "tests/training/test_full_disk.py",
    ),
    Mutation(
        "shared/files.py", "if not edited and said != found:",
        "if not edited and said and said != found:",
        "tests/runs/test_history.py",
    ),
    Mutation(
        "shared/lock.py", "if _is_at(handle, path):  # and not", "if True:  # and not",
        "tests/system/test_lock.py",
    ),
    Mutation(
        "shared/interruption.py", "if self.received is not None:", "if self.received == 0:",
        "tests/system/test_signals.py",
    ),
    # config
    Mutation(
        "shared/validation.py", 'if bias and network.cell == "rnn":',
        'if bias and network.cell == "gru":',
        "tests/scripts/test_bad_input.py",
    ),
    Mutation(
        "shared/validation.py", "if network.bidirectional and config.bptt is not None:",
        "if network.bidirectional and config.bptt == 0:",
        "tests/scripts/test_bad_input.py",
    ),
    Mutation(
        "shared/due.py", '"m": 60.0', '"m": 61.0', "tests/training/test_calls.py",
    ),
    # protocol
    Mutation("shared/weights.py", "width *= 2", "width *= 1", "tests/protocol/test_weights.py"),
    Mutation("shared/batching.py", "begins == 0,", "begins >= 0,", "tests/protocol/test_batching.py"),
    Mutation(
        "shared/batching.py", '"dropout", start + i)', '"dropout", i)', "tests/protocol/test_batching.py"
    ),
    Mutation(
        "shared/schedule.py", "steps_per_epoch + 1 - optimization.decay_after",
        "steps_per_epoch - optimization.decay_after",
        "tests/protocol/test_protocol.py",
    ),
    # tasks
    Mutation(
        "shared/tasks/baselines.py", "minlength=classes) + 1", "minlength=classes) + 0",
        "tests/tasks/test_tasks.py",
    ),
    Mutation("shared/tasks/series.py", "first = parts[0]", "first = np.concatenate(parts)",
             "tests/tasks/test_series_tasks.py"),
    Mutation(
        "shared/tasks/memory.py", "data.max_length + 1, data.longer_length",
        "data.max_length, data.longer_length",
        "tests/tasks/test_memory_tasks.py",
    ),
    # runs
    Mutation(
        "shared/checkpoint.py", "last = found[-self.keep :]", "last = found[-self.keep - 1 :]",
        "tests/runs/test_checkpoint.py",
    ),
    Mutation(
        "shared/checkpoint.py",
        "found.update(json.dumps([name, array.dtype.str, array.shape]).encode())", "pass",
        "tests/runs/test_fuzz_files.py",
    ),
    Mutation(
        "shared/history.py", 'if record["split"] != "test":', "if True:", "tests/training/test_resume.py"
    ),
    Mutation(
        "shared/segments.py", "== ends[:-1] and ends[-1] == steps", "== ends[:-1]",
        "tests/runs/test_segments.py",
    ),
    # parity
    Mutation(
        "shared/deviation.py", "return bits if bits < sign else sign - bits",
        "return bits if bits < sign else bits - sign",
        "tests/parity/test_deviation.py",
    ),
    Mutation(
        "shared/parity.py", "if self.difference is None and (error[i] > self.tolerance).any():",
        "if self.difference is None and (error[i] > 10 * self.tolerance).any():",
        "tests/parity/test_comparison.py",
    ),
    Mutation(
        "shared/lockstep.py", "if found[0] > largest:", "if found[0] < largest:",
        "tests/parity/test_traps.py",
    ),
    Mutation(
        "shared/envelope.py", "np.maximum.accumulate(spread)", "spread", "tests/parity/test_envelope.py"
    ),
    Mutation("shared/traps.py", "if comparison.equal:", "if False:", "tests/scripts/test_parity_script.py"),
    Mutation(
        "shared/pair.py", "[gate * rows : (gate + 1) * rows] -= 1",
        "[gate * rows : (gate + 1) * rows] += 1",
        "tests/parity/test_pair_causes.py",
    ),
    # inference
    Mutation(
        "shared/beam.py", "if len(done) == beams and scores[0] <= done[-1].score:",
        "if len(done) == beams:",
        "tests/inference/test_beam.py",
    ),
    Mutation(
        "shared/tables.py", "if len(set(named)) < len(named):", "if False:", "tests/inference/test_tables.py"
    ),
    # report
    Mutation(
        "shared/verdict.py", "if largest <= PROVED:", "if largest <= 10 * PROVED:",
        "tests/report/test_comparison_page.py",
    ),
    Mutation(
        "shared/bands.py", "values.min(axis=0), values.max(axis=0)",
        "values.max(axis=0), values.max(axis=0)",
        "tests/report/test_bands.py",
    ),
    # training
    Mutation(
        "shared/calls.py", "yield Call(max(first, position), last - max(first, position))",
        "yield Call(first, last - first)",
        "tests/training/test_calls.py",
    ),
    Mutation(
        "shared/loop.py", 'if best is None or valid.loss < best["loss"]:',
        'if best is None or valid.loss > best["loss"]:',
        "tests/training/test_resume.py",
    ),
    Mutation("shared/loop.py", "self.running = Running()", "pass", "tests/training/test_cross_resume.py"),
    Mutation(
        "shared/training.py", "(reached == total and scored)", "(reached == total and not scored)",
        "tests/training/test_resume.py",
    ),
    # commands
    Mutation(
        "shared/cli.py", 'if option(argv, "--seed") is not None:', "if False:",
        "tests/training/test_seeds.py",
    ),
    # rnn_jax
    Mutation(
        "rnn_jax/bptt.py", "local_n * h_n * (r - r * r)", "local_n * h_n * (r + r * r)",
        "tests/layers/test_jax_bptt.py",
    ),
    Mutation("rnn_jax/stack.py", "x = x * masks[layer - 1]", "x = x * masks[0]",
             "tests/layers/test_layers.py"),
    Mutation(
        "rnn_jax/sharding.py", "if batch_size % n == 0", "if batch_size % n >= 0",
        "tests/layers/test_sharding.py",
    ),
    Mutation(
        "rnn_jax/backend.py", "jnp.sqrt(jnp.square(gradient).sum(axis=0).sum())",
        "jnp.square(gradient).sum(axis=0).sum()",
        "tests/training/test_anomaly.py",
    ),
    Mutation(
        "rnn_jax/exchange.py", "if bias_hh.any() and not one_bias:", "if False:",
        "tests/layers/test_flax_exchange.py",
    ),
    # rnn_torch
    Mutation(
        "rnn_torch/chunks.py", "f_r.addcmul_(f_r, r, value=-1)", "f_r.addcmul_(f_r, r, value=1)",
        "tests/layers/test_torch_bptt.py",
    ),
    Mutation(
        "rnn_torch/bptt.py", "and forward_ad._current_level < 0", "and True",
        "tests/layers/test_torch_bptt.py",
    ),
    Mutation(
        "rnn_torch/backend.py", "if self._draws:  # masks", "if not self._draws:  # masks",
        "tests/training/test_bitwise.py",
    ),
]  # fmt: skip


def copied(folder: Path) -> None:
    """Copies what git knows of the working tree, without its history."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def notices(mutation: Mutation, folder: Path) -> subprocess.CompletedProcess:
    """Runs the test of a mutation in a copy where it is planted."""
    file = folder / mutation.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(mutation.was, mutation.becomes), encoding="utf-8")
    try:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
             mutation.noticed_by],
            cwd=folder, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    finally:
        file.write_text(text, encoding="utf-8")


def main(names: list[str]) -> int:
    chosen = [one for one in MUTATIONS if not names or any(name in one.file for name in names)]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        for mutation in chosen:
            ran = notices(mutation, Path(folder))
            failed = [line for line in ran.stdout.splitlines() if re.match("FAILED|ERROR", line)]
            noticed = ran.returncode == 1 and bool(failed)
            missed += [] if noticed else [mutation]
            said = failed[0] if noticed else f"NOT NOTICED (pytest: {ran.returncode})"
            print(f"{mutation.file}: {mutation.becomes}\n    {said}", flush=True)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations noticed")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
