"""Folders that an option names: what lies in them, and whether they can be written to."""

import os
import secrets
import shutil
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from shared.errors import InvalidInput


def occupants(folder: Path, option: str = "--out") -> set[str]:
    """Returns the names of all entries of a folder that an option named; none if it does not exist
    yet.

    Raises:
        InvalidInput: it is no folder, or cannot be read.
    """
    try:
        return {file.name for file in folder.iterdir()}
    except FileNotFoundError as error:
        if folder.is_symlink():
            raise InvalidInput(
                f"{option} {folder}: expected a folder, got a broken link"
            ) from error
        return set()
    except NotADirectoryError as error:
        raise InvalidInput(f"{option} {folder}: expected a folder, got a file") from error
    except OSError as error:
        raise InvalidInput(
            f"{option} {folder}: expected a folder, got: {error.strerror}"
        ) from error


def remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def free_folder(parent: Path, name: str) -> Path:
    """Returns the first of name-1, name-2, … that does not exist in a folder."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def report_folder(out: str | None, name: str, files: Collection[str], overwrite: bool) -> Path:
    """Returns the folder for a report of these files: --out, or the next free one in reports/.

    Raises:
        InvalidInput: it holds another report and overwrite is False, or anything that is no report.
    """
    if out is None:
        return free_folder(Path("reports"), name)
    folder = Path(out)
    names = occupants(folder)
    if not names <= set(files):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )
    if names and not overwrite:
        raise InvalidInput(f"--out {folder}: holds another report; --overwrite replaces it")
    return folder


@contextmanager
def reserved(folder: Path, option: str) -> Generator[None, None, None]:
    """Makes a folder for the files that its body writes at the end.

    If nothing is written, it removes the folder and the parents that it made.

    Raises:
        InvalidInput: it cannot be made or written to; better known before hours of work than after.
    """
    made: list[Path] = []
    try:
        try:
            made += [one for one in (folder, *folder.parents) if not one.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InvalidInput(
                f"{option} {folder}: expected a folder that can be written to, "
                f"got: {error.strerror}"
            ) from error
        yield
    finally:
        with suppress(OSError):  # the first that is not empty, or was not made after all
            for one in made:
                one.rmdir()


@contextmanager
def written_beside(folder: Path) -> Generator[Path, None, None]:
    """Gives its body a name beside a folder, to write a folder there that then takes its place.

    An old folder stays until the new one is complete; if the body fails, nothing is left behind.

    Raises:
        OSError: it cannot be put in its place; the message names it.
    """
    new, old = (folder.with_name(f".{secrets.token_hex(8)}.tmp") for _ in range(2))
    try:
        yield new
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    finally:
        for one in (new, old):
            shutil.rmtree(one, ignore_errors=True)
