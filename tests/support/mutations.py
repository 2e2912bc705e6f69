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

from tests.support.own_data_mutations import ROWS as OWN_DATA
from tests.support.pair_mutations import ROWS

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
        "shared/system/files.py", "temporary.unlink(missing_ok=True)", "pass",
        "tests/system/test_files.py::test_a_write_that_fails_leaves_the_old_file_and_nothing_else",
    ),
    Mutation(
        "shared/system/json_files.py", "if not edited and said != found:",
        "if not edited and said and said != found:",
        "tests/runs/test_history.py::test_a_configuration_without_its_checksum_is_refused",
    ),
    Mutation(
        "shared/system/lock.py", "if _is_at(handle, path):  # and not", "if True:  # and not",
        "tests/system/test_lock.py::test_a_process_whose_lock_was_removed_writes_nothing_more",
    ),
    Mutation(
        "shared/system/signals.py", "if self.received is not None:", "if self.received == 0:",
        "tests/system/test_signals.py::test_the_first_signal_is_noted_and_the_second_stops",
    ),
    # config
    Mutation(
        "shared/config/validation.py", 'if bias and network.cell == "rnn":',
        'if bias and network.cell == "gru":',
        "tests/scripts/test_bad_input.py::test_bad_input_is_refused_in_one_line_and_nothing_is_written",
    ),
    Mutation(
        "shared/config/validation.py", "if network.bidirectional and config.bptt is not None:",
        "if network.bidirectional and config.bptt == 0:",
        "tests/scripts/test_bad_input.py::test_bad_input_is_refused_in_one_line_and_nothing_is_written",
    ),
    Mutation(
        "shared/config/interval.py", '"m": 60.0', '"m": 61.0', "tests/training/test_calls.py::test_every_is_steps_or_a_time",
    ),
    # protocol
    Mutation("shared/protocol/weights.py", "width *= 2", "width *= 1", "tests/protocol/test_weights.py::test_initial_values_have_the_distributions_of_torch"),
    Mutation("shared/protocol/batching.py", "begins == 0,", "begins >= 0,", "tests/protocol/test_batching.py::test_windows_follow_each_other_and_the_last_is_padded"),
    Mutation(
        "shared/protocol/batching.py", '"dropout", start + i)', '"dropout", i)', "tests/protocol/test_batching.py::test_a_step_does_not_depend_on_the_call_it_is_taken_in"
    ),
    Mutation(
        "shared/protocol/schedule.py", "steps_per_epoch + 1 - optimization.decay_after",
        "steps_per_epoch - optimization.decay_after",
        "tests/protocol/test_protocol.py::test_decay_begins_after_so_many_epochs_and_goes_on_with_each",
    ),
    # tasks
    Mutation(
        "shared/tasks/baselines.py", "minlength=classes) + 1", "minlength=classes) + 0",
        "tests/tasks/test_tasks.py::test_the_class_baseline_is_scored_on_the_held_out_part",
    ),
    Mutation(
        "shared/tasks/memory.py", "data.max_length + 1, data.longer_length",
        "data.max_length, data.longer_length",
        "tests/tasks/test_memory_tasks.py::test_parity_is_that_of_the_bits_so_far_and_the_padding_is_zero",
    ),
    # runs
    Mutation(
        "shared/runs/checkpoint.py", "last = found[-self.keep :]", "last = found[-self.keep - 1 :]",
        "tests/runs/test_checkpoint.py::test_the_last_and_the_best_stay",
    ),
    Mutation(
        "shared/system/tensor_files.py",
        "found.update(json.dumps([name, array.dtype.str, array.shape]).encode())", "pass",
        "tests/runs/test_fuzz_files.py::test_a_damaged_checkpoint_is_recognised",
    ),
    Mutation(
        "shared/runs/history.py", 'if record["split"] != "test":', "if True:", "tests/training/test_resume.py::test_a_run_with_nothing_left_to_do_is_refused"
    ),
    Mutation(
        "shared/runs/segments.py", "== ends[:-1] and ends[-1] == steps", "== ends[:-1]",
        "tests/runs/test_segments.py::test_segments_cover_a_run_without_gap_or_overlap",
    ),
    # parity
    Mutation(
        "shared/parity/deviation.py", "return bits if bits < sign else sign - bits",
        "return bits if bits < sign else bits - sign",
        "tests/parity/test_deviation.py::test_ulps_are_the_numbers_from_one_to_the_other",
    ),
    Mutation(
        "shared/parity/comparison.py", "if self.difference is None and (error[i] > self.tolerance).any():",
        "if self.difference is None and (error[i] > 10 * self.tolerance).any():",
        "tests/parity/test_comparison.py::test_an_element_of_any_tensor_that_differs_is_named",
    ),
    Mutation(
        "shared/parity/diagnosis.py", "if found[0] > largest:", "if found[0] < largest:",
        "tests/parity/test_diagnosis.py::test_what_began_in_an_earlier_step_is_looked_for_there",
    ),
    Mutation(
        "shared/parity/envelope.py", "np.maximum.accumulate(spread)", "spread", "tests/parity/test_envelope.py::test_the_edge_is_the_largest_spread_so_far_of_either_side"
    ),
    Mutation("shared/parity/traps.py", "if comparison.equal:", "if False:", "tests/scripts/test_parity_of_traps.py::test_a_trap_that_changes_nothing_is_no_proof"),
    Mutation(
        "shared/parity/misreadings.py", "for by in (1, -1)", "for by in (-1, 1)",
        "tests/parity/test_misreadings.py::test_forget_bias_in_all_layers_and_in_one",
    ),
    # inference
    Mutation(
        "shared/inference/beam.py", "if len(done) == beams and scores[0] <= done[-1].score:",
        "if len(done) == beams:",
        "tests/inference/test_beam.py::test_it_does_not_stop_before_nothing_can_become_more_probable",
    ),
    Mutation(
        "shared/inference/tables.py", "if len(set(named)) < len(named):", "if False:", "tests/inference/test_table_sequences.py::test_a_csv_without_sequences_is_refused"
    ),
    # report
    Mutation(
        "shared/report/verdict.py", "if largest <= PROVED:", "if largest <= 10 * PROVED:",
        "tests/report/test_verdicts.py::test_a_difference_in_float64_is_called_a_defect",
    ),
    Mutation(
        "shared/report/bands.py", "values.min(axis=0), values.max(axis=0)",
        "values.max(axis=0), values.max(axis=0)",
        "tests/report/test_bands.py::test_a_band_is_the_mean_in_the_range_of_all_seeds",
    ),
    # training
    Mutation(
        "shared/training/calls.py", "yield Call(max(first, position), last - max(first, position))",
        "yield Call(first, last - first)",
        "tests/training/test_calls.py::test_a_position_inside_of_a_call_is_gone_on_from",
    ),
    Mutation(
        "shared/training/record.py", 'if best is None or valid.loss < best["loss"]:',
        'if best is None or valid.loss > best["loss"]:',
        "tests/training/test_resume.py::test_a_run_stopped_after_its_last_step_is_scored",
    ),
    Mutation("shared/training/record.py", "self.running = Running()", "pass", "tests/training/test_cross_resume.py::test_the_state_between_two_windows_goes_on_in_the_other_framework"),
    Mutation(
        "shared/training/prepare.py", "(reached == total and before.finished)",
        "(reached == total and not before.finished)",
        "tests/training/test_resume.py::test_a_run_stopped_after_its_last_step_is_scored",
    ),
    # commands
    Mutation(
        "shared/commands/cli.py", 'if option(argv, "--seed") is not None:', "if False:",
        "tests/training/test_seeds_command_line.py::test_what_seeds_do_not_go_with",
    ),
    # mappings of weights
    Mutation(
        "shared/protocol/places.py", "values = tensor.T if part.turned else tensor",
        "values = tensor",
        "tests/protocol/test_places.py::test_a_tensor_goes_to_its_place_and_back",
    ),
    Mutation(
        "shared/protocol/bound_mapping.py", "if self.places[name] != self.places[other]:", "if False:",
        "tests/protocol/test_mapping.py::test_tied_tensors_do_not_go_to_two_places",
    ),
    Mutation(
        "shared/protocol/bound_mapping.py", "if part is None and block.any()", "if part and block.any()",
        "tests/protocol/test_mapping.py::test_blocks_may_have_other_heights_and_one_may_be_without_a_twin",
    ),
    Mutation(
        "shared/parity/settle.py", "            if off <= tolerance:", "            if off <= np.inf:",
        "tests/parity/test_propose.py::test_swapped_branches_are_found_by_what_they_compute",
    ),
    Mutation(
        "shared/parity/idle.py", "elif single and (own", "elif (own",
        "tests/parity/test_propose_refusals.py::test_a_matrix_without_effect_is_asked_for_by_name",
    ),
    Mutation(
        "shared/protocol/folding.py", "(g.astype(np.float64) / norm)", "(g.astype(np.float64))",
        "tests/protocol/test_folding.py::test_a_wrapped_tensor_is_what_the_next_forward_pass_uses",
    ),
    Mutation(
        "shared/protocol/keras_cells.py", '"gru": [1, 0, 2]', '"gru": [0, 1, 2]',
        "tests/protocol/test_keras_files.py::test_a_layer_of_keras_becomes_one_of_torch",
    ),
    Mutation(
        "rnn_torch/wrappers.py", "hook(module, ())", "pass",
        "tests/layers/test_plain.py::test_the_twin_computes_what_the_next_forward_pass_does",
    ),
    Mutation(
        "rnn_torch/plain.py", "_check_sources(twin, found)", "pass",
        "tests/layers/test_plain_refusals.py::test_what_cannot_be_known_is_refused_by_name",
    ),
    Mutation(
        "rnn_jax/exchange.py", "tie(made, found.shared)", "pass",
        "tests/layers/test_ties.py::test_ties_go_to_jax_and_back_bit_for_bit",
    ),
    # rnn_jax
    Mutation(
        "rnn_jax/bptt_cells.py", "local_n * h_n * (r - r * r)", "local_n * h_n * (r + r * r)",
        "tests/layers/test_jax_bptt.py::test_by_hand_is_autodiff",
    ),
    Mutation("rnn_jax/stack.py", "x = x * masks[layer - 1]", "x = x * masks[0]",
             "tests/layers/test_layers.py::test_the_masks_are_each_layers_own"),
    Mutation(
        "rnn_jax/sharding.py", "if batch_size % n == 0", "if batch_size % n >= 0",
        "tests/layers/test_sharding.py::test_each_device_has_enough_to_do_and_an_equal_share",
    ),
    Mutation(
        "rnn_jax/scans.py", "jnp.sqrt(jnp.square(gradient).sum(axis=0).sum())",
        "jnp.square(gradient).sum(axis=0).sum()",
        "tests/training/test_anomaly.py::test_norms_are_those_of_the_gradients",
    ),
    Mutation(
        "rnn_jax/flax_cells.py", "if bias_hh.any() and not one_bias:", "if False:",
        "tests/layers/test_flax_exchange.py::test_two_biases_go_to_flax_as_their_sum_if_asked_for",
    ),
    # rnn_torch
    Mutation(
        "rnn_torch/bptt_cells.py", "f_r.addcmul_(f_r, r, value=-1)",
        "f_r.addcmul_(f_r, r, value=1)",
        "tests/layers/test_torch_bptt.py::test_it_is_the_plain_recurrence",
    ),
    Mutation(
        "rnn_torch/private.py", "or forward_ad._current_level >= 0", "or False",
        "tests/layers/test_torch_bptt_paths.py::test_the_path_taken",
    ),
    Mutation(
        "rnn_torch/step.py", "if self.own_masks:  # masks", "if not self.own_masks:  # masks",
        "tests/training/test_bitwise.py::test_ragged_batches_with_dropout",
    ),
    *(Mutation(*row) for row in (*ROWS, *OWN_DATA)),
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
