"""One-line mistakes in tasks on a user's own data: parts, scales, windows, weights, scores, answers,
the linear highway."""

# ruff: noqa: E501  (a line is shown as it stands in its file)

ROWS: list[tuple[str, str, str, str]] = [
    (
        "shared/protocol/batching.py",
        "if self.split.weights is not None:",
        "if self.split.weights is None:",
        "tests/protocol/test_batches_by_length.py::test_weights_of_the_data_are_cut_with_their_steps",
    ),
    (
        "shared/protocol/buckets.py",
        'generator(0, "runs", epoch).permutation(-(-batches // run))',
        "np.arange(-(-batches // run))",
        "tests/protocol/test_batches_by_length.py::test_long_and_short_batches_alternate_in_an_epoch",
    ),
    (
        "shared/protocol/windows.py",
        "found = found - self.rows[starts - 1]",
        "found = found - self.rows[starts]",
        "tests/protocol/test_windows.py::test_windows_are_flat_and_relative_to_the_row_before",
    ),
    (
        "shared/tasks/forecast.py",
        "training, targets = part == 0,",
        "training, targets = part < 2,",
        "tests/tasks/test_forecast.py::test_only_the_training_part_decides_how_the_rows_are_scaled",
    ),
    (
        "shared/tasks/forecast_rows.py",
        "rows[:-steps] = rows[steps:]",
        "rows[: 1 - steps or None] = rows[steps - 1 :]",
        "tests/tasks/test_forecast.py::test_a_window_holds_its_rows_and_what_is_known_of_the_times_to_predict",
    ),
    (
        "shared/tasks/forecast_rows.py",
        "np.expm1(np.minimum(found[..., i]",
        "np.exp(np.minimum(found[..., i]",
        "tests/tasks/test_forecast.py::test_targets_are_the_data_in_their_units_again",
    ),
    (
        "shared/tasks/forecast_rows.py",
        "fits &= _none_of(unknown, horizon)[-count:]",
        "pass",
        "tests/tasks/test_forecast.py::test_a_missing_value_is_read_as_the_one_before_and_never_predicted",
    ),
    (
        "shared/tasks/forecast_scores.py",
        "(errors[scaled] / naive[held][scaled]).mean()",
        "errors[scaled].mean() / naive[held][scaled].mean()",
        "tests/runs/test_forecast_scores.py::test_mase_is_the_mean_over_groups_each_by_its_own_naive_error",
    ),
    (
        "shared/tasks/forecast_scales.py",
        "& counts[lag:] & counts[:-lag]",
        "& counts[:-lag]",
        "tests/tasks/test_forecast.py::test_the_naive_error_is_that_of_the_season_before_in_training",
    ),
    (
        "shared/tasks/parts.py",
        "part[group] = (lacking @ counts[group]).argmax()",
        "part[group] = lacking.sum(1).argmax()",
        "tests/tasks/test_parts.py::test_groups_of_one_label_each_share_out_the_labels",
    ),
    (
        "shared/tasks/parts.py",
        "part != part[first][inverse]",
        "part < 0",
        "tests/tasks/test_parts.py::test_a_group_in_two_parts_is_refused_with_both_places",
    ),
    (
        "shared/tasks/class_scores.py",
        '"balanced_accuracy": float(recall.mean())',
        '"balanced_accuracy": float(hits.sum() / counts.sum())',
        "tests/runs/test_class_scores.py::test_always_the_frequent_class_is_half_right_in_balance",
    ),
    (
        "shared/tasks/sequences.py",
        "return balanced[target.values]",
        "return np.ones(len(target.values))",
        "tests/tasks/test_sequences.py::test_balanced_weights_count_each_class_alike_with_mean_one",
    ),
    (
        "shared/tasks/labels.py",
        "(classes * counts))[targets]",
        "(classes * counts))[0 * targets]",
        "tests/tasks/test_labels.py::test_balanced_classes_weigh_the_same_in_training_alone",
    ),
    (
        "shared/tasks/regression.py",
        "penalty[0] = 0.0",
        "pass",
        "tests/tasks/test_start.py::test_the_ridge_is_that_of_its_formula",
    ),
    (
        "shared/inference/answers.py",
        "carry = tuple(part[:, kept] for part in carry)",
        "carry = tuple(part[:, : len(kept)] for part in carry)",
        "tests/inference/test_answers.py::test_how_many_are_answered_at_once_changes_no_answer",
    ),
    (
        "rnn_jax/network.py",
        "inputs[:, -self.network.highway :]",
        "inputs[:, : self.network.highway]",
        "tests/layers/test_highway.py::test_it_adds_a_linear_function_of_the_last_steps",
    ),
    (
        "rnn_torch/network.py",
        "highway :].flatten(1)",
        "highway :].flip(1).flatten(1)",
        "tests/layers/test_highway.py::test_it_adds_a_linear_function_of_the_last_steps",
    ),
]
