"""Training in Python does what the command line does, and leaves only what it is told to."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput, TrainingDiverged
from shared.inference import load_trained
from shared.notebook import Fit, Problem, fit, fit_seeds, load, task
from shared.runs import read_run
from shared.runs.seeds import read_runs
from shared.system.signals import Interrupted
from shared.tasks import TASKS
from shared.training import loop, train
from tests.notebook.conftest import table

QUICK = {"backend": "torch", "epochs": 4, "eval_every": 2, "quiet": True}


def left_in(folder: Path) -> list[str]:
    """What is in a folder of temporary files, but for what torch makes there by itself."""
    return [file.name for file in folder.iterdir() if not file.name.startswith("torchinductor")]


def test_nothing_is_written_without_a_folder(temporary: Path) -> None:
    found = fit(task("hello"), **QUICK)
    found.plot()
    found.plot_predictions()
    assert left_in(temporary) == []
    assert found.folder is None


def test_a_fit_is_what_the_same_configuration_trains(tmp_path: Path) -> None:
    defaults = TASKS["hello"].defaults
    network = replace(defaults.network, hidden_size=5, cell="gru")
    config = replace(defaults, backend="torch", network=network, epochs=4, eval_every=2, seed=3)
    summary = train(config, tmp_path / "run", quiet=True)
    found = fit(task("hello"), hidden_size=5, cell="gru", seed=3, **QUICK)
    run = read_run(tmp_path / "run")
    assert found.scores == {name: v for name, v in summary.test.items() if name != "step"}
    np.testing.assert_array_equal(found.curves["train"].loss, run.curves["train"].loss)
    assert found.config == run.config
    trained = load_trained(tmp_path / "run")
    one, other = (each.backend.export(each.state).weights for each in (found.trained, trained))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_both_backends_train_the_same() -> None:
    found = fit(task("hello"), "both", epochs=3, eval_every=3, precision="float64", quiet=True)
    assert [*found] == ["jax", "torch"]
    assert [one.summary.backend for one in found.values()] == ["jax", "torch"]
    losses = [one.curves["train"].loss for one in found.values()]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_the_order_of_backends_is_that_of_the_argument(tmp_path: Path) -> None:
    options = {"epochs": 1, "eval_every": 1, "quiet": True}
    found = fit(task("hello"), ("torch", "jax"), folder=tmp_path, **options)
    assert [*found] == ["torch", "jax"]
    assert [one.folder for one in found.values()] == [tmp_path / "torch", tmp_path / "jax"]
    assert [read_run(tmp_path / name).summary.backend for name in found] == ["torch", "jax"]


def test_a_folder_holds_an_ordinary_run(series: Problem, tmp_path: Path) -> None:
    found = fit(series, "torch", folder=tmp_path / "run", hidden_size=4, epochs=1, quiet=True)
    assert found.folder == tmp_path / "run"
    assert found.files == {}
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert names >= {"config.json", "summary.json", "curves.png", "predictions.png", "card.md"}
    with pytest.raises(InvalidInput, match="holds another run"):
        fit(series, "torch", folder=tmp_path / "run", epochs=1, quiet=True)
    fit(series, "torch", folder=tmp_path / "run", overwrite=True, epochs=1, seed=1, quiet=True)
    assert read_run(tmp_path / "run").config.seed == 1


def test_a_resumed_fit_is_one_that_was_not_stopped(series: Problem, tmp_path: Path) -> None:
    """With settings of its own, which resuming need not name again."""
    options = {"hidden_size": 4, "schedule": "constant", "seed": 2, "quiet": True}
    whole = fit(series, "torch", epochs=4, **options)
    fit(series, "torch", folder=tmp_path / "run", epochs=2, **options)
    found = fit(series, folder=tmp_path / "run", resume=True, epochs=4, quiet=True)
    assert found.config == whole.config
    assert len(found.summary.segments) == 2
    np.testing.assert_array_equal(found.curves["train"].loss, whole.curves["train"].loss)
    assert found.scores == whole.scores


def test_a_run_on_data_in_memory_tells_how_it_is_resumed(series: Problem, tmp_path: Path) -> None:
    place = tmp_path / "run"
    found = fit(
        series, "torch", folder=place, epochs=1, hidden_size=4, schedule="constant", quiet=True
    )
    with pytest.raises(InvalidInput, match=r"given in Python; resume it there: .*fit\(task, fol"):
        train(replace(found.config, epochs=2), place, resume=True, quiet=True)
    assert read_run(place).config.epochs == 1


def test_other_data_does_not_go_on_with_a_run(series: Problem, tmp_path: Path) -> None:
    from shared.notebook import forecast

    options = {"hidden_size": 4, "schedule": "constant", "quiet": True}
    place = tmp_path / "run"
    fit(series, "torch", folder=place, epochs=1, **options)
    changed = table()
    changed["sales"] = changed["sales"] + 1
    data = {"time": "day", "group": "shop", "window": 6, "horizon": 2}
    other = forecast(changed, "sales", **data)
    with pytest.raises(InvalidInput, match="expected the data that the run began with"):
        fit(other, folder=place, resume=True, epochs=2, quiet=True)
    other = forecast(table(), "sales", **data | {"window": 7})
    with pytest.raises(InvalidInput, match=r"may differ .* got another .*--data.window"):
        fit(other, folder=place, resume=True, epochs=2, quiet=True)
    with pytest.raises(InvalidInput, match="expected a run of task hello, got forecast"):
        fit(task("hello"), folder=place, resume=True, epochs=2, quiet=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tf"}, "^backend: expected jax, torch or both, got 'tf'$"),
        (
            {"backend": ("jax", "tf")},
            r"^backend: expected jax, torch or both, got \('jax', 'tf'\)$",
        ),
        ({"backend": ()}, "^backend: expected jax, torch or both"),
        ({"resume": True}, "^resume: expected the folder of a run, got none$"),
        ({"resume": True, "folder": "nowhere"}, "^--resume nowhere: expected a run folder"),
        ({"hidden_size": 0}, "^--hidden-size: expected a positive number"),
    ],
)
@pytest.mark.usefixtures("unchecked", "temporary")
def test_what_fit_cannot_do_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        fit(task("hello"), **arguments)


@pytest.mark.usefixtures("unchecked")
def test_a_name_is_no_task() -> None:
    with pytest.raises(InvalidInput, match=r"such as task\('hello'\), got str$"):
        fit("hello")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_a_seed_draws_its_data_anew() -> None:
    """Of a task that generates data: as on the command line."""
    small = task("adding", train_examples=8, valid_examples=8, test_examples=8, sequence_length=4)
    options = {"backend": "torch", "hidden_size": 3, "epochs": 1, "quiet": True}
    assert fit(small, **options).summary.data == small.data.fingerprint
    assert fit(small, seed=1, **options).summary.data != small.data.fingerprint


def test_seeds_are_trained_as_one_by_one(series: Problem, tmp_path: Path) -> None:
    options = {"hidden_size": 4, "epochs": 1, "quiet": True}
    found = fit_seeds(series, range(2), "torch", folder=tmp_path / "runs", **options)
    assert [one.config.seed for one in found] == [0, 1]
    assert found[1].scores == fit(series, "torch", seed=1, **options).scores
    assert len(read_runs(tmp_path / "runs")) == 2
    assert (tmp_path / "runs" / "curves.png").is_file()
    assert (tmp_path / "runs" / "seed-1" / "curves.png").is_file()
    with pytest.raises(
        InvalidInput, match=r"expected a single run, got those of several seeds: .*0"
    ):
        load(tmp_path / "runs")
    with pytest.raises(
        InvalidInput, match=r"^fit_seeds: expected seeds, got the option seed, too$"
    ):
        fit_seeds(series, range(2), "torch", seed=1)


def test_seeds_leave_nothing_without_a_folder(series: Problem, temporary: Path) -> None:
    found = fit_seeds(series, [5], "torch", hidden_size=4, epochs=1, quiet=True)
    assert left_in(temporary) == []
    assert found[0].predict(table())["shop"].tolist() == ["north"] * 2 + ["south"] * 2


def test_a_loss_that_is_not_finite_sends_nobody_to_a_folder_that_is_gone(temporary: Path) -> None:
    with pytest.raises(TrainingDiverged) as error:
        fit(
            task("adding", train_examples=8, valid_examples=4, test_examples=4, sequence_length=4),
            "torch",
            optimizer="sgd",
            learning_rate=1e29,
            nonlinearity="relu",
            cell="rnn",
            clip_norm=None,
            epochs=9,
            quiet=True,
        )
    assert re.search(r"is (nan|inf).* at step \d+ \(", str(error.value))
    assert "rnn-parity-" not in str(error.value)
    assert "--resume" not in str(error.value)
    assert left_in(temporary) == []


def test_an_interrupted_fit_says_that_nothing_is_kept(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(loop, "_take_calls", stopped)
    with pytest.raises(
        Interrupted, match=r"^interrupted; nothing is kept, as no folder was named$"
    ):
        fit(task("hello"), **QUICK)
    assert left_in(temporary) == []


def test_a_fit_is_saved_and_loaded_again(series: Problem, tmp_path: Path) -> None:
    found = fit(series, "torch", hidden_size=4, epochs=1, schedule="constant", quiet=True)
    place = tmp_path / "deep" / "run"
    assert found.save(place).folder == place
    names = {file.name for file in place.iterdir()}
    assert names == {*found.files, "curves.png", "predictions.png", "card.md"}
    again = load(place)
    assert (again.scores, again.baselines) == (found.scores, found.baselines)
    assert again.predict(table())["predicted sales"].tolist() == (
        found.predict(table())["predicted sales"].tolist()
    )
    assert fit(series, folder=place, resume=True, epochs=2, quiet=True).config.epochs == 2
    with pytest.raises(InvalidInput, match="holds another run"):
        found.save(place)
    assert found.save(place, overwrite=True).config.epochs == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(InvalidInput, match="expected a new or empty folder"):
        found.save(tmp_path / "other")


def test_a_run_is_loaded_into_the_other_framework(tmp_path: Path) -> None:
    fit(task("hello"), folder=tmp_path / "run", **QUICK)
    found = load(tmp_path / "run", backend="jax", precision="float64")
    assert found.trained.config.backend == "jax"
    assert found.summary.backend == "torch"
    with pytest.raises(InvalidInput, match="expected a run folder"):
        load(tmp_path / "nothing")


def test_a_fit_is_shown_beside_the_baselines(series: Problem) -> None:
    found: Fit = fit(series, "torch", hidden_size=4, epochs=1, quiet=True)
    text, html = repr(found), found._repr_html_()
    assert text.startswith("Fit(forecast; GRU, torch handcrafted: ")
    assert {*found.baselines} >= {"last value"}
    for name in found.baselines:
        assert f"; {name}: " in text
        assert f"<tr><th>{name}</th>" in html
    assert f"{found.scores['rmse']:.3f}" in html
    assert html.count("<tr>") == 2 + len(found.baselines)


def test_names_in_a_table_are_no_markup(series: Problem) -> None:
    found = fit(series, "torch", hidden_size=4, epochs=1, quiet=True)
    summary = replace(found.summary, unit="<b>&", test={"rmse": 1.0})
    assert "RMSE, &lt;b&gt;&amp;" in replace(found, summary=summary)._repr_html_()
