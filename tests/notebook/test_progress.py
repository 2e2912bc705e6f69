"""Progress in a notebook is one line, whatever comes while steps are taken."""

import sys
from types import SimpleNamespace

import pytest

from shared.training.progress import Progress, in_notebook


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_a_terminal_of_ipython_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    for shell in (None, SimpleNamespace()):
        module = SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", module)
        assert not in_notebook()


@pytest.mark.usefixtures("kernel")
def test_a_notebook_shows_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_notebook()
    with Progress(0, 30, "accuracy", quiet=False, prefix="seed 1: ") as progress:
        for epoch in range(3):
            progress.advance(10, 0.5 / (epoch + 1), 0.25)
            progress.line(f"epoch {epoch + 1}/3  valid loss 0.25")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    last = out.rstrip("\n").rpartition("\r")[2]
    assert "30/30" in last
    assert "seed 1: epoch 3/3  valid loss 0.25" in last


@pytest.mark.usefixtures("kernel")
def test_a_line_before_the_first_step_stays(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, 30, "accuracy", quiet=False) as progress:
        progress.line("resuming runs/a after step 10")
        progress.advance(20, 0.5, 0.25)
    assert "resuming runs/a after step 10\n" in capsys.readouterr().out


@pytest.mark.usefixtures("kernel")
def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0, 3, "accuracy", quiet=True) as progress:
        progress.line("before")
        progress.advance(3, 0.5, 0.25)
        progress.line("after")
    assert capsys.readouterr() == ("", "")
