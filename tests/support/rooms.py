"""Which room of the house a module belongs to, and which other rooms its source names."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "rnn_jax", "rnn_torch", "rnn_parity")
ROOMS = (
    "errors", "system", "config", "protocol", "tasks", "runs", "jobs", "parity", "inference",
    "report", "training", "notebook", "commands",
)  # fmt: skip
"""The rooms of shared/, the ground first: a room imports only those that stand before it."""
APART = ({"runs", "parity"}, {"inference", "report"}, {"report", "training"})
"""Rooms of which neither imports the other."""
GROUND = {"errors", "system", "config", "protocol"}
"""What a backend may import."""


class Import(NamedTuple):
    """One name that a module imports, wherever in its source: also in a function, or for types."""

    module: str
    """That imports, such as "rnn_jax.traps"."""
    target: str
    """The module, or package, that is imported: "shared.parity.lockstep"."""
    name: str | None
    """What is imported of it, "Side"; None for the module itself."""
    line: int


def modules() -> Iterator[tuple[str, Path]]:
    """Every module that is installed, and its file."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            yield dotted.removesuffix(".__init__"), file


def imports_in(module: str, source: str) -> list[Import]:
    """The imports of a module from the packages of this project."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(module, alias.name, None, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: expected absolute imports"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                target, name = (inner, None) if _exists(inner) else (node.module, alias.name)
                found.append(Import(module, str(target), name, node.lineno))
    return [one for one in found if one.target.partition(".")[0] in PACKAGES]


def room_of(module: str) -> str:
    """The room of a module of shared/, or else its package."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or "shared" if package == "shared" else package


def forbidden(one: Import) -> bool:
    """Whether an import breaks one of the rules of the house."""
    here, there = room_of(one.module), room_of(one.target)
    if here == there or here == "rnn_parity":
        return False
    if (one.target, one.name) == ("shared", None):  # to say that another package has this name
        return here in ROOMS
    if here in ("rnn_jax", "rnn_torch"):
        return there not in GROUND | ({"parity"} if one.module.endswith(".traps") else set())
    if here not in ROOMS or there not in ROOMS or {here, there} in APART:
        return True
    return ROOMS.index(there) > ROOMS.index(here)


def _exists(module: str) -> bool:
    path = ROOT / Path(*module.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()
