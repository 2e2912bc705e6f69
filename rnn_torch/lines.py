"""Lines of the user's own functions that never ran.

    lines = Lines([Model.forward, loss])
    with lines.watched():
        loss(model(x), y).backward()
    lines.never_run()                       # [Unrun(file="model.py", first=31, …)]

A line is one for which Python has code. Left out are `raise` and `assert`, whole branches that end
in a `raise`, and the header of an `except`. Watched are the functions that are given, and all of
their files that run in the meantime. A function of these that did not run at all is not told of:
the line that calls it did not run.

It takes the thread's trace function (https://docs.python.org/3/library/sys.html#sys.settrace).
Where one is set, such as a debugger's, nothing is watched and `skipped` is true.
"""

import ast
import inspect
import linecache
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from rnn_torch.precision import LIBRARIES

TEXT = 60
"""Longest text of a line that is shown."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Unrun:
    """Lines of one function, one after the other, that never ran."""

    file: str
    """Its name without folders."""
    first: int
    last: int
    count: int
    """How many lines with code these are."""
    of: int
    """How many lines with code the function has."""
    text: str
    """What stands in the first."""


class Lines:
    """Watches functions, and functions of their files.

    Args:
        functions: functions, methods, partial ones, wrapped ones, or objects that can be called.
            Those that are not written in Python are passed over.
    """

    def __init__(self, functions: Iterable[Any]):
        self.skipped = False
        """Whether another trace function was set at some time, so that nobody looked."""
        self._seen: dict[str, set[int]] = {}
        self._entered: dict[tuple[str, int, str], CodeType] = {}
        self.follow(functions)

    def follow(self, functions: Iterable[Any]) -> None:
        """Watches the files of these functions, too."""
        for function in functions:
            code = code_of(function)
            if code is not None and not of_library(code.co_filename):
                self._seen.setdefault(code.co_filename, set())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notes which lines run in its context, in this thread."""
        if not self._seen:
            yield
            return
        if sys.gettrace() is not None:
            self.skipped = True
            yield
            return
        trace = self._trace
        sys.settrace(trace)
        try:
            yield
        finally:
            # Another one, such as that of a debugger which began meanwhile, stays.
            if sys.gettrace() == trace:
                sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        seen = self._seen.get(code.co_filename)
        if seen is None:
            return None
        self._entered.setdefault((code.co_filename, code.co_firstlineno, code.co_name), code)

        def line(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
            if event == "line":
                seen.add(frame.f_lineno)
            return line

        return line

    def never_run(self) -> list[Unrun]:
        """Returns the lines that never ran of each function that did, in the order of files and
        lines; none if nobody looked. Functions without a source are passed over."""
        if self.skipped:
            return []
        found = []
        for file, seen in sorted(self._seen.items()):
            known = _functions(file)
            ran = [
                (known[first, name], code)
                for (path, first, name), code in self._entered.items()
                if path == file and (first, name) in known
            ]
            whole = [_span(function, function) for function, _ in ran]
            for function, code in ran:
                if any(_span(function, function) < span for span in whole):
                    continue  # is a part of another
                wanted = sorted(_lines(code) & _told(function))
                found += [_unrun(file, run, len(wanted)) for run in _runs(wanted, seen)]
        return sorted(found, key=lambda one: (one.file, one.first))


def code_of(function: Any) -> CodeType | None:
    """Returns the code of what is called in the end; None if it is not written in Python."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None and callable(function) and not isinstance(function, type):
        code = getattr(inspect.unwrap(type(function).__call__), "__code__", None)
    return code if isinstance(code, CodeType) else None


def of_library(file: str) -> bool:
    """Tells whether a file is of torch or of this package, and so not the user's."""
    return file.startswith(tuple(folder + os.sep for folder in LIBRARIES))


def _functions(file: str) -> dict[tuple[int, str], ast.AST]:
    """Returns the functions of a file by first line and name; none if there is no source."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[tuple[int, str], ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(one.lineno for one in decorators)])
            found[first, getattr(node, "name", "<lambda>")] = node
    return found


def _lines(code: CodeType) -> set[int]:
    """Returns the lines with code, those of comprehensions and functions within included."""
    found = {line for _, _, line in code.co_lines() if line is not None}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _lines(constant)
    return found


def _told(function: Any) -> set[int]:
    """Returns the lines of the body that are told of if they never ran."""
    body = function.body if isinstance(function.body, list) else [function.body]
    found = set(range(body[0].lineno, body[-1].end_lineno + 1))
    for node in ast.walk(function):
        if isinstance(node, (ast.Raise, ast.Assert)):
            found -= _span(node, node)
        if isinstance(node, ast.ExceptHandler):
            found -= _span(node, node) - _span(node.body[0], node.body[-1])
        for block in ("body", "orelse", "finalbody"):
            # The body of a lambda is an expression.
            statements = getattr(node, block, None) if node is not function else None
            if isinstance(statements, list) and isinstance((statements or [None])[-1], ast.Raise):
                found -= _span(statements[0], statements[-1])
    return found


def _span(first: Any, last: Any) -> set[int]:
    return set(range(first.lineno, last.end_lineno + 1))


def _unrun(file: str, run: list[int], of: int) -> Unrun:
    text = linecache.getline(file, run[0]).strip()
    text = text if len(text) <= TEXT else text[: TEXT - 1] + "…"
    return Unrun(Path(file).name, run[0], run[-1], len(run), of, text)


def _runs(lines: list[int], seen: set[int]) -> Iterator[list[int]]:
    """Yields the lines that were not seen, in groups without a seen one between."""
    run: list[int] = []
    for line in lines:
        if line not in seen:
            run.append(line)
        elif run:
            yield run
            run = []
    if run:
        yield run
