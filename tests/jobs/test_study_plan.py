"""A study trains what its options say, refuses what cannot be, and knows its own folder."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.commands import cli
from shared.commands.study import _parsed, _searched, main
from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.jobs.search_space import read_space
from shared.jobs.study import (
    Candidate,
    Search,
    begun,
    check_task,
    choose,
    jobs,
    run_words,
    with_results,
)
from shared.runs.study import FILE, Look, Study, read_study, save_study
from shared.tasks import TASKS

BASE = replace(TASKS["volume"].defaults, backend="torch")
VARY = [("learning-rate", "0.001", "0.01"), ("cell", "rnn", "gru")]


def searched(given: Sequence[Sequence[str]] = VARY, **others: Any) -> Search:
    usual: dict[str, Any] = {
        "random": None, "seed": 0, "seeds": [0, 1], "by": "loss", "skip_refused": False,
    }  # fmt: skip
    return Search(read_space(given, BASE), **(usual | others))


def chosen(search: Search) -> list[Candidate]:
    return choose(search, {(None, None): BASE})


def test_every_combination_is_trained_from_every_seed() -> None:
    search = searched()
    plan = jobs(chosen(search), search.seeds, Path("out"))
    assert [job.folder for job in plan] == [
        Path(f"out/trials/00{number}-{seed}") for number in (1, 2, 3, 4) for seed in (0, 1)
    ]
    found = [
        (job.config.optimization.learning_rate, job.config.network.cell, job.config.seed)
        for job in plan
    ]
    assert found == [*itertools.product((1e-3, 1e-2), ("rnn", "gru"), (0, 1))]
    assert all(job.config == resolve(job.config) for job in plan)


MOMENTUM = [("momentum", "0.5"), ("learning-rate", "0.1", "0.2")]
REFUSED = {
    "nonsense": (
        searched(MOMENTUM), r"^momentum 0\.5, learning-rate 0\.1: --momentum makes no sense with "
        r"--optimizer adam, .*; --skip-refused leaves such combinations out$",
    ),
    "nothing left": (searched(MOMENTUM, skip_refused=True), r"no combination .*momentum 0\.5"),
    "a bad value": (searched([("epochs", "1", "0")]), r"^epochs 0: --epochs: expected a positive"),
    "none drawn": (searched(random=0), r"--random: expected 1 or more combinations, got 0"),
    "too many drawn": (searched(random=5), r"--random 5: expected at most 4, .*all are tried"),
    "left too few": (
        searched([("num-layers", "1", "2"), ("dropout", "0", "0.5")], random=4, skip_refused=True),
        r"--random 4: expected at most 3, ",
    ),
    "a typing mistake": (searched(seeds=[*range(2501)]), r"at most 10000 runs, got 10004"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_search_that_cannot_be_is_refused(name: str) -> None:
    search, message = REFUSED[name]
    with pytest.raises(InvalidInput, match=message):
        chosen(search)


def test_combinations_that_make_no_sense_can_be_left_out() -> None:
    search = searched([("num-layers", "1", "2"), ("dropout", "0", "0.5")], skip_refused=True)
    found = [tuple(one.values.values()) for one in chosen(search)]
    assert found == [(1, 0.0), (2, 0.0), (2, 0.5)]


def test_more_draws_keep_the_first_ones() -> None:
    given = [("learning-rate", "log:1e-4..1"), ("num-layers", "1", "2"), ("dropout", "0", "0.5")]
    some, more = (
        [one.values for one in chosen(searched(given, random=count, skip_refused=True))]
        for count in (6, 12)
    )
    assert more[:6] == some


@pytest.mark.parametrize(
    ("task", "by", "message"),
    [
        ("hello", "loss", r"^--task hello: expected a task with a validation part"),
        ("volume", "accuracy", r"^--by: expected loss or mae, got accuracy$"),
    ],
)  # fmt: skip
def test_a_task_without_that_validation_is_refused(task: str, by: str, message: str) -> None:
    config = replace(TASKS[task].defaults, backend="torch")
    with pytest.raises(InvalidInput, match=message):
        check_task(searched(by=by), config)


def study_in(folder: Path, search: Search, base: Config = BASE) -> Study:
    return begun(search, base, chosen(search), folder)


RATES = ("learning-rate", "0.001", "0.1")
OTHERS = {
    "other values": (searched([RATES, VARY[1]]), BASE, "--vary learning-rate"),
    "another option": (searched(VARY[:1]), BASE, "--vary cell"),
    "another order": (searched(VARY[::-1]), BASE, "the order of --vary"),
    "other settings": (
        searched(), replace(BASE, epochs=99, batch_size=3), "--batch-size, --epochs",
    ),
    "other seeds": (searched(seeds=[0]), BASE, "--seeds"),
    "another score": (searched(by="mae"), BASE, "--by"),
    "another generator": (searched(seed=1), BASE, "--search-seed"),
    "another way": (searched(random=4), BASE, "--random"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_study_in_the_folder_is_refused_by_name(name: str, tmp_path: Path) -> None:
    save_study(tmp_path, study_in(tmp_path, searched()))
    search, base, differing = OTHERS[name]
    with pytest.raises(InvalidInput, match=rf"got another: {differing}; name another folder$"):
        study_in(tmp_path, search, base)


def test_the_same_study_goes_on_and_a_random_one_may_grow(tmp_path: Path) -> None:
    given = [("learning-rate", "log:1e-4..1"), VARY[1]]
    first = study_in(tmp_path, searched(given, random=3))
    look = Look(2, 3, {"loss": [0.5, 0.25]})
    save_study(tmp_path, replace(first, looks=[look]))
    assert read_study(tmp_path) == replace(first, looks=[look])
    grown = study_in(tmp_path, searched(given, random=5))
    assert grown.looks == [look]
    assert grown.combinations[:3] == first.combinations
    assert len(grown.combinations) == 5
    with pytest.raises(InvalidInput, match=r"expected --random of at least 3, .*got 2$"):
        study_in(tmp_path, searched(given, random=2))


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    save_study(tmp_path, study_in(tmp_path, searched()))
    file = tmp_path / FILE
    file.write_text(file.read_text().replace('"number": 2', '"number": 3'))
    with pytest.raises(InvalidInput, match=r"study\.json: expected contents that match its sha256"):
        study_in(tmp_path, searched())


def test_runs_that_are_not_there_wait(tmp_path: Path) -> None:
    study = with_results(study_in(tmp_path, searched()), [], tmp_path)
    assert {trial.state for one in study.combinations for trial in one.trials} == {"waiting"}


LINES = [
    "--task volume --backend torch --vary learning-rate 0.01 0.02 --vary betas 0.9,0.99 0.8,0.9",
    "--task volume --backend torch --momentum 0.5 --optimizer sgd --vary nesterov true false",
    "--task volume --vary backend jax torch --vary optimizer adam sgd --vary schedule cosine",
    "--task adding --backend jax --vary clip-norm none 1 --vary bidirectional true",
    "--task volume --backend jax --seeds 3..4 --vary learning-rate 0.001 --epochs 5",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_run_trains_a_combination_with_the_options_that_the_study_names(line: str) -> None:
    search, candidates = _searched(line.split(), _parsed(line.split()))
    plan = jobs(candidates, search.seeds, Path("out"))
    study = begun(search, candidates[0].config, candidates, Path("nowhere"))
    for number, candidate in enumerate(candidates):
        words = run_words(study, candidate.config)
        at = words.index("--seeds" if len(search.seeds) > 1 else "--seed")
        assert [*map(int, words[at + 1 :])] == search.seeds
        seeds = search.seeds
        own = plan[number * len(seeds) : (number + 1) * len(seeds)]
        for seed, job in zip(seeds, own, strict=True):
            assert _as_run_reads([*words[:at], "--seed", str(seed)]) == job.config
        assert all(f"--{name}" in words or f"--no-{name}" in words for name in candidate.values)


def _as_run_reads(words: Sequence[str]) -> Config:
    from shared.commands.run import Arguments

    base = cli.base_config(words)
    return resolve(cli.parse(Arguments, words, Arguments(base), "").settings)


LINES_REFUSED = {
    "--task volume --vary epochs 1 2": r"--backend",
    "--task volume --backend torch": r"expected --vary NAME VALUE",
    "--task volume --backend torch --epochs 3 --vary epochs 1 2": r"expected no --epochs beside it",
    "--task text --backend torch --vary data.unit char word": r"--vary data\.unit: losses on other "
    r"data may not be comparable; if they are, --by loss says so",
    "--task volume --backend torch --seed 1 --seeds 0 --vary epochs 1": r"expected one of the two",
    "--task volume --backend torch --vary optimizer adam best": r"best",
    "--task volume --backend torch --vary epochs 1 2 --jobs 0": r"--jobs: expected 1 to",
    "--task volume --backend torch --vary epochs 1 2 --jobs 1 --cluster ray": r"expected one$",
}


@pytest.mark.parametrize("line", LINES_REFUSED)
def test_a_command_line_is_refused_before_anything_is_written(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=LINES_REFUSED[line]):
        main(line.split())
    assert [*tmp_path.iterdir()] == []


def test_a_folder_with_other_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    line = "--task volume --backend torch --vary epochs 1 2 --out letters"
    with pytest.raises(InvalidInput, match=r"--out letters: expected a new or empty folder"):
        main(line.split())
