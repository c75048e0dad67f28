"""Several files replaced as one: all of them or none, also when the process is killed in between.

Every new content is first written beside its place and synchronised; then a journal with all
renames is put in place, atomically: that is the moment from which the change counts. A later start
that finds a journal does the renames that are left; one that finds stray new contents without a
journal deletes them. No reader ever sees a part of a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gate.baseline.errors import BaselineError

LOCK_SECONDS = 60.0
_JOURNAL = ".journal.json"
_PREFIX, _SUFFIX = ".new-", ".tmp"


@contextmanager
def locked(root: Path, *, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the write lock of a baseline folder, and repair what an earlier writer left.

    The lock file is outside the folder, in the ``.gate`` folder beside it, so that nothing but
    baselines is there to be committed.

    Raises:
        BaselineError: another process holds the lock for longer than ``timeout`` seconds, or the
            folder cannot be written.
    """
    from filelock import FileLock, Timeout

    home = root.resolve()
    lock = home.parent / ".gate" / f"{home.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=timeout):
            _repair(home)
            yield
    except Timeout:
        raise BaselineError(
            f"{root}: another process has been writing baselines for {timeout:g} s; "
            "wait for it, or end it"
        ) from None
    except OSError as error:
        raise BaselineError(f"{root}: {error.strerror or error}; nothing was changed") from None


def interrupted(root: Path) -> bool:
    """Whether a change was decided and not finished: the next ``locked`` finishes it."""
    return (root / _JOURNAL).exists()


def replace_all(root: Path, contents: Mapping[Path, str], remove: Sequence[Path] = ()) -> None:
    """Write ``contents`` and delete ``remove`` (paths under ``root``), as one change.

    Call it inside ``locked``. Paths must lie under the resolved root.
    """
    home = root.resolve()
    staged: list[tuple[Path, Path]] = []
    try:
        for number, (path, text) in enumerate(contents.items()):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.parent / f"{_PREFIX}{os.getpid()}-{number}{_SUFFIX}"
            staged.append((new, path))
            _write(new, text)
        journal = {
            "moves": [[_relative(home, new), _relative(home, path)] for new, path in staged],
            "removes": [_relative(home, path) for path in remove],
        }
        draft = home / f"{_PREFIX}{os.getpid()}-journal{_SUFFIX}"
        staged.append((draft, home / _JOURNAL))
        _write(draft, json.dumps(journal))
        for folder in {path.parent for _, path in staged}:
            _sync_folder(folder)
        draft.replace(home / _JOURNAL)
    except BaseException:
        for new, _ in staged:
            new.unlink(missing_ok=True)
        raise
    _sync_folder(home)
    _finish(home)


def _repair(home: Path) -> None:
    """Finish a change whose journal is there, then delete what an unfinished one left."""
    if interrupted(home):
        _finish(home)
    for stray in home.rglob(f"{_PREFIX}*{_SUFFIX}"):
        stray.unlink(missing_ok=True)


def _finish(home: Path) -> None:
    journal = home / _JOURNAL
    moves, removes = _read_journal(home)
    for new, path in moves:
        if new.exists():  # otherwise it was moved before the interruption
            new.replace(path)
    for path in removes:
        path.unlink(missing_ok=True)
        if path.parent != home and not any(path.parent.iterdir()):
            path.parent.rmdir()
    for folder in {path.parent for _, path in moves}:
        _sync_folder(folder)
    journal.unlink()
    _sync_folder(home)


def _read_journal(home: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    try:
        content = json.loads((home / _JOURNAL).read_text("utf-8"))
        moves = [(_under(home, new), _under(home, path)) for new, path in content["moves"]]
        removes = [_under(home, path) for path in content["removes"]]
    except (ValueError, TypeError, KeyError) as error:
        raise BaselineError(
            f"{home / _JOURNAL}: a journal that no gate wrote ({error}); check `git status` of "
            "the folder and delete the file"
        ) from None
    return moves, removes


def _relative(home: Path, path: Path) -> str:
    return path.relative_to(home).as_posix()


def _under(home: Path, text: str) -> Path:
    """A journal is a file like any other: it must not reach out of the folder."""
    pure = PurePosixPath(text)
    path = home / pure
    if pure.is_absolute() or ".." in pure.parts or not path.parent.resolve().is_relative_to(home):
        raise ValueError(f"'{text}' leads out of the folder")
    return path


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
