"""What the documentation shows runs, and its tables are true."""

import doctest
import importlib
import inspect
import json
import re
import shlex
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_overloads

import jax
import pytest
import torch
from flax import nnx

import rnn_jax
import rnn_parity
import rnn_torch
from benchmarks.cases import CELLS, HIDDEN, PEERS, Case, Kind, seeds, table
from benchmarks.results import Allocator, Steps, ratios, read
from shared.commands import cli
from shared.config import resolve
from shared.runs.run_folder import save_config
from shared.tasks import TASKS

ROOT = Path(__file__).parents[2]
PAGES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"))
}


@pytest.fixture
def as_for_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In an empty folder, and in float32 until something switches x64 on for the process: within
    `jax.enable_x64(False)` that would change nothing."""
    monkeypatch.chdir(tmp_path)
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.usefixtures("as_for_a_reader")
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "\n>>> " in text])
def test_the_examples_of_a_page_print_what_it_shows(page: str) -> None:
    """All examples of a page run one after the other, as a reader would type them."""
    text = re.sub(r"^```.*$", "", PAGES[page], flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    assert test.examples
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF | doctest.ELLIPSIS)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
    assert runner.tries == len(test.examples)


def commands(text: str) -> list[str]:
    """The commands that a page calls, but for those that need a change which it describes."""
    text = re.sub(r"<!-- with the diff applied -->\n```.*?^```", "", text, flags=re.M | re.S)
    blocks = re.findall(r"^```(console|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [
        line.removeprefix("$ ")
        for kind, block in blocks
        for line in block.replace("\\\n", "").splitlines()
        if kind == "sh" or line.startswith("$ ")
    ]
    lines += re.findall(r"(?<!`)`(python scripts/[^`]+|rnn-parity \w+ --[^`…]+)`", text)
    return [line for line in lines if line.startswith(("python scripts/", "rnn-parity "))]


class Parsed(Exception):
    """A script has understood its command line."""


@pytest.mark.parametrize(
    "command", sorted({command for text in PAGES.values() for command in commands(text)})
)
def test_a_script_understands_the_command_that_a_page_shows(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = cli.parse

    def parse_only(*arguments: Any) -> None:
        parsed = parse(*arguments)
        if hasattr(parsed, "settings"):
            resolve(parsed.settings)
        raise Parsed

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "parse", parse_only)
    program, name, *words = shlex.split(command, comments=True)
    room = "shared.commands" if program == "rnn-parity" else "scripts"
    for option in ("--resume", "--config"):  # the run that it names
        if option in words:
            folder = Path(words[words.index(option) + 1].removesuffix("config.json"))
            folder.mkdir(parents=True)
            save_config(folder, resolve(TASKS["hello"].defaults))
    with pytest.raises(Parsed):
        importlib.import_module(f"{room}.{Path(name).stem}").main(words)


def test_the_port_has_ten_lines() -> None:
    page = (ROOT / "docs" / "layers.md").read_text()
    block = page.partition("## From PyTorch to Flax in ten lines")[2].split("```")[1]
    assert len(re.findall(r"^(>>>|\.\.\.) ", block, flags=re.MULTILINE)) == 10


def test_the_speed_that_the_readme_shows_is_that_of_the_benchmark() -> None:
    steps = Steps(read(ROOT / "benchmarks" / "results.json"))
    page = (ROOT / "README.md").read_text()
    for cell, name in {"rnn": "Elman", "lstm": "LSTM", "gru": "GRU"}.items():
        jax_row, torch_row = [], []
        for size in HIDDEN:
            case = Case(cell=cell, hidden_size=size)  # pyright: ignore[reportArgumentType]
            best = steps.ratio(steps.best(PEERS, case), "rnn_jax", case)
            native = steps.ratio("torch.nn", "rnn_jax", case)
            jax_row.append(f"{best:.2f} ({native:.1f})")
            torch_row.append(f"{steps.ratio('torch.nn', 'rnn_torch', case):.2f}")
        assert f"| JAX, {name} | {' | '.join(jax_row)} |" in page
        assert f"| PyTorch, {name} | {' | '.join(torch_row)} |" in page


def test_what_seeds_gain_together_is_that_of_the_benchmark() -> None:
    steps = Steps(read(ROOT / "benchmarks" / "seeds" / "results.json"))
    page = (ROOT / "docs" / "speed.md").read_text()
    for cell, name in {"rnn": "Elman", "lstm": "LSTM", "gru": "GRU"}.items():
        for size in (8, 64):
            gains = []
            for case in seeds([cell]):  # pyright: ignore[reportArgumentType]
                if case.seeds > 1 and case.hidden_size == size and case.batch_size > 1:
                    alone = steps.rounds("rnn_jax", replace(case, seeds=1))
                    gains.append(statistics.median(ratios(alone, steps.rounds("rnn_jax", case))))
            row = " | ".join(f"{gain:.2f}" for gain in gains)
            assert f"| {name}, H = {size} | {row} |" in page


def test_the_ranges_that_the_readme_names_are_those_of_the_benchmark() -> None:
    steps = Steps(read(ROOT / "benchmarks" / "results.json"))
    page = " ".join((ROOT / "README.md").read_text().split())

    def span(ours: str, kind: Kind, peers: Sequence[str], allocator: Allocator) -> str:
        cases = table(CELLS, HIDDEN, kind)
        best = ((steps.best(peers, case, allocator), case) for case in cases)
        found = [steps.ratio(peer, ours, case, allocator) or 0 for peer, case in best]
        return f"{min(found):.2f} to {max(found):.2f} times"

    tuned = span("rnn_jax", "train", PEERS, "tuned")
    assert f"`--backend jax` is {tuned} as fast as the best of them" in page
    native = span("rnn_torch", "train", ("torch.nn",), "tuned")
    assert f"`--backend torch` {native} as fast as `torch.nn`" in page
    layer = span("rnn_jax-layer", "train", PEERS, "default")
    assert f"on one device, are {layer} as fast as the best peer" in page
    forward = span("rnn_jax", "forward", PEERS, "default")
    assert f"forward passes alone, `--backend jax` {forward}" in page


def test_the_scores_that_the_readme_shows_are_those_of_the_suite() -> None:
    records = json.loads((ROOT / "docs" / "results.json").read_text())
    page = (ROOT / "README.md").read_text().partition("Default configurations, scored once")[2]
    table = page.partition("[docs/results.md]")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in table if line.startswith("| `")]
    assert rows
    for task, _, *cells, reference, seconds in rows:
        name = task.strip("`")
        goal = TASKS[name].goal
        assert goal is not None
        for backend, cell, took in zip(("jax", "torch"), cells, seconds.split(", "), strict=True):
            runs = [r for r in records if (r["task"], r["backend"]) == (name, backend)]
            assert len(runs) == 3
            values = [run["test"][goal.score] * (100 if "%" in cell else 1) for run in runs]
            found = re.search(r"([0-9.]+)(?: %)? ± ([0-9.]+)", cell)
            assert found, cell
            for shown, value in zip(
                found.groups(), (statistics.mean(values), statistics.stdev(values)), strict=True
            ):
                digits = len(shown.partition(".")[2])
                assert shown == f"{value:.{digits}f}", (name, backend)
            assert took == f"{statistics.mean(run['total_s'] for run in runs):.0f}", name
            if isinstance(goal.bound, str) and goal.bound != "chance":
                assert f"{runs[0]['baselines'][goal.bound][goal.score]:.3f}" in reference


def test_the_table_has_every_argument_and_every_class_takes_it() -> None:
    page = (ROOT / "docs" / "layers.md").read_text()
    page = page[page.index("| argument of") :].partition("\n\n")[0]
    header, _, *lines = page.splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    columns = re.findall(r"`(rnn_(?:jax|torch)\.\w+)`", header)
    assert len(columns) == 6
    overload = inspect.signature(get_overloads(torch.nn.LSTM.__init__)[0])
    arguments = [name for name in overload.parameters if name != "self"]
    assert [row[0].strip("`") for row in rows] == arguments
    packages = {"rnn_jax": rnn_jax, "rnn_torch": rnn_torch}
    for name, *answers in rows:
        for column, answer in zip(columns, answers, strict=True):
            package, kind = column.split(".")
            layer, name = getattr(packages[package], kind), name.strip("`")
            assert answer.startswith("yes"), (name, column)
            assert name in inspect.signature(layer.__init__).parameters, (name, column)
            if answer.strip() == "yes ¹":
                options = {"rngs": nnx.Rngs(0)} if package == "rnn_jax" else {}
                with pytest.raises(ValueError, match=name):
                    layer(3, 4, **{name: 2}, **options)


def test_the_reference_has_every_name_of_rnn_parity() -> None:
    page = (ROOT / "docs" / "reference" / "rnn_parity.md").read_text()
    names = {*rnn_parity.__all__}
    assert len(names) >= 18
    for name in names:
        assert re.search(rf"^::: [\w.]+\.{name}$|`{name}` has", page, re.MULTILINE), name


READMES = ["README.md", "README.zh-CN.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


@pytest.mark.usefixtures("unchecked", "as_for_a_reader")
@pytest.mark.parametrize("page", READMES)
def test_the_code_in_the_readme_runs(page: str) -> None:
    assert len(blocks(page, "python")) >= 2
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {})


def test_both_readmes_show_the_same_outputs_and_tables() -> None:
    english, chinese = (blocks(page, "console") for page in READMES)
    assert len(chinese) >= 5
    assert [block for block in chinese if block not in english] == []
    tables = [
        [line.partition("|")[2].partition("|")[2] for line in text.splitlines() if "|" in line]
        for text in (
            re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL) for page in READMES
        )
    ]
    numbers = [
        [re.findall(r"\d+\.\d+", line) for line in lines if re.search(r"\d\.\d", line)]
        for lines in tables
    ]
    assert len(numbers[0]) >= 14
    assert numbers[0] == numbers[1]


def test_the_cases_that_the_page_on_reliability_counts_are_tried() -> None:
    """Of the fuzz tests."""
    page = (ROOT / "docs" / "reliability.md").read_text()

    def cases(name: str) -> list[int]:
        source = (ROOT / "tests" / name).read_text()
        return [int(number) for number in re.findall(r"^@fuzz\((\d+)\)", source, re.MULTILINE)]

    checkpoint, files, npz, pt, text, table = cases("runs/test_fuzz_files.py")
    config, words, values = cases("config/test_fuzz_config.py")
    counted = {
        "damaged files are recognised": checkpoint + 4 * files + npz + pt,
        "any text or table": text + table,
        "any configuration trains": config,
        "any words on a command line": words + values,
    }
    for what, number in counted.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {what}"))
        assert row.endswith(f"| {number} |"), row
    assert sum(counted.values()) >= 500
